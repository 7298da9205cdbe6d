//! [`Starts`]: many runs that are started at once.
//!
//! A table may deliver very many new units one after the other. Most of the work is in the code that starts their runs,
//! so the manager's task shares it with helpers, which are bodies on the manager's own spawner. Until the last run has
//! been started, the task does nothing else, as if it started all of them itself. So no other code of the manager sees
//! a unit whose start is under way (U1).
//!
//! 1. Each run is started once. Argument: a thread that starts a run has taken it out of `planned` under the lock.
//! 2. A helper that is not polled does not delay the task. Argument: the task starts all runs that are not taken, and
//!    waits only for runs that a helper has taken. A helper starts those in the same poll in which it takes them.
//! 3. `taken` returns to zero. Argument: nothing unwinds between the two places that change it. [`start`] catches the
//!    panics of foreign code when a run starts, and the drop of a [`Unit`] catches those of the values in it.
//! 4. The task is woken after the last start. Argument: it stores its sleeper under the lock if `taken` is not zero,
//!    and the thread that counts `taken` down to zero takes the sleeper in the same locked section.
//! 5. The task receives every run that was started, even if an executor drops the manager's body meanwhile. Argument:
//!    the body hands the task over to the teardown. The helpers are children of the manager's process, so they are
//!    Closed before its teardown begins. Hence the teardown's first call of [`Starts::poll_started`] is ready.

use std::mem::take;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::available_parallelism;

use procession::support::{
    self, Name, RunId, Sleeper, Supervised, Unstarted, catch, panicked, register, wake_sleeper,
};
use procession::{ChildFailure, Error, LinkError, Process, WeakProcess};
use procession_runnable::{Run, Start};

use super::Shared;
use crate::sync::Mutex;
use crate::table::Key;
use crate::unit::Unit;

/// The number of runs that a thread takes at once.
const CHUNK: usize = 64;
/// The minimum number of runs for each helper.
const RUNS_PER_HELPER: usize = 64;
/// The maximum number of helpers.
const MAX_HELPERS: usize = 7;

/// A run that must be started.
pub(super) struct Planned {
    pub(super) run: RunId,
    pub(super) name: Name,
    pub(super) unit: Unit,
}

/// A run that was started, or the error of its start.
pub(super) struct Started {
    pub(super) run: RunId,
    pub(super) result: Result<Process, Error>,
}

pub(super) struct Starts<K: Key> {
    shared: Arc<Shared<K>>,
    group: Process,
    state: Mutex<State>,
}

struct State {
    planned: Vec<Planned>,
    started: Vec<Started>,
    /// The number of runs that were taken and are not in `started` yet.
    taken: usize,
    sleeper: Option<Sleeper>,
}

impl<K: Key> Starts<K> {
    pub(super) fn new(shared: Arc<Shared<K>>, group: Process, planned: Vec<Planned>) -> Arc<Self> {
        let started = Vec::with_capacity(planned.len());
        let state = State { planned, started, taken: 0, sleeper: None };
        Arc::new(Self { shared, group, state: Mutex::new(state) })
    }

    /// Spawns the helpers. They are children of the run, so a start that waits for the run is refused as it is in the
    /// manager's task.
    pub(super) fn spawn_helpers(self: &Arc<Self>, run: &Run) {
        let count = self.state.lock().planned.len();
        for _ in 0..helpers().min(count / RUNS_PER_HELPER) {
            let starts = self.clone();
            let helper = Process::builder().parent(run).name("starter").site(run.site());
            // If a helper cannot be spawned, the others start its share.
            let _spawned = helper.spawn(move |_| async move { starts.work() });
        }
    }

    /// Starts runs until none is left to take.
    pub(super) fn work(&self) {
        loop {
            let taken = {
                let mut state = self.state.lock();
                let rest = state.planned.len().saturating_sub(CHUNK);
                let taken: Vec<_> = state.planned.drain(rest..).collect();
                state.taken += taken.len();
                if rest == 0 {
                    // Frees the memory at once, even if a helper that was not polled yet still refers to this state.
                    state.planned = Vec::new();
                }
                taken
            };
            if taken.is_empty() {
                return;
            }
            let count = taken.len();
            let start = |Planned { run, name, unit }| Started {
                run,
                result: start(&self.shared, &self.group, run, name, &unit, (None, None)),
            };
            let started: Vec<Started> = taken.into_iter().map(start).collect();
            self.have_started(count, started);
        }
    }

    fn have_started(&self, count: usize, started: Vec<Started>) {
        let mut state = self.state.lock();
        state.started.extend(started);
        state.taken -= count;
        let sleeper = if state.taken == 0 { state.sleeper.take() } else { None };
        drop(state);
        wake_sleeper(sleeper);
    }

    /// Ready with all runs once each of them has been started. Call it after [`work`](Self::work).
    pub(super) fn poll_started(&self, context: &Context<'_>) -> Poll<Vec<Started>> {
        let mut started = None;
        let replaced = register(&self.state, context.waker(), |state| {
            if state.taken == 0 {
                started = Some(take(&mut state.started));
            }
            started.is_none().then_some(&mut state.sleeper)
        });
        drop(replaced);
        started.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Starts a run. `order` has its neighbours if it belongs to a set.
///
/// If the code that starts the run panics or returns an error, that is a failure of the unit like any other: the run is
/// a process whose body fails in the same way. So the error has the path of the unit, and hooks above hear of it (I17),
/// in the place where the bodies of units run. If the code had already made a process for the run, that becomes a child
/// of this one, so it is closed, and the unit keeps its key until it has ended (U1). A start that is refused because
/// everything closes has not failed (U3).
pub(super) fn start<K: Key>(
    shared: &Shared<K>,
    group: &Process,
    run: RunId,
    name: Name,
    unit: &Unit,
    order: (Option<&Process>, Option<&Process>),
) -> Result<Process, Error> {
    let grace = shared.about.policy.grace_of_run(unit.rules.grace);
    let supervised = Supervised::new(group, name, shared.inbox.clone(), run, grace);
    let made = OnceLock::new();
    let started = catch(|| {
        let start = Start::supervised(group, &supervised, &made);
        unit.start(start.in_order(order.0, order.1))
    });
    let made = || made.get().and_then(WeakProcess::upgrade).filter(|made| !made.is_closed());
    match started {
        Ok(Ok(process)) => {
            supervised.attach(&process);
            Ok(process)
        }
        Ok(Err(error)) => fail(group, unit, supervised, made(), Ok(error)),
        Err(panic) => fail(group, unit, supervised, made(), Err(panic)),
    }
}

/// Starts a run that fails like the code that should have started it: with an error, or with a panic that has this
/// message. The code may have made a process for the run before.
fn fail(
    group: &Process,
    unit: &Unit,
    run: Supervised,
    made: Option<Process>,
    failure: Result<Error, Arc<str>>,
) -> Result<Process, Error> {
    let error = match &failure {
        Ok(error) => error.clone(),
        Err(panic) => panicked(group.label(), panic.clone()),
    };
    // The process that was made for the run has already failed with this error, or everything closes.
    let has_failed = matches!(failure, Ok(Error::NoThread(_)));
    if made.is_none() && (has_failed || group.is_closing() && is_refusal(&error)) {
        return Err(error);
    }
    // The failure of what was made is a part of this one.
    let builder = Process::builder().parent(group).on_child_failure(ChildFailure::Close);
    let builder = builder.site(unit.site());
    // Refused only if the teardown of the group has started, and it waits for what was made.
    let failed = Unstarted::from_builder(support::supervised(builder, run));
    let failed = failed.map_err(|_closed| error)?;
    // Before the body starts, because an abort may end that at any time. No edge to a process that has just been made
    // is refused.
    let _linked = made.map(|made| failed.process().add_child(&made));
    Ok(failed.spawn(|_| async move {
        match failure {
            Ok(error) => Err::<(), _>(error),
            Err(panic) => resume_unwind(Box::new(panic.to_string())),
        }
    }))
}

/// Is this the error of a start that was refused, if everything closes?
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Closed(_) | Error::Link(LinkError::Closed(_)))
}

/// The number of helpers: one for each processor except the one that the manager's task uses, up to a limit.
fn helpers() -> usize {
    static HELPERS_HERE: OnceLock<usize> = OnceLock::new();
    *HELPERS_HERE.get_or_init(|| {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        MAX_HELPERS.min(processors - 1)
    })
}
