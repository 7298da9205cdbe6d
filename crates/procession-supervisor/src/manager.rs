//! [`Manager`]: keeps the units of a table running.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use procession::support::block_on;
use procession::{Error, IntoOutcome, Process, Site};
use procession_runnable::{Runnable, body, named, run_in_at};

use crate::engine::{Command, Engine, Reply, reply, supervise};
use crate::error::ManagerError;
use crate::event::Events;
use crate::pace::Rate;
use crate::policy::Policy;
use crate::settings::{GiveUp, Settings};
use crate::status::{State, Status};
use crate::table::{Key, Table};

/// Keeps the units of a [`Table`] running. Clones are the same manager.
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::{Event, Manager, MemoryTable, Restart, Unit};
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
///         if let Event::Failed { key, error } = event {
///             assert_eq!(error.with_causes().to_string(), "process `importer` failed: no such file");
///             return assert_eq!(key, "importer");
///         }
///     }
/// })?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Manager<K> {
    engine: Arc<Engine<K>>,
}

impl<K: Key> Manager<K> {
    /// A manager with the settings that [`Builder`] says.
    #[track_caller]
    pub fn new(table: impl Table<K>) -> Self {
        Self::builder(table).build()
    }

    /// A manager that is told more.
    #[track_caller]
    pub fn builder(table: impl Table<K>) -> Builder<K> {
        Builder { table: Arc::new(table), settings: Settings::at(Site::caller()) }
    }

    /// Starts what the table lists, runs `body`, then stops all of it, side by side.
    ///
    /// `body` begins when all that the first scan has found is ready or has failed, at the latest after the [start
    /// limit](Builder::start_limit). If the manager gives up ([`GiveUp::Manager`]), the body's process closes. A second
    /// run at the same time waits its turn.
    ///
    /// It ends at the latest when each unit has had its grace time and the time after its abort: what has not
    /// stopped then is named in the error, and keeps its key until it has.
    ///
    /// To run it below a process, or as a part of something larger, take [`runnable`](Self::runnable).
    ///
    /// # Errors
    ///
    /// The body's; [`ManagerError::Stuck`] and [`ManagerError::GaveUp`], as the source of an
    /// [`Error::Failed`] of the manager. None is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future half-way drops the body, and closes the manager and its units.
    pub async fn run<F, Fut>(&self, body: F) -> Result<(), Error>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let site = self.engine.settings.site;
        let root = Process::builder().site(site).build()?;
        run_in_at(site, &root, &self.runnable(), body).await
    }

    /// [`run`](Self::run), for a body that blocks: it runs on this thread.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until all has stopped.
    pub fn run_blocking<F, R>(&self, body: F) -> Result<(), Error>
    where
        F: FnOnce(Process) -> R,
        R: IntoOutcome,
    {
        block_on(self.run(|process| async { body(process) }))
    }

    /// The manager as a part of something larger: ready when [`run`](Self::run) would begin its body. So
    /// managers nest, and stand in groups beside servers.
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
        let engine = self.engine.clone();
        let name = engine.settings.name.clone();
        let site = engine.settings.site;
        named(name, body(move |run| supervise(engine.clone(), run)).at(site))
    }

    /// The process of a unit that runs.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::NotReady`] if it is still
    /// starting; [`ManagerError::InvalidState`] if it stops, has ended, or waits for its restart.
    pub fn get(&self, key: &K) -> Result<Process, ManagerError> {
        if !self.engine.inbox.is_open() {
            return Err(ManagerError::NotRunning);
        }
        let mut units = self.engine.units.lock();
        let Some(id) = units.find(key) else {
            return Err(ManagerError::NotFound { key: key.to_string().into() });
        };
        let entry = units.entry(id);
        match (entry.state(), &entry.live) {
            (State::Running, Some(live)) => Ok(live.process.clone()),
            (State::Loading | State::Starting, _) => {
                Err(ManagerError::NotReady { key: entry.name() })
            }
            (state, _) => Err(ManagerError::InvalidState { key: entry.name(), state, call: "get" }),
        }
    }

    /// Starts a unit of the table that has no run, whatever became of earlier ones, and waits until it is
    /// ready.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`]; [`ManagerError::Exists`] if it has a run already, which may be
    /// stopping, or is about to be started; [`ManagerError::NotFound`] if the table has no such row, and
    /// [`ManagerError::Load`] if it cannot say; [`ManagerError::Failed`] and [`ManagerError::Stopped`] if it
    /// does not become ready. One that fails is started again as any unit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the unit to itself: it goes on to start.
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
    ///     assert!(matches!(manager.start(7).await, Err(ManagerError::Exists { .. })));
    ///     manager.stop(&7).await?;
    ///     assert_eq!(manager.list()[0].state, State::Stopped);
    ///     let process = manager.start(7).await?;
    ///     assert_eq!(manager.get(&7)?, process);
    ///     procession::ok()
    /// }))?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn start(&self, key: K) -> Result<Process, ManagerError> {
        self.call(|reply| Command::Start { key, reply }).await
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

    /// Stops a unit, and waits until it has stopped. It is not started again until [`start`](Self::start) is
    /// called, or its row has gone and come back.
    ///
    /// A unit that is to end for good deletes its row before it ends.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotRunning`], [`ManagerError::NotFound`]; [`ManagerError::InvalidState`] if it has
    /// ended already; [`ManagerError::Failed`] with its outcome; [`ManagerError::Stuck`] if it ignores its
    /// abort.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the unit stops, also when the future is dropped. A unit that stops itself so waits
    /// for itself, until its grace time is over.
    pub async fn stop(&self, key: &K) -> Result<(), ManagerError> {
        let key = key.clone();
        self.call(|reply| Command::Stop { key, reply }).await
    }

    /// [`stop`](Self::stop), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop).
    ///
    /// # Blocking
    ///
    /// Blocks the thread for as long as the unit's grace time and the time after its abort.
    pub fn stop_blocking(&self, key: &K) -> Result<(), ManagerError> {
        block_on(self.stop(key))
    }

    /// All units, in no order: where they stand, and what they went through. When the manager is not running,
    /// those that do not stop.
    pub fn list(&self) -> Vec<Status<K>> {
        self.engine.units.lock().list()
    }

    /// Reads all that happens from now on.
    pub fn events(&self) -> Events<K> {
        self.engine.events.read()
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command<K>,
    ) -> Result<T, ManagerError> {
        let (reply, replied) = reply();
        let put = self.engine.inbox.command(command(reply));
        put.map_err(|_| ManagerError::NotRunning)?;
        replied.await.unwrap_or(Err(ManagerError::NotRunning))
    }
}

/// Makes a manager. Made by [`Manager::builder`].
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
    settings: Settings,
}

impl<K: Key> Builder<K> {
    /// The manager's name, for its process and its errors. Default: `manager`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How units are started again and stopped.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// How long the body waits for what is starting. Default: 1 s.
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.settings.start_limit = limit;
        self
    }

    /// How long after a scan of the table the next one begins. Default: 60 s.
    pub fn scan_every(mut self, interval: Duration) -> Self {
        self.settings.scan_every = interval;
        self
    }

    /// Whether a unit that runs is stopped when its row is gone. Default: `true`. Without it, it goes on to
    /// its end, and is not started again.
    pub fn stop_vanished(mut self, stop: bool) -> Self {
        self.settings.stop_vanished = stop;
        self
    }

    /// What happens when a unit is given up. Default: [`GiveUp::Unit`].
    pub fn give_up(mut self, give_up: GiveUp) -> Self {
        self.settings.give_up = give_up;
        self
    }

    /// How many units are started again in how long a time, so that many that failed together do not start in
    /// one burst. Default: 100 in 100 ms. At least one is started in each period; one of no length is no limit.
    pub fn pace(mut self, pace: Rate) -> Self {
        self.settings.pace = pace;
        self
    }

    /// The number of unread events that are kept for each reader, before the oldest are lost. Default: 1024.
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.settings.events = capacity;
        self
    }

    /// Makes the manager.
    pub fn build(self) -> Manager<K> {
        Manager { engine: Arc::new(Engine::new(self.table, self.settings)) }
    }
}

impl<K> Clone for Manager<K> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone() }
    }
}

impl<K> fmt::Debug for Manager<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("name", &self.engine.settings.name).finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for Builder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
