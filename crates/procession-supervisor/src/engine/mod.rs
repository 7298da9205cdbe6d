//! The engine behind a [`Manager`](crate::Manager) and a [`Supervisor`](crate::Supervisor): one task drives all units.
//! Helpers take part only in starting very many runs at once.
//!
//! | file | subject |
//! |---|---|
//! | [`units`] | the units, their due times, and their current runs |
//! | [`core`] | performs the actions that a [`Lifecycle`](crate::lifecycle::Lifecycle) decides, such as aborts |
//! | [`outcome`] | how a run has ended, and the error of a manager or a set |
//! | [`ends`] | what becomes of the failure of a run |
//! | [`left`], [`left_in_runs`] | what is left of stuck units, here and in nested managers and sets |
//! | [`starts`] | starts many runs at once, on several threads |
//! | [`drive`] | the task: reacts to commands, reports and times, until the run is over |
//! | [`inbox`] | how other threads reach the task: commands of callers, reports of runs, and what these leave behind |
//! | [`command`], [`mod@reply`], [`calls`] | commands, their answers, and their effects |
//!
//! A manager and a set are two faces of this engine. They differ in their [`FrontEnd`]: the source of the units, the
//! order in which they start and stop, and the effect of one unit's failure on the others.
//!
//! A run of a manager or a set is a process. Its **body** drives the units until the process begins to close; its
//! **teardown** stops them, and drives them until they have ended. Both poll the same [`Drive`], which the body hands
//! over to the teardown when it ends, even if an abort drops the body at any point. So the same code always stops the
//! units, their teardowns run before the manager is Closed, and their graces bound the wait for them (U2).
//!
//! The processes of the units are children of one process, the group, which is a no-wait child of the manager's
//! process. So when the manager closes, the group closes at once, even while tasks block every executor, and a unit
//! that ignores its abort does not delay the manager's end. The entries outlive the run, so the key of such a unit
//! stays taken.
//!
//! Locks: there is one for the units, one for the inbox, and one for the starts that are under way. No two of them are
//! held together, and none is held while the code of a table, a unit or a reader of events runs. A stand-in may be
//! locked while the inbox is, to see whether it is Closed; the core never calls the inbox with a process locked. The
//! only foreign code that runs while the units are locked is the `Clone`, `Eq` and `Hash` of a key.

mod calls;
mod command;
mod core;
mod drive;
mod ends;
pub(crate) mod inbox;
mod left;
mod left_in_runs;
mod outcome;
pub(crate) mod reply;
mod starts;
mod units;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use procession::{BoxError, Error, Process, Site};
use procession_runnable::Run;

pub(crate) use self::command::{Command, Reply, answer};
pub(crate) use self::core::Core;
use self::drive::Drive;
use self::inbox::Inbox;
pub(crate) use self::outcome::passed_on;
pub(crate) use self::reply::reply;
#[cfg(not(loom))]
pub(crate) use self::units::OpenUnit;
pub(crate) use self::units::Units;
use crate::backoff::Rate;
use crate::error::ManagerError;
use crate::event::EventSource;
use crate::lifecycle::{Input, Notice, Then};
use crate::name::name_of;
use crate::policy::Policy;
use crate::state::State;
use crate::status::{Counts, Status};
use crate::sync::Mutex;
use crate::table::Key;
use crate::unit::OnFailure;

/// Decides where units come from, in which order they start and stop, and what the end of one means to the others. A
/// manager, a set and a shared manager each have one.
///
/// The task calls its methods with no lock held.
pub(crate) trait FrontEnd<K: Key>: Send + 'static {
    /// Makes progress where it can. Returns whether it made any.
    fn poll(&mut self, core: &mut Core<K>, context: &mut Context<'_>) -> bool;

    /// The time by which [`poll`](Self::poll) must be called again.
    fn next_due(&self) -> Option<Instant> {
        None
    }

    /// A unit has moved one step. It may be forgotten by now.
    fn moved(&mut self, core: &mut Core<K>, id: usize, notice: Notice);

    /// Handles a command about an unknown unit, or one that only this front end can handle.
    fn command(&mut self, core: &mut Core<K>, command: Command<K>);

    /// Returns whether all units that the run waits for have started, so that it can become ready.
    fn is_started(&self, core: &Core<K>) -> bool;

    /// The run has become ready.
    fn body_begins(&mut self) {}

    /// Returns whether the run is over, because all units have ended for good.
    fn has_ended(&self, _core: &Core<K>) -> bool {
        false
    }

    /// Begins to stop everything. It is called once, and nothing is started after it.
    fn stop(&mut self, core: &mut Core<K>);

    /// Continues the stop. It is called in each round after [`stop`](Self::stop).
    fn continue_stopping(&mut self, _core: &mut Core<K>) -> bool {
        false
    }
}

/// The state that all handles and runs of a manager or a set share.
pub(crate) struct Shared<K> {
    pub(crate) about: About,
    pub(crate) units: Mutex<Units<K>>,
    pub(crate) inbox: Arc<Inbox<Command<K>>>,
    pub(crate) events: EventSource<K>,
    /// The run of the manager or set that is under way holds this lock. Other runs wait for it.
    turn: Arc<async_lock::Mutex<()>>,
}

/// The settings that managers and sets have in common.
#[derive(Clone)]
pub(crate) struct About {
    /// The place where it was made.
    pub(crate) site: Site,
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    /// How long a run waits for units that are starting before it becomes ready.
    pub(crate) start_limit: Option<Duration>,
    /// The maximum rate of restarts.
    pub(crate) restart_rate: Option<Rate>,
    /// The number of unread events that are kept for each reader.
    pub(crate) events: usize,
    /// Whether everything closes when a unit is given up.
    pub(crate) closes_when_given_up: bool,
}

impl About {
    /// The defaults of a manager that is made at this place.
    pub(crate) fn manager(site: Site) -> Self {
        Self {
            site,
            name: "manager".into(),
            policy: Policy::new(),
            start_limit: Some(Duration::from_secs(1)),
            restart_rate: Some(Rate::new(100, Duration::from_millis(100))),
            events: 1024,
            closes_when_given_up: false,
        }
    }
}

impl<K: Key> Shared<K> {
    pub(crate) fn new(about: About) -> Self {
        let events = EventSource::new(about.name.clone(), about.events);
        Self {
            about,
            units: Mutex::new(Units::new()),
            inbox: Inbox::new(),
            events,
            turn: Arc::default(),
        }
    }

    /// The process of a unit that is running.
    pub(crate) fn get(&self, key: &K) -> Result<Process, ManagerError> {
        if !self.inbox.is_open() {
            return Err(ManagerError::NotRunning);
        }
        let state = {
            let mut units = self.units.lock();
            let id = units.find(key);
            match id.map(|id| units.entry(id)) {
                None => None,
                Some(entry) => match (entry.lifecycle.state(), &entry.live) {
                    (State::Running, Some(live)) => return Ok(live.process.clone()),
                    (state, _) => Some(state),
                },
            }
        };
        let key = name_of(key);
        Err(match state {
            None => ManagerError::NotFound { key },
            Some(State::Initial | State::Loading | State::Starting) => {
                ManagerError::NotReady { key }
            }
            Some(state) => ManagerError::InvalidState { key, state, call: "get" },
        })
    }

    pub(crate) fn list(&self) -> Vec<Status<K>> {
        self.forget_ended();
        let now = self.about.policy.time().now();
        self.units.lock().list(now)
    }

    /// The number of units in each state, without those that have ended since the last run.
    pub(crate) fn shown_counts(&self) -> Counts {
        self.forget_ended();
        self.counts()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.units.lock().counts
    }

    /// Starts a unit without a run, and waits until it is ready.
    pub(crate) async fn start(&self, key: K) -> Result<Process, ManagerError> {
        self.call(|reply| Command::Start { key, reply }).await
    }

    /// Stops a unit, and waits until it has stopped.
    pub(crate) async fn stop(&self, key: K) -> Result<(), ManagerError> {
        self.call(|reply| Command::Stop { key, reply }).await
    }

    /// Stops a unit if it has a run, starts it, and waits until it is ready.
    pub(crate) async fn restart(&self, key: K) -> Result<Process, ManagerError> {
        self.call(|reply| Command::Restart { key, reply }).await
    }

    pub(crate) async fn set_on_failure(
        &self,
        key: K,
        on_failure: OnFailure,
    ) -> Result<(), ManagerError> {
        self.call(|reply| Command::SetOnFailure { key, on_failure, reply }).await
    }

    pub(crate) async fn call<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command<K>,
    ) -> Result<T, ManagerError> {
        let (reply, replied) = reply();
        let put = self.inbox.command(command(reply));
        put.map_err(|_| ManagerError::NotRunning)?;
        replied.await.unwrap_or(Err(ManagerError::NotRunning))
    }
}

/// Stops all units concurrently, or aborts them.
pub(crate) fn stop_all<K: Key>(core: &mut Core<K>, by_force: bool) {
    let ids = core.shared.units.lock().ids();
    for id in ids {
        let input = if by_force { Input::Abort(Then::Forget) } else { Input::Stop(Then::Forget) };
        core.step(id, input);
    }
}

/// Waits for the turn of a run of a manager or a set, and drives the run to its end.
pub(crate) async fn supervise<K: Key, F: FrontEnd<K>>(
    shared: Arc<Shared<K>>,
    make_front_end: impl FnOnce(&mut Core<K>) -> Result<F, ManagerError>,
    run: Run,
) -> Result<(), BoxError> {
    let turn = shared.turn.lock_arc();
    let Some(turn) = run.run_until_closing(turn).await else {
        return Ok(());
    };
    let mut core = Core::new(shared, run.clone(), turn)?;
    let front_end =
        make_front_end(&mut core).map_err(|error| Error::failed(run.label(), Box::new(error)))?;
    let (mut driving, handed_over) = handing_over(Drive::new(core, front_end));
    run.set_teardown_async(move || async move {
        let drive = handed_over.lock().take();
        match drive {
            Some(mut drive) => {
                poll_fn(|context| drive.poll_teardown(context)).await.map_err(passed_on)
            }
            None => Ok(()),
        }
    })?;
    poll_fn(|context| driving.get().poll_body(context)).await.map_err(passed_on)
}

/// A value of the body, which its drop hands over to the teardown.
struct HandingOver<T> {
    value: Option<T>,
    to: Arc<Mutex<Option<T>>>,
}

fn handing_over<T>(value: T) -> (HandingOver<T>, Arc<Mutex<Option<T>>>) {
    let to = Arc::new(Mutex::new(None));
    (HandingOver { value: Some(value), to: to.clone() }, to)
}

impl<T> HandingOver<T> {
    fn get(&mut self) -> &mut T {
        self.value.as_mut().expect("only the drop takes it")
    }
}

impl<T> Drop for HandingOver<T> {
    fn drop(&mut self) {
        if !procession::support::model_has_failed() {
            *self.to.lock() = self.value.take();
        }
    }
}
