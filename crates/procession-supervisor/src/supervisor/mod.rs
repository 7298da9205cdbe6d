//! [`Supervisor`]: an ordered set of units, restarted by a strategy.

mod members;
mod strategy;

use std::fmt;
use std::sync::Arc;

use procession::{Process, Site};
use procession_runnable::{Runnable, body, named};

use self::members::Members;
pub use self::strategy::AutoShutdown;
use self::strategy::Strategy;
use crate::engine::{About, Command, Shared, supervise};
use crate::error::ManagerError;
use crate::event::Events;
use crate::overview::{HasUnits, Overview};
use crate::policy::Policy;
use crate::status::{Counts, Status};
use crate::unit::{OnFailure, Unit};

/// Keeps an ordered set of related units running, like an Erlang supervisor. Clones refer to the same set.
///
/// The units start in order, each when the previous one is ready, and stop in the reverse order, one after the other,
/// each within its grace. The strategy decides which units restart together with a failed one; the [`Policy`] decides
/// when and how often. A unit that is restarted too often ends the set, and the outcome of the set has its error. Sets
/// can nest: a set can be a unit of another set or of a [`Manager`](crate::Manager).
///
/// Conceptually, a set is one part of a program, made of smaller parts, whose order says which of them depends on
/// which. For independent units that come and go with the rows of a table, use a
/// [`Manager`](crate::Manager). For work that must not be restarted, use [`Process::spawn`].
///
/// | setting | default | meaning |
/// |---|---|---|
/// | strategy | chosen by the constructor | which units restart together |
/// | [`name`](Self::name) | `supervisor` | the name in its process, errors and events |
/// | [`policy`](Self::policy) | [`Policy::new`] | restarts and graces |
/// | [`keep_open`](Self::keep_open) | `false` | whether the set stays open when all its units have ended |
/// | [`auto_shutdown`](Self::auto_shutdown) | [`AutoShutdown::Never`] | whether the end of significant units closes it |
/// | [`start_together`](Self::start_together) | `false` | whether a unit that fails to start ends the set |
///
/// ```
/// use procession::Process;
/// use procession_runnable::{body, run_in};
/// use procession_supervisor::Supervisor;
///
/// let part = |what: &'static str| {
///     body(move |run| async move {
///         println!("{what} is up");
///         run.ready();
///         run.closing().await;
///     })
/// };
/// // The session is useless without its connection. If the connection fails, both restart.
/// let link = Supervisor::rest_for_one([
///     ("connection", part("the connection")),
///     ("session", part("the session")),
/// ]);
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &link.runnable(), |_| async {}))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a set does nothing until its `runnable` is started"]
pub struct Supervisor {
    set: Arc<Set>,
}

/// The description of a set, and the state that its runs share.
struct Set {
    about: About,
    described: Described,
    shared: Arc<Shared<Arc<str>>>,
}

#[derive(Clone)]
struct Described {
    strategy: Strategy,
    units: Vec<(Arc<str>, Unit)>,
    keep_open: bool,
    auto_shutdown: AutoShutdown,
    start_together: bool,
}

impl Supervisor {
    /// A set that restarts only the unit that failed.
    #[track_caller]
    pub fn one_for_one<N, U>(units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        Self::new(Strategy::OneForOne, units)
    }

    /// A set that stops all units when one fails, and then starts all of them again in order.
    #[track_caller]
    pub fn one_for_all<N, U>(units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        Self::new(Strategy::OneForAll, units)
    }

    /// A set that stops the units after a failed one, and then starts the failed one and those after it again in order.
    #[track_caller]
    pub fn rest_for_one<N, U>(units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        Self::new(Strategy::RestForOne, units)
    }

    #[track_caller]
    fn new<N, U>(strategy: Strategy, units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        let about = About {
            site: Site::caller(),
            name: "supervisor".into(),
            policy: Policy::new(),
            start_limit: None,
            restart_rate: None,
            events: 1024,
            closes_when_given_up: true,
        };
        let units = units.into_iter().map(|(name, unit)| (name.into(), unit.into())).collect();
        let described = Described {
            strategy,
            units,
            keep_open: false,
            auto_shutdown: AutoShutdown::default(),
            start_together: false,
        };
        Self::of(about, described)
    }

    fn of(about: About, described: Described) -> Self {
        let shared = Arc::new(Shared::new(about.clone()));
        Self { set: Arc::new(Set { about, described, shared }) }
    }

    /// Makes a new set with changed settings, which shares nothing with earlier clones.
    fn with(self, set: impl FnOnce(&mut About, &mut Described)) -> Self {
        let (mut about, mut described) = (self.set.about.clone(), self.set.described.clone());
        set(&mut about, &mut described);
        Self::of(about, described)
    }

    /// Sets the name of the set, which its process, its errors and its events have. Default: `supervisor`.
    ///
    /// Each setting makes a new set: earlier clones keep their settings, and earlier event readers do not see its
    /// events.
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.with(|about, _| about.name = name.into())
    }

    /// Sets how units are restarted and stopped. Default: [`Policy::new`].
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|about, _| about.policy = policy)
    }

    /// Sets whether the set stays open when all its units have ended, as in OTP. Default: `false`, which means that the
    /// set ends.
    pub fn keep_open(self, keep_open: bool) -> Self {
        self.with(|_, described| described.keep_open = keep_open)
    }

    /// Sets whether the end of [significant](Unit::significant) units closes the set. Default: [`AutoShutdown::Never`].
    pub fn auto_shutdown(self, auto_shutdown: AutoShutdown) -> Self {
        self.with(|_, described| described.auto_shutdown = auto_shutdown)
    }

    /// Sets whether the failure of a unit before the set is ready ends the set, as in OTP, instead of restarting the
    /// unit. The end of a unit before it is ready is a failure, too. Default: `false`.
    pub fn start_together(self, start_together: bool) -> Self {
        self.with(|_, described| described.start_together = start_together)
    }

    /// Sets the maximum number of unread events of each reader, at most 65,536. A reader with more unread events loses
    /// the oldest ones. Default: 1024.
    pub fn event_capacity(self, capacity: usize) -> Self {
        self.with(|about, _| about.events = capacity)
    }

    /// Returns a runnable that runs the set. It is ready when each unit is ready, has ended for good, or is stuck and will
    /// not be restarted. If the set is already running, a new run waits until that run is over.
    ///
    /// It fails with [`ManagerError::Exists`] if two units have the same name, with [`ManagerError::GaveUp`] if a unit
    /// was given up, with [`ManagerError::ClosedFor`] if the set closed because of a failed unit, and with
    /// [`ManagerError::Stuck`] if a unit has not ended within its abort grace.
    pub fn runnable(&self) -> Runnable {
        let set = self.set.clone();
        let about = &self.set.about;
        let body = body(move |run| {
            let described = set.described.clone();
            supervise(set.shared.clone(), |core| Members::new(described, core), run)
        });
        named(about.name.clone(), body.at(about.site))
    }

    /// Returns the process of a running unit.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::NotReady`] if the unit is not ready
    /// yet; [`ManagerError::InvalidState`] in any other state, for example if it has ended or waits for its restart.
    pub fn get(&self, name: &str) -> Result<Process, ManagerError> {
        self.set.shared.get(&name.into())
    }

    /// Starts a unit that has no run, however its earlier runs ended, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::HasRun`] if the unit already has a run
    /// or is about to start; [`ManagerError::Failed`], [`ManagerError::Ended`], [`ManagerError::Stopped`] and
    /// [`ManagerError::Stuck`] if it does not become ready.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit still starts.
    pub async fn start(&self, name: &str) -> Result<Process, ManagerError> {
        self.set.shared.start(name.into()).await
    }

    /// Stops a unit, and waits until it has stopped. The unit stays stopped until [`start`](Self::start) or
    /// [`restart`](Self::restart) is called.
    ///
    /// If the unit is already stuck, the call fails at once, and the unit stays stopped when its key is free.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::InvalidState`] if the unit has not
    /// started yet, has already ended or stopped, or was given up; [`ManagerError::Failed`] with its outcome, unless
    /// that only reports its own abort; [`ManagerError::Stuck`] if it has not ended within its abort grace.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit still stops.
    pub async fn stop(&self, name: &str) -> Result<(), ManagerError> {
        self.set.shared.stop(name.into()).await
    }

    /// Stops a unit if it has a run, starts it again, and waits until it is ready. The other units continue, whatever
    /// the strategy.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), but [`ManagerError::HasRun`] only if the unit is stuck or is being removed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit is still restarted.
    pub async fn restart(&self, name: &str) -> Result<Process, ManagerError> {
        self.set.shared.restart(name.into()).await
    }

    /// Adds a unit at the end of the order, for the current run of the set only. It returns at once; the unit starts
    /// when its turn comes.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`]; [`ManagerError::Exists`] if there already is a unit with this name.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit is still added.
    pub async fn add(
        &self,
        name: impl Into<Arc<str>>,
        unit: impl Into<Unit>,
    ) -> Result<(), ManagerError> {
        let (key, unit) = (name.into(), Box::new(unit.into()));
        self.set.shared.call(|reply| Command::Add { key, unit, reply }).await
    }

    /// Stops a unit, and removes it from the current run of the set.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), except [`ManagerError::InvalidState`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit is still removed.
    pub async fn remove(&self, name: &str) -> Result<(), ManagerError> {
        let key = name.into();
        self.set.shared.call(|reply| Command::Remove { key, reply }).await
    }

    /// Changes what the failure of a unit means to the set, for the current run of the set.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the change is still made.
    pub async fn set_on_failure(
        &self,
        name: &str,
        on_failure: OnFailure,
    ) -> Result<(), ManagerError> {
        self.set.shared.set_on_failure(name.into(), on_failure).await
    }

    /// Lists all units, sorted by name. While the set is not running, only stuck units are listed.
    pub fn list(&self) -> Vec<Status<Arc<str>>> {
        let mut list = self.set.shared.list();
        list.sort_by(|one, other| one.key.cmp(&other.key));
        list
    }

    /// Returns the number of units in each group of states.
    pub fn counts(&self) -> Counts {
        self.set.shared.shown_counts()
    }

    /// Makes a reader of all events from now on, in all runs of the set.
    pub fn events(&self) -> Events<Arc<str>> {
        self.set.shared.events.read()
    }
}

impl HasUnits for Supervisor {
    fn overview(&self, limit: usize) -> Overview {
        Overview::of(&self.set.shared, limit)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Set { about, described, .. } = &*self.set;
        let names: Vec<&str> = described.units.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Supervisor")
            .field("name", &about.name)
            .field("strategy", &described.strategy)
            .field("units", &names)
            .finish_non_exhaustive()
    }
}
