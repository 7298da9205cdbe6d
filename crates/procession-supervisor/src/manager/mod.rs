//! [`Manager`]: keeps the units of a table running.

mod contained;
mod rows;
mod settings;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use procession::support::block_on;
use procession::{Error, IntoOutcome, Process, Site};
use procession_runnable::{Runnable, body, named, run_in_at};

use self::rows::Rows;
pub use self::settings::GiveUp;
use self::settings::Settings;
use crate::backoff::Rate;
use crate::engine::{About, Command, Shared, supervise};
use crate::error::ManagerError;
use crate::event::Events;
use crate::policy::Policy;
use crate::status::{Counts, Status};
use crate::table::{Key, Table};
use crate::unit::OnFailure;

/// Keeps the units of a [`Table`] running. Clones are the same manager.
///
/// Conceptually, a manager is a loop that makes the units that run equal to the rows of the table: it starts those that
/// are new, stops those whose rows are gone, restarts those that have changed or failed. The units are independent of
/// each other, and found by their keys. For a fixed set of units that depend on each other, use a
/// [`Supervisor`](crate::Supervisor); for work that nothing has to restart, `Process::spawn` is enough.
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::{Happening, Manager, MemoryTable, Restart, Unit};
///
/// let table = MemoryTable::new();
/// table.insert("importer", Unit::new(body(|run| async move {
///     run.ready();
///     Err("no such file")
/// })).restart(Restart::Temporary));
///
/// let manager = Manager::new(table);
/// let mut events = manager.events();
/// manager.run_blocking(|_| {
///     while let Some(event) = events.recv_blocking() {
///         if let Happening::Failed { error, .. } = &event.what {
///             assert_eq!(error.with_causes().to_string(), "process `importer` failed: no such file");
///             return assert_eq!(event.key(), Some(&"importer"));
///         }
///     }
/// })?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Manager<K> {
    shared: Arc<Shared<K>>,
    table: Arc<dyn Table<K>>,
    settings: Settings,
}

impl<K: Key> Manager<K> {
    /// A manager with the default settings.
    #[track_caller]
    pub fn new(table: impl Table<K>) -> Self {
        Self::builder(table).build()
    }

    /// Configures a manager.
    #[track_caller]
    pub fn builder(table: impl Table<K>) -> Builder<K> {
        let about = About {
            site: Site::caller(),
            name: "manager".into(),
            policy: Policy::new(),
            start_limit: Some(Duration::from_secs(1)),
            pace: Some(Rate::new(100, Duration::from_millis(100))),
            events: 1024,
            closes_when_given_up: false,
        };
        Builder { table: Arc::new(table), about, settings: Settings::default() }
    }

    /// Starts the units that the table lists, runs `body`, then stops all units, side by side.
    ///
    /// `body` begins when each unit that the first scan has found is ready or has failed, at the latest after the
    /// [start limit](Builder::start_limit). If the manager gives up ([`GiveUp::Manager`]), the body's process closes. A
    /// second run at the same time waits its turn.
    ///
    /// The run ends at the latest when each unit has had its grace and its abort grace. A unit that has not ended then
    /// is named in the error, and keeps its key until it has.
    ///
    /// To run the manager below a process, or as a part of something larger, use [`runnable`](Self::runnable).
    ///
    /// # Errors
    ///
    /// The body's; [`ManagerError::Stuck`], [`ManagerError::GaveUp`] and [`ManagerError::ClosedFor`], as the source of
    /// an [`Error::Failed`] of the manager. None is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future half-way drops the body, and closes the manager and its units.
    pub async fn run<F, Fut>(&self, body: F) -> Result<(), Error>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let site = self.shared.about.site;
        let root = Process::builder().site(site).build()?;
        run_in_at(site, &root, &self.runnable(), body).await
    }

    /// [`run`](Self::run), for a blocking body, which runs on this thread.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until all units have stopped.
    pub fn run_blocking<F, R>(&self, body: F) -> Result<(), Error>
    where
        F: FnOnce(Process) -> R,
        R: IntoOutcome,
    {
        block_on(self.run(|process| async { body(process) }))
    }

    /// The manager as a part of something larger: ready when [`run`](Self::run) would begin its body. So managers nest,
    /// and are parts of groups next to servers.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_runnable::{nop, run_in, sequential};
    /// use procession_supervisor::{Manager, MemoryTable};
    ///
    /// let workers = Manager::new(MemoryTable::<String>::new());
    /// let stack = sequential([nop(), workers.runnable()]);
    /// futures_lite::future::block_on(run_in(&Process::new(), &stack, |_| async {}))?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn runnable(&self) -> Runnable {
        let manager = self.clone();
        let about = &self.shared.about;
        let body = body(move |run| {
            let Self { shared, table, settings } = manager.clone();
            supervise(shared, |core| Ok(Rows::new(table, settings, core)), run)
        });
        named(about.name.clone(), body.at(about.site))
    }

    /// The process of a unit that is running.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::NotReady`] if the unit is still
    /// starting; [`ManagerError::InvalidState`] if it is stopping, has ended, or waits for its restart.
    pub fn get(&self, key: &K) -> Result<Process, ManagerError> {
        self.shared.get(key)
    }

    /// Starts a unit of the table that has no run, whatever became of earlier ones, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`]; [`ManagerError::HasRun`] if the unit already has a run, which may be stopping, or
    /// is about to be started; [`ManagerError::NotFound`] if the table has no such row, and [`ManagerError::Load`] if
    /// the table cannot be read; [`ManagerError::Failed`], [`ManagerError::Ended`] and [`ManagerError::Stopped`] if the
    /// unit does not become ready. A unit that fails is started again as usual.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the unit continues to start.
    ///
    /// ```
    /// use procession_runnable::body;
    /// use procession_supervisor::{Manager, ManagerError, MemoryTable, State};
    ///
    /// let table = MemoryTable::new();
    /// table.insert(7, body(|run| async move {
    ///     run.ready();
    ///     run.closing().await;
    /// }));
    /// let manager = Manager::new(table);
    /// futures_lite::future::block_on(manager.run(|_| async {
    ///     assert!(matches!(manager.start(7).await, Err(ManagerError::HasRun { .. })));
    ///     manager.stop(&7).await?;
    ///     assert_eq!(manager.list()[0].state, State::Stopped);
    ///     let process = manager.start(7).await?;
    ///     assert_eq!(manager.get(&7)?, process);
    ///     procession::ok()
    /// }))?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn start(&self, key: K) -> Result<Process, ManagerError> {
        self.shared.start(key).await
    }

    /// [`start`](Self::start), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn start_blocking(&self, key: K) -> Result<Process, ManagerError> {
        block_on(self.start(key))
    }

    /// Stops a unit, and waits until it has stopped. It is not started again until [`start`](Self::start) is called, or
    /// its row has gone and come back.
    ///
    /// A unit that should end for good deletes its row before it ends.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::InvalidState`] if the unit has already
    /// ended; [`ManagerError::Failed`] with its outcome, unless that is only its own abort; [`ManagerError::Stuck`] if
    /// it ignores its abort.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the unit stops, even if the future is dropped. A unit that stops itself in this way
    /// waits for itself, until its grace is over.
    pub async fn stop(&self, key: &K) -> Result<(), ManagerError> {
        self.shared.stop(key.clone()).await
    }

    /// [`stop`](Self::stop), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop).
    ///
    /// # Blocking
    ///
    /// Blocks the thread for at most the unit's grace and abort grace.
    pub fn stop_blocking(&self, key: &K) -> Result<(), ManagerError> {
        block_on(self.stop(key))
    }

    /// Stops a unit if it has a run, starts it as its row says now, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start); [`ManagerError::HasRun`] only if the unit is stuck.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the unit is restarted, even if the future is dropped.
    pub async fn restart(&self, key: K) -> Result<Process, ManagerError> {
        self.shared.restart(key).await
    }

    /// [`restart`](Self::restart), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`restart`](Self::restart).
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn restart_blocking(&self, key: K) -> Result<Process, ManagerError> {
        block_on(self.restart(key))
    }

    /// Changes what the failure of a unit means, until its row is loaded again.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`].
    pub async fn set_on_failure(&self, key: &K, on_failure: OnFailure) -> Result<(), ManagerError> {
        self.shared.set_on_failure(key.clone(), on_failure).await
    }

    /// Scans the table now, and waits until that scan has come to its end. A scan that is under way does not count.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`]; [`ManagerError::Scan`] if the table cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the table is scanned, even if the future is dropped.
    pub async fn scan_now(&self) -> Result<(), ManagerError> {
        self.shared.call(|reply| Command::Scan { reply }).await
    }

    /// All units, sorted by their keys. While the manager is not running, those that are stuck.
    pub fn list(&self) -> Vec<Status<K>>
    where
        K: Ord,
    {
        let mut list = self.shared.list();
        list.sort_by(|one, other| one.key.cmp(&other.key));
        list
    }

    /// The number of units in each state.
    pub fn counts(&self) -> Counts {
        self.shared.shown_counts()
    }

    /// Reads everything that happens from now on.
    pub fn events(&self) -> Events<K> {
        self.shared.events.read()
    }
}

/// Configures a manager. Made by [`Manager::builder`].
///
/// | setting | default | meaning |
/// |---|---|---|
/// | [`name`](Self::name) | `manager` | for its process, errors and events |
/// | [`policy`](Self::policy) | [`Policy::new`] | restarts, graces, timeouts |
/// | [`start_limit`](Self::start_limit) | 1 s | how long the body waits for units that are starting |
/// | [`scan_every`](Self::scan_every) | 60 s | the time between two scans of the table |
/// | [`stop_vanished`](Self::stop_vanished) | `true` | whether a unit stops when its row is gone |
/// | [`give_up`](Self::give_up) | [`GiveUp::Unit`] | what happens when a unit is given up |
/// | [`pace`](Self::pace) | 100 in 100 ms | the maximum rate of restarts |
/// | [`event_capacity`](Self::event_capacity) | 1024 | the number of unread events kept for each reader |
///
/// ```
/// use procession_supervisor::{GiveUp, Manager, MemoryTable, Policy, Rate};
/// use std::time::Duration;
///
/// let manager = Manager::builder(MemoryTable::<String>::new())
///     .name("workers")
///     .policy(Policy::new().intensity(Rate::new(5, Duration::from_secs(60))))
///     .give_up(GiveUp::Manager)
///     .build();
/// # let _ = manager;
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<K> {
    table: Arc<dyn Table<K>>,
    about: About,
    settings: Settings,
}

impl<K: Key> Builder<K> {
    /// The manager's name, for its process, errors and events. Default: `manager`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.about.name = name.into();
        self
    }

    /// How units are started again, and stopped.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.about.policy = policy;
        self
    }

    /// How long the body waits for units that are starting. Default: 1 s.
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.about.start_limit = Some(limit);
        self
    }

    /// The time from the end of a scan of the table to the next scan. Default: 60 s.
    pub fn scan_every(mut self, interval: Duration) -> Self {
        self.settings.scan_every = interval;
        self
    }

    /// Whether a unit that runs is stopped when its row is gone. Default: `true`. Otherwise it continues to its end, and
    /// is not started again.
    pub fn stop_vanished(mut self, stop: bool) -> Self {
        self.settings.stop_vanished = stop;
        self
    }

    /// What happens when a unit is given up. Default: [`GiveUp::Unit`].
    pub fn give_up(mut self, give_up: GiveUp) -> Self {
        self.about.closes_when_given_up = give_up == GiveUp::Manager;
        self
    }

    /// The maximum rate of restarts, so that units that failed together are not all started at once. Default: 100 in
    /// 100 ms. At least one is started in each period; a period of zero means no limit.
    pub fn pace(mut self, pace: Rate) -> Self {
        self.about.pace = Some(pace);
        self
    }

    /// The number of unread events that are kept for each reader before the oldest are lost, at most 65,536. Default:
    /// 1024.
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.about.events = capacity;
        self
    }

    /// Makes the manager.
    pub fn build(self) -> Manager<K> {
        let Self { table, about, settings } = self;
        Manager { shared: Arc::new(Shared::new(about)), table, settings }
    }
}

impl<K> Clone for Manager<K> {
    fn clone(&self) -> Self {
        let Self { shared, table, settings } = self;
        Self { shared: shared.clone(), table: table.clone(), settings: settings.clone() }
    }
}

impl<K> fmt::Debug for Manager<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("name", &self.shared.about.name).finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for Builder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.about.name).finish_non_exhaustive()
    }
}
