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
use procession_runnable::{Runnable, body, named, run_in_at, run_in_blocking_at};

use self::rows::Rows;
pub use self::settings::GiveUp;
use self::settings::Settings;
use crate::backoff::Rate;
use crate::engine::{About, Command, Shared, supervise};
use crate::error::ManagerError;
use crate::event::Events;
use crate::overview::{HasUnits, Overview};
use crate::policy::Policy;
use crate::status::{Counts, Status};
use crate::table::{Key, Table};
use crate::unit::OnFailure;

/// Keeps the units of a [`Table`] running. Clones are the same manager.
///
/// Conceptually, a manager is a loop that makes the running units match the rows of the table: it starts new units,
/// stops units whose rows are gone, and restarts units that have changed or failed. The units are independent of each
/// other, and are found by their keys. For a fixed set of units that depend on each other, use a
/// [`Supervisor`](crate::Supervisor); for work that never needs a restart, `Process::spawn` is enough.
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
    /// Makes a manager with the default settings.
    #[track_caller]
    pub fn new(table: impl Table<K>) -> Self {
        Self::builder(table).build()
    }

    /// Configures a manager.
    #[track_caller]
    pub fn builder(table: impl Table<K>) -> Builder<K> {
        let about = About::manager(Site::caller());
        Builder { table: Arc::new(table), about, settings: Settings::default() }
    }

    /// Starts the units that the table lists, runs `body`, and then stops all units concurrently.
    ///
    /// `body` begins once each unit that the first scan found is ready or has failed, but no later than the [start
    /// limit](Builder::start_limit). If the manager gives up ([`GiveUp::Manager`]), the body's process closes. If the
    /// manager is already running, the new run waits for its turn.
    ///
    /// The run ends at the latest when the grace and the abort grace of each unit are over. The error names each unit
    /// that has not ended by then; such a unit keeps its key until it ends.
    ///
    /// To run the manager below another process, or as a part of something larger, use [`runnable`](Self::runnable).
    ///
    /// # Errors
    ///
    /// All errors of the body; and [`ManagerError::Stuck`], [`ManagerError::GaveUp`] and [`ManagerError::ClosedFor`],
    /// each as the source of an [`Error::Failed`] of the manager.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the body is dropped, and the manager and its units close.
    pub async fn run<F, Fut>(&self, body: F) -> Result<(), Error>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let site = self.shared.about.site;
        let root = Process::builder().site(site).build()?;
        run_in_at(site, &root, &self.runnable(), body).await
    }

    /// [`run`](Self::run) for a blocking body, which runs on the calling thread.
    ///
    /// Meanwhile, the process whose code calls this waits for the run. So if that process takes long to close, the
    /// report of what it waits for names the units that have not ended.
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
        let site = self.shared.about.site;
        let root = Process::builder().site(site).build()?;
        run_in_blocking_at(site, &root, &self.runnable(), |process| async { body(process) })
    }

    /// Returns a runnable that runs the manager as a part of something larger. It is ready when [`run`](Self::run)
    /// would begin its body. With it, managers can nest, and can be parts of groups next to servers.
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

    /// Returns the process of a running unit.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::NotReady`] if the unit is still
    /// starting; [`ManagerError::InvalidState`] in any other state, for example if it has ended or waits for its
    /// restart.
    pub fn get(&self, key: &K) -> Result<Process, ManagerError> {
        self.shared.get(key)
    }

    /// Starts a unit of the table that has no run, however its earlier runs ended, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`]; [`ManagerError::HasRun`] if the unit already has a run, even one that is stopping,
    /// or is about to start; [`ManagerError::NotFound`] if the table has no such row; [`ManagerError::Load`] if the row
    /// cannot be loaded; [`ManagerError::Failed`], [`ManagerError::Ended`], [`ManagerError::Stopped`] and
    /// [`ManagerError::Stuck`] if the unit does not become ready. A unit that fails is restarted as usual.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit still starts.
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
    /// Blocks the thread until the unit is ready, without a limit.
    pub fn start_blocking(&self, key: K) -> Result<Process, ManagerError> {
        block_on(self.start(key))
    }

    /// Stops a unit, and waits until it has stopped. The unit stays stopped until [`start`](Self::start) or
    /// [`restart`](Self::restart) is called, or until its row is removed and added again.
    ///
    /// If the unit is already stuck, the call fails at once, and the unit stays stopped when its key is free.
    ///
    /// A unit that should end for good must delete its row before it ends. Do not call this inside the unit that it
    /// stops: the unit would wait for itself until its grace is over.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::InvalidState`] if the unit has already
    /// ended or stopped, or was given up; [`ManagerError::Failed`] with its outcome, unless that only reports its own
    /// abort; [`ManagerError::Stuck`] if it has not ended within its abort grace.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit still stops.
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
    /// Blocks the thread for at most the sum of the unit's grace and abort grace.
    pub fn stop_blocking(&self, key: &K) -> Result<(), ManagerError> {
        block_on(self.stop(key))
    }

    /// Stops a unit if it has a run, starts it again from its current row, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), but [`ManagerError::HasRun`] only if the unit is stuck, or is stopping because
    /// its row is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the unit is still restarted.
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
    /// Blocks the thread until the unit is ready again, without a limit.
    pub fn restart_blocking(&self, key: K) -> Result<Process, ManagerError> {
        block_on(self.restart(key))
    }

    /// Changes what the failure of a unit means, until the unit is started from its row again.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the change is still made.
    pub async fn set_on_failure(&self, key: &K, on_failure: OnFailure) -> Result<(), ManagerError> {
        self.shared.set_on_failure(key.clone(), on_failure).await
    }

    /// Scans the table now, and waits until that scan has ended. If a scan is under way already, another one follows
    /// it.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`]; [`ManagerError::Scan`] if the table cannot be read.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the table is still scanned.
    pub async fn scan_now(&self) -> Result<(), ManagerError> {
        self.shared.call(|reply| Command::Scan { reply }).await
    }

    /// Lists all units, sorted by key. While the manager is not running, these are the stuck units only.
    pub fn list(&self) -> Vec<Status<K>>
    where
        K: Ord,
    {
        let mut list = self.shared.list();
        list.sort_by(|one, other| one.key.cmp(&other.key));
        list
    }

    /// Returns the number of units in each group of states.
    pub fn counts(&self) -> Counts {
        self.shared.shown_counts()
    }

    /// Makes a reader of all events from now on.
    pub fn events(&self) -> Events<K> {
        self.shared.events.read()
    }
}

/// Configures a manager. Made by [`Manager::builder`].
///
/// | setting | default | meaning |
/// |---|---|---|
/// | [`name`](Self::name) | `manager` | the name in its process, errors and events |
/// | [`policy`](Self::policy) | [`Policy::new`] | restarts, graces, timeouts |
/// | [`start_limit`](Self::start_limit) | 1 s | how long the body waits for starting units |
/// | [`scan_every`](Self::scan_every) | 60 s | the time between two scans of the table |
/// | [`stop_vanished`](Self::stop_vanished) | `true` | whether a unit stops when its row is gone |
/// | [`give_up`](Self::give_up) | [`GiveUp::Unit`] | what happens when a unit is given up |
/// | [`restart_rate`](Self::restart_rate) | 100 in 100 ms | the maximum rate of restarts |
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
    /// Sets the manager's name, which its process, errors and events show. Default: `manager`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.about.name = name.into();
        self
    }

    /// Sets how units are restarted and stopped. Default: [`Policy::new`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.about.policy = policy;
        self
    }

    /// Sets how long the body waits for starting units. Default: 1 s.
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.about.start_limit = Some(limit);
        self
    }

    /// Sets the time from the end of a complete scan of the table to the next scan. Default: 60 s.
    pub fn scan_every(mut self, interval: Duration) -> Self {
        self.settings.scan_every = interval;
        self
    }

    /// Sets whether a running unit is stopped when its row is gone. Default: `true`. Otherwise, the unit continues
    /// until it ends, and is not restarted.
    pub fn stop_vanished(mut self, stop: bool) -> Self {
        self.settings.stop_vanished = stop;
        self
    }

    /// Sets what happens when a unit is given up. Default: [`GiveUp::Unit`].
    pub fn give_up(mut self, give_up: GiveUp) -> Self {
        self.about.closes_when_given_up = give_up == GiveUp::Manager;
        self
    }

    /// Sets the maximum rate of restarts, so that units that failed together do not all restart at once. Default: 100
    /// in 100 ms. At least one unit is restarted in each period; a period of zero means no limit.
    pub fn restart_rate(mut self, rate: Rate) -> Self {
        self.about.restart_rate = Some(rate);
        self
    }

    /// Sets the maximum number of unread events of each reader, at most 65,536. A slower reader loses the oldest
    /// events. Default: 1024.
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

impl<K: Key> HasUnits for Manager<K> {
    fn overview(&self, limit: usize) -> Overview {
        Overview::of(&self.shared, limit)
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
