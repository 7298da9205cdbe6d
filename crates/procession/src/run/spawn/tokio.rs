//! Tokio's runtime as a spawner, and the refusal of waits that would block the thread that drives it.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::task::coop;

use super::{Spawn, Spawner};
use crate::run::{Inherited, Job, Node};
use crate::state::{everything_below, everything_below_children};
use crate::value::Error;

/// Async jobs are spawned on the runtime, blocking ones with `spawn_blocking`.
impl Spawn for Handle {
    fn spawn(&self, job: Job) {
        if job.is_blocking() {
            self.spawn_blocking(move || job.run());
        } else {
            Handle::spawn(self, job);
        }
    }
}

thread_local! {
    /// The last runtime in which this thread has made a process, so that its processes share the values that they
    /// inherit.
    static LAST: RefCell<Option<LastRuntime>> = const { RefCell::new(None) };
}

struct LastRuntime {
    runtime: Id,
    inherited: Weak<Inherited>,
}

/// The values that a process inherits from the runtime that this thread is in.
#[inline]
pub(super) fn inherited_from_context() -> Option<Arc<Inherited>> {
    Handle::try_current().ok().and_then(inherited_from)
}

fn inherited_from(handle: Handle) -> Option<Arc<Inherited>> {
    let runtime = handle.id();
    LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        let known = last.as_ref().filter(|last| last.runtime == runtime);
        if let Some(inherited) = known.and_then(|last| last.inherited.upgrade()) {
            return inherited;
        }
        let inherited = Inherited::unnamed(Spawner::Tokio(handle));
        *last = Some(LastRuntime { runtime, inherited: Arc::downgrade(&inherited) });
        inherited
    })
    .ok()
}

/// Refuses a blocking wait for `target` by the thread that drives a current-thread runtime, if `target` waits for work
/// that was spawned on that runtime: it would never be polled (I13).
pub(in crate::run) fn refuse_wait_on_runtime(
    target: &Arc<Node>,
    innermost: Option<&Arc<Node>>,
) -> Result<(), Error> {
    let Some(runtime) = driven_runtime() else { return Ok(()) };
    match everything_below(target).iter().find(|node| runs_on(node, &runtime)) {
        Some(node) => {
            let driven_by = innermost.map(Node::label);
            Err(Error::runtime_deadlock(driven_by, node.label(), target.label()))
        }
        None => Ok(()),
    }
}

/// Refuses a blocking wait for the end of the body of `target` by the thread that drives a current-thread runtime, if
/// it has to poll that body.
pub(in crate::run) fn refuse_leave_to_body_on_runtime(
    target: &Arc<Node>,
    innermost: Option<&Arc<Node>>,
) -> Result<(), Error> {
    match driven_runtime() {
        Some(runtime) if runs_on(target, &runtime) => {
            let driven_by = innermost.map(Node::label);
            Err(Error::runtime_deadlock(driven_by, target.label(), target.label()))
        }
        _ => Ok(()),
    }
}

/// Refuses a blocking wait for the children of `target` by the thread that drives a current-thread runtime, if one of
/// the children waits for work that was spawned on that runtime.
pub(in crate::run) fn refuse_wait_for_children_on_runtime(
    target: &Arc<Node>,
    innermost: Option<&Arc<Node>>,
) -> Result<(), Error> {
    let Some(runtime) = driven_runtime() else { return Ok(()) };
    let below = everything_below_children(target);
    match below.iter().find(|node| runs_on(node, &runtime)) {
        Some(node) => {
            let driven_by = innermost.map(Node::label);
            Err(Error::runtime_deadlock(driven_by, node.label(), target.label()))
        }
        None => Ok(()),
    }
}

/// Refuses a blocking wait for a slot by the thread that drives a current-thread runtime, if each slot is held by a
/// process that waits for work that was spawned on that runtime.
pub(in crate::run) fn refuse_slot_wait_on_runtime(
    limiter: &Arc<Node>,
    innermost: Option<&Arc<Node>>,
) -> Result<(), Error> {
    let Some(runtime) = driven_runtime() else { return Ok(()) };
    let needs_this_thread =
        |holder: &Arc<Node>| everything_below(holder).iter().any(|node| runs_on(node, &runtime));
    if !limiter.all_slots_are_held_by(needs_this_thread) {
        return Ok(());
    }
    let driven_by = innermost.map(Node::label);
    Err(Error::runtime_slot_deadlock(driven_by, limiter.label()))
}

/// The current-thread runtime that this thread drives.
fn driven_runtime() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    let is_driven =
        runtime.runtime_flavor() == RuntimeFlavor::CurrentThread && is_polled_by_tokio();
    is_driven.then_some(runtime)
}

/// Does the process have async work that was spawned on the runtime?
fn runs_on(node: &Arc<Node>, runtime: &Handle) -> bool {
    let spawner = node.spawner();
    node.work.needs_polls()
        && matches!(spawner, Some(Spawner::Tokio(handle)) if handle.id() == runtime.id())
}

/// Is the calling code polled by tokio, so that it holds up the thread that drives the runtime? It is not on a thread
/// of `spawn_blocking`, or on one that has only entered the context of the runtime. Tokio sets a budget for cooperative
/// scheduling exactly while it polls, so this tests whether there is a budget.
fn is_polled_by_tokio() -> bool {
    /// More than tokio lets a task do in one poll.
    const MORE_THAN_A_BUDGET: usize = 256;
    let mut context = Context::from_waker(Waker::noop());
    let mut taken = Vec::new();
    while taken.len() < MORE_THAN_A_BUDGET {
        match coop::poll_proceed(&mut context) {
            Poll::Ready(unit) => taken.push(unit),
            Poll::Pending => break,
        }
    }
    let has_budget = taken.len() < MORE_THAN_A_BUDGET;
    // Dropping a unit restores the budget as it was before it was taken, so the first unit must be dropped last.
    while taken.pop().is_some() {}
    has_budget
}
