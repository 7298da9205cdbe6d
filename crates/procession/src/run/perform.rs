//! The interpreter: carries out the [`Effects`] of the state machine, with no lock held (I10).
//!
//! This is a call of `close()` on a process with a blocking teardown and the default spawner, while a thread and a task
//! wait for it:
//!
//! ```mermaid
//! sequenceDiagram
//!     participant caller
//!     participant state as state machine
//!     participant perform as interpreter
//!     participant pool as pool thread
//!     participant waiting as waiting thread and task
//!     caller->>state: close(reason)
//!     Note over state: Running → Closing, under the node's lock
//!     state-->>caller: effects: the teardown, the sleepers for Closing
//!     caller->>perform: perform(effects)
//!     perform->>waiting: 1. own sleepers are woken
//!     perform->>pool: 2. the teardown is handed over
//!     perform->>waiting: 3. wakers of users are called
//!     perform-->>caller: close() returns
//!     pool->>pool: the teardown runs, in a catch
//!     pool->>state: torn_down(result)
//!     Note over state: Closing → Closed; the edges from the parents are released
//!     state-->>pool: effects: the sleepers for Closed, the parents' teardowns
//!     pool->>perform: perform(effects)
//!     perform->>waiting: they are woken, and see the outcome
//! ```
//!
//! # The order of the three steps
//!
//! 1. Threads that sleep in the library are woken first, because a user's waker may block (I9). For the same reason,
//!    the graces of supervised processes begin then, and their supervisors are notified. Then closing hooks are handed
//!    to the pool, ahead of its other tasks, because bodies may be blocked until the hooks have run.
//! 2. Teardowns are handed to their spawners next, so that a waker that waits for a teardown does not wait for its own
//!    stack.
//! 3. Users' wakers are called last, and among them those of the tasks of supervisors first, because threads that sleep
//!    in the library may wait for the answers of these tasks. While the first one runs, the others are in a queue of the
//!    thread. If the first one blocks in a wait of the library, that wait calls them (see [`wakers`](super::wakers)).
//!
//! If the effects are those of an [`abort`] that must be recorded, a subscriber is called after all of that.

use std::mem;
use std::sync::Arc;

use super::abort;
use super::faults::drops_jobs;
use super::job::Job;
use super::later::{call_spawner, run_and_drain_if_outermost};
use super::pool::{self, Submit, Task};
use super::report::notify_supervisors;
use super::spawn::Threads;
use super::wakers::{wake, wake_one};
use super::{Effects, Node, NodeContents, Teardown};
use crate::state::Due;
use crate::value::{Phase, Work};

/// Carries out the effects. The pool runs the blocking teardowns of the default spawner.
#[inline]
pub(crate) fn perform(effects: Effects) {
    if effects.are_none() {
        // There is nothing to drop either, and dropping the value would have to find that out again.
        return mem::forget(effects);
    }
    // This may run inside a teardown that waits for these tasks, so this thread does not promise to take one of them
    // soon.
    perform_with(effects, &mut |tasks, _| pool::submit(tasks));
}

/// Carries out the effects on a thread of the pool, except that the library's own sleepers are woken, and supervisors
/// notified, on this thread. So neither a full pool nor a waker that blocks can hold up the calling thread.
#[cfg(not(loom))]
pub(crate) fn perform_elsewhere(mut effects: Effects) {
    effects.take_own().for_each(wake_one);
    notify_supervisors(&mut effects);
    if !effects.is_empty() {
        pool::run_now(Box::new(move || perform(effects)));
    }
}

/// Carries out the effects. The blocking teardowns of the default spawner that become due run on this thread, until
/// none is left or `target` is Closed. The pool helps if a teardown holds this thread up. It also runs the teardowns
/// that are left when `target` is Closed: they belong to processes that wait for it, and the caller may hold a lock
/// that they take.
pub(crate) fn perform_here(effects: Effects, target: &Node) {
    if effects.is_empty() {
        return;
    }
    let mut queue = pool::OwnQueue::new();
    perform_with(effects, &mut |tasks, is_back_soon| queue.extend(tasks, is_back_soon));
    while target.phase() != Phase::Closed {
        let Some(task) = queue.next() else { return };
        let submit = &mut |tasks, is_back_soon| queue.extend(tasks, is_back_soon);
        match task {
            Task::TearDown(Due { node, teardown }) => tear_down(node, teardown, submit),
            Task::Call(_) => pool::run(task, submit),
        }
    }
    queue.give_away();
}

/// Runs a teardown on a thread of the pool, and carries out its effects. The node and the teardown are separate
/// arguments, because a [`Due`] would be passed through memory.
#[inline]
pub(super) fn tear_down(node: Arc<Node>, teardown: Teardown, submit: &mut Submit<'_>) {
    let effects = Job::tear_down(node, teardown);
    if effects.are_none() {
        return mem::forget(effects);
    }
    perform_with(effects, submit);
}

/// Carries out the effects. `submit` is given the tasks for the pool, and whether this function will return soon
/// because it runs no foreign code before that.
fn perform_with(mut effects: Effects, submit: &mut Submit<'_>) {
    effects.take_own().for_each(wake_one);
    notify_supervisors(&mut effects);
    let aborted = effects.take_aborted();
    hand_over_and_wake(effects, submit);
    if let Some(label) = aborted {
        abort::record(&label);
    }
}

/// The second and the third step.
#[inline]
fn hand_over_and_wake(mut effects: Effects, submit: &mut Submit<'_>) {
    let mut spawned = run_closing_hooks(effects.take_special_due());
    let (due, no_wait_due) = (effects.take_due(), effects.take_no_wait_due());
    if spawned.is_empty() && due.is_empty() && no_wait_due.is_empty() {
        wake(effects);
        return;
    }
    run_and_drain_if_outermost(|| {
        let is_pooled =
            |due: &Due<NodeContents>| due.node.spawner().is_none() && due.teardown.is_blocking();
        let (no_wait_pooled, no_wait_spawned): (Vec<_>, Vec<_>) =
            no_wait_due.into_iter().partition(is_pooled);
        spawned.extend(no_wait_spawned);
        // A spawner or a waker may hold up this thread, so the pool comes first.
        let is_back_soon = spawned.is_empty() && !effects.has_wakes();
        if !no_wait_pooled.is_empty() {
            pool::submit(tasks(no_wait_pooled));
        }
        if !due.is_empty() {
            submit(tasks(due), is_back_soon);
        }
        spawned.into_iter().for_each(hand_over);
        wake(effects);
    });
}

/// Hands the closing hooks among the teardowns to the pool, ahead of everything that is queued there. Returns the other
/// teardowns. Spawners and threads in `close_blocking` never run closing hooks.
fn run_closing_hooks(due: Vec<Due<NodeContents>>) -> Vec<Due<NodeContents>> {
    let is_hook = |due: &Due<NodeContents>| due.node.work.get() == Work::Hook;
    if !due.iter().any(is_hook) {
        return due;
    }
    let (hooks, others) = due.into_iter().partition::<Vec<_>, _>(is_hook);
    for Due { node, teardown } in hooks {
        let run = move || tear_down(node, teardown, &mut |tasks, _| pool::submit(tasks));
        pool::run_now(Box::new(run));
    }
    others
}

/// Turns teardowns into tasks for the pool. The vector is reused in place, because a task has the size of a due
/// teardown.
fn tasks(due: Vec<Due<NodeContents>>) -> Vec<Task> {
    due.into_iter().map(Task::TearDown).collect()
}

/// Hands a teardown to its spawner.
fn hand_over(due: Due<NodeContents>) {
    let spawner = due.node.spawner().cloned();
    let drops = spawner.is_some() && drops_jobs(Some(&due.node));
    let job = Job::teardown(due);
    match spawner {
        _ if drops => call_spawner(|| drop(job)),
        None => Threads::spawn_async(job),
        Some(spawner) => spawner.spawn(job),
    }
}
