//! [`SharedManager`]: runs the units that it claims from a [`SharedTable`].
//!
//! A run of the manager is a process. For each lease, it has a child on the engine of all managers ([`Claims`] is its
//! face), and three threads: one renews the lease, one watches its end, and one does the rest with the table.
//!
//! 1. No unit runs without a lease for longer than its abort takes. Argument: the units are below the child, and the
//!    watch aborts it when the lease ends, whatever the store or an executor does.
//! 2. The lease is renewed until all units have ended and were released. Argument: [`Stop`] is set only after the child
//!    is Closed and the worker has finished.
//! 3. A unit that has not ended keeps its lease. Argument: the manager leaves the table only if nothing is stuck;
//!    otherwise, its lease runs out.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_lite::future::or;
use procession::support::{block_on, catch, ignore_failures_of_children};
use procession::{BoxError, Error, IntoOutcome, Process, Site};
use procession_runnable::{Run, Runnable, Start, body, named, run_in_at};

use super::claim::{Claim, Factory};
use super::claims::Claims;
use super::keeper::{Stop, keep, watch};
use super::lease::Term;
use super::table::{SharedTable, TableError};
use super::time::LeaseClock;
use super::worker::{FromTable, ToTable, Worker};
use crate::backoff::Rate;
use crate::engine::{About, Shared, supervise};
use crate::error::ManagerError;
use crate::event::Events;
use crate::policy::Policy;
use crate::status::{Counts, Status};
use crate::unit::Unit;

/// Runs units of a [`SharedTable`], each in one program at a time. Clones are the same manager.
///
/// Conceptually, a shared manager is a [`Manager`](crate::Manager) for those rows of the table that it has claimed. It
/// claims its share of the units, starts each from a description that its factory makes, and gives a unit back when it
/// has ended. If the program dies, is cut off or loses its lease, other managers claim its units.
///
/// For units that only this program runs, use a [`Manager`](crate::Manager).
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::Unit;
/// use procession_supervisor::shared::{MemorySharedTable, Session, SharedManager, SharedTable};
///
/// let table = MemorySharedTable::new();
/// table.open()?.put("mailbox-1", "unit", "alice@example.org")?;
///
/// let manager = SharedManager::new(table, |claim| {
///     let (address, lease) = (claim.spec().to_owned(), claim.lease().clone());
///     Ok(Unit::new(body(move |run| {
///         println!("serving {address} with token {}", lease.token());
///         async move {
///             run.ready();
///             run.closing().await;
///         }
///     })))
/// });
/// manager.run_blocking(|_| assert_eq!(manager.counts().running, 1))?;
/// # Ok::<(), procession::BoxError>(())
/// ```
pub struct SharedManager {
    shared: Arc<Shared<String>>,
    table: Arc<dyn SharedTable>,
    factory: Arc<Factory>,
    settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) program: String,
    pub(super) kinds: Vec<String>,
    pub(super) capacity: usize,
    pub(super) ttl: Duration,
    pub(super) poll: Option<Duration>,
    pub(super) crash_limit: u32,
    pub(super) failure_limit: u32,
    pub(super) policy: Policy,
    pub(super) clock: LeaseClock,
}

impl Settings {
    /// How often the table is read without a change.
    pub(super) fn poll_every(&self, lasts: Option<Duration>) -> Duration {
        let default = if lasts.is_some() { self.ttl / 3 } else { Duration::from_millis(500) };
        self.poll.unwrap_or(default)
    }
}

impl SharedManager {
    /// Makes a manager with the default settings. `factory` makes the unit of a claim; if it fails, this counts as a
    /// failure of the unit.
    #[track_caller]
    pub fn new<F>(table: impl SharedTable, factory: F) -> Self
    where
        F: Fn(&Claim) -> Result<Unit, BoxError> + Send + Sync + 'static,
    {
        Self::builder(table).build(factory)
    }

    /// Configures a manager.
    #[track_caller]
    pub fn builder(table: impl SharedTable) -> SharedBuilder {
        let about = About {
            site: Site::caller(),
            name: "manager".into(),
            policy: Policy::new(),
            start_limit: Some(Duration::from_secs(1)),
            pace: Some(Rate::new(100, Duration::from_millis(100))),
            events: 1024,
            closes_when_given_up: false,
        };
        let settings = Settings {
            program: format!("process {}", std::process::id()),
            kinds: vec!["unit".to_owned()],
            capacity: usize::MAX,
            ttl: Duration::from_secs(15),
            poll: None,
            crash_limit: 5,
            failure_limit: 20,
            policy: Policy::new(),
            clock: LeaseClock::new(None),
        };
        SharedBuilder { table: Arc::new(table), about, settings }
    }

    /// Registers the manager, claims units, runs `body`, and then stops all units concurrently and releases each.
    ///
    /// `body` begins when the table has been read once and the units claimed by then are ready or have failed, but no
    /// later than 1 s after the registration. While the store cannot be reached, the manager tries again.
    ///
    /// # Errors
    ///
    /// All errors of the body; a [`TableError`] that no other attempt can change, and
    /// [`ManagerError::Stuck`](crate::ManagerError::Stuck), each as the source of an [`Error::Failed`] of the manager.
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

    /// Returns a runnable that runs the manager as a part of something larger. It is ready when [`run`](Self::run)
    /// would begin its body.
    pub fn runnable(&self) -> Runnable {
        let manager = self.clone();
        let about = &self.shared.about;
        let body = body(move |run| {
            let manager = manager.clone();
            async move { manager.drive(run).await }
        });
        named(about.name.clone(), body.at(about.site))
    }

    /// Lists the units that this manager has claimed, sorted by key.
    pub fn list(&self) -> Vec<Status<String>> {
        let mut list = self.shared.list();
        list.sort_by(|one, other| one.key.cmp(&other.key));
        list
    }

    /// Returns the number of claimed units in each group of states.
    pub fn counts(&self) -> Counts {
        self.shared.shown_counts()
    }

    /// Makes a reader of all events from now on.
    pub fn events(&self) -> Events<String> {
        self.shared.events.read()
    }

    /// Holds one lease after the other until the run closes.
    async fn drive(&self, run: Run) -> Result<(), Error> {
        // The errors of the child are returned instead.
        ignore_failures_of_children(&run);
        loop {
            let stop = Stopping(Stop::default());
            let registered = self.keep(&stop.0).map_err(|error| failed(&run, error))?;
            let Some(term) = run.run_until_closing(registered.recv()).await else {
                return Ok(());
            };
            let Ok(term) = term else { return Err(failed(&run, "the table panicked".into())) };
            let term = term.map_err(|error| failed(&run, error.into()))?;
            self.hold(&run, term, &stop.0).await?;
            if run.is_closing() {
                return Ok(());
            }
        }
    }

    /// Runs units until the lease ends or the run closes.
    async fn hold(&self, run: &Run, term: Arc<Term>, stop: &Stop) -> Result<(), Error> {
        // Whatever happens here, the lease ends with it.
        let _ending = Ending(term.clone());
        let (to_manager, from_table) = async_channel::unbounded();
        let (to_table, from_manager) = mpsc::channel();
        let claims = {
            let (shared, settings) = (self.shared.clone(), self.settings.clone());
            let (factory, term, to_table) = (self.factory.clone(), term.clone(), to_table.clone());
            body(move |run| {
                let (settings, factory, term) = (settings.clone(), factory.clone(), term.clone());
                let (from_table, to_table) = (from_table.clone(), to_table.clone());
                let of_face = shared.clone();
                supervise(
                    shared.clone(),
                    |_| Ok(Claims::new(settings, factory, term, of_face, from_table, to_table)),
                    run,
                )
            })
        };
        let (start, readiness) = Start::under(run);
        let units = named("units", claims.at(run.site())).start(start)?;
        self.watch(&term, &units, stop).map_err(|error| failed(run, error))?;
        let worked =
            self.work(&term, stop, to_manager, from_manager).map_err(|error| failed(run, error))?;
        if readiness.until_closing(run).await.is_ok() {
            run.ready();
        }
        let outcome = units.closed().await;
        let is_stuck = self.shared.counts().stuck > 0;
        let _sent = to_table.send(ToTable::Finish { leaves: !is_stuck });
        // Once the lease has ended, the table refuses whatever is left.
        let worked = async {
            let _ended = worked.recv().await;
        };
        or(worked, term.ended()).await;
        match outcome {
            // Its units were aborted with it. Those that have not ended are named, and their writes are refused.
            Err(error) if term.is_valid() || run.is_closing() || is_failure(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn keep(
        &self,
        stop: &Stop,
    ) -> Result<async_channel::Receiver<Result<Arc<Term>, TableError>>, BoxError> {
        let (sender, receiver) = async_channel::bounded(1);
        let (manager, stop) = (self.clone(), stop.clone());
        spawn("lease keeper", move || {
            let (table, settings) = (&*manager.table, &*manager.settings);
            let mut held = None;
            let kept = catch(|| {
                keep(table, settings, &manager.shared.events, &stop, |registered| {
                    held = registered.as_ref().ok().cloned();
                    let _sent = sender.try_send(registered);
                });
            });
            // The table has panicked, so nobody renews the lease any more.
            if let (Err(_), Some(term)) = (kept, held) {
                term.end();
            }
        })?;
        Ok(receiver)
    }

    fn watch(&self, term: &Arc<Term>, units: &Process, stop: &Stop) -> Result<(), BoxError> {
        let (manager, term, stop) = (self.clone(), term.clone(), stop.clone());
        let units = units.clone();
        spawn("lease watch", move || watch(&term, &units, &manager.shared.events, &stop))
    }

    fn work(
        &self,
        term: &Arc<Term>,
        stop: &Stop,
        to: async_channel::Sender<FromTable>,
        from: mpsc::Receiver<ToTable>,
    ) -> Result<async_channel::Receiver<()>, BoxError> {
        let (sender, receiver) = async_channel::bounded(1);
        let (manager, term, stop) = (self.clone(), term.clone(), stop.clone());
        spawn("shared table", move || {
            // Dropping it tells that the thread has ended.
            let _ended = sender;
            let worker = Worker {
                table: &*manager.table,
                settings: &manager.settings,
                events: &manager.shared.events,
                term: &term,
                stop: &stop,
                to,
                from,
                queue: VecDeque::new(),
            };
            if catch(|| worker.work()).is_err() {
                term.end();
            }
        })?;
        Ok(receiver)
    }
}

/// Returns whether the error of the units is more than the result of an abort.
fn is_failure(error: &Error) -> bool {
    match error {
        Error::Aborted(_) => false,
        Error::Many(errors) => errors.iter().any(is_failure),
        Error::Failed(failed) => {
            !matches!(failed.get().downcast_ref(), Some(ManagerError::Stuck { .. }))
        }
        _ => true,
    }
}

/// Ends the threads of a lease when it is dropped.
struct Stopping(Stop);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Ends a lease when it is dropped.
struct Ending(Arc<Term>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn failed(run: &Run, error: BoxError) -> Error {
    Error::failed(run.label(), error)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), BoxError> {
    let spawned: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(drop).map_err(|error| format!("no thread for the {name}: {error}").into())
}

/// Configures a shared manager. Made by [`SharedManager::builder`].
///
/// | setting | default | meaning |
/// |---|---|---|
/// | [`name`](Self::name) | `manager` | the name in its process, errors and events |
/// | [`program`](Self::program) | the process id | the name of this program, for operators |
/// | [`kinds`](Self::kinds) | `unit` | the kinds of units that it claims |
/// | [`capacity`](Self::capacity) | no limit | the maximum number of units that it claims |
/// | [`ttl`](Self::ttl) | 15 s | how long its lease lasts without a renewal |
/// | [`poll_every`](Self::poll_every) | a third of `ttl`, or 500 ms | how often it reads the table without a change |
/// | [`crash_limit`](Self::crash_limit) | 5 | how often a unit may crash its program before it is quarantined |
/// | [`failure_limit`](Self::failure_limit) | 20 | how often a unit may fail before it is quarantined |
/// | [`policy`](Self::policy) | [`Policy::new`] | restarts and graces |
#[must_use = "a builder does nothing until `build`"]
pub struct SharedBuilder {
    table: Arc<dyn SharedTable>,
    about: About,
    settings: Settings,
}

impl SharedBuilder {
    /// Sets the manager's name, which its process, errors and events show. Default: `manager`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.about.name = name.into();
        self
    }

    /// Sets the name of this program in the table, for operators. Default: the process id.
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.settings.program = program.into();
        self
    }

    /// Sets the kinds of units that the manager can run. Units of other kinds are left to other programs. Default:
    /// `unit`.
    pub fn kinds<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.settings.kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the maximum number of units that the manager claims. Default: no limit.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// Sets how long the lease of the manager lasts without a renewal. It is renewed after each third of this time. A
    /// short time moves the units of a dead program sooner; a long one survives longer outages of the store. A store
    /// that can tell whether a program has ended ignores it. Default: 15 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// Sets how often the manager reads the table if nothing reports a change. Default: after a third of the time to
    /// live, or 500 ms if leases do not end by time.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.settings.poll = Some(interval);
        self
    }

    /// Sets how often the program of a unit may die before the unit is steady. Beyond that, the unit is quarantined.
    /// Default: 5.
    pub fn crash_limit(mut self, limit: u32) -> Self {
        self.settings.crash_limit = limit;
        self
    }

    /// Sets how often a unit may fail before it is steady, in all programs together. Beyond that, it is quarantined.
    /// Default: 20.
    pub fn failure_limit(mut self, limit: u32) -> Self {
        self.settings.failure_limit = limit;
        self
    }

    /// Sets how units are restarted and stopped. Default: [`Policy::new`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Makes the manager. `factory` makes the unit of a claim; if it fails, this counts as a failure of the unit.
    pub fn build<F>(self, factory: F) -> SharedManager
    where
        F: Fn(&Claim) -> Result<Unit, BoxError> + Send + Sync + 'static,
    {
        let Self { table, mut about, mut settings } = self;
        about.policy = settings.policy.clone();
        settings.clock = LeaseClock::new(settings.policy.own_clock());
        SharedManager {
            shared: Arc::new(Shared::new(about)),
            table,
            factory: Arc::new(factory),
            settings: Arc::new(settings),
        }
    }
}

impl Clone for SharedManager {
    fn clone(&self) -> Self {
        let Self { shared, table, factory, settings } = self;
        Self {
            shared: shared.clone(),
            table: table.clone(),
            factory: factory.clone(),
            settings: settings.clone(),
        }
    }
}

impl fmt::Debug for SharedManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.shared.about.name;
        f.debug_struct("SharedManager").field("name", name).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.about.name;
        f.debug_struct("SharedBuilder").field("name", name).finish_non_exhaustive()
    }
}
