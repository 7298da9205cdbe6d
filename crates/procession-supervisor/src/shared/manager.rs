//! [`SharedManager`]: runs the units that it claims from a [`SharedTable`].
//!
//! A run of the manager is a process. For each lease, it has a child on the engine of all managers ([`Claims`] is its
//! face), and three threads: one renews the lease, one watches its end, and one does the rest with the table.
//!
//! 1. No unit runs without a lease for longer than its abort takes. Argument: the units are below the child, and the
//!    watch aborts it when the lease ends, whatever the store or an executor does.
//! 2. The lease is renewed until all units have ended and were released. Argument: it ends with the worker, which ends
//!    after the last message of [`Claims`]; that is sent when these are dropped, after the units have ended.
//! 3. A unit that has not ended keeps its lease. Argument: the manager leaves the table only if nothing is stuck;
//!    otherwise, its lease runs out.
//! 4. The user's code does not unwind into a thread. Argument: [`SharedManager::spawn`] catches its panics, also those
//!    of what it drops.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_lite::future::or;
use procession::support::{catch, ignore_failures_of_children, wait_for_own_children};
use procession::{BoxError, Clock, Error, IntoOutcome, Process, Site, SystemClock};
use procession_runnable::{Run, Runnable, Start, body, named, run_in_at, run_in_blocking_at};

use super::claim::{Claim, Factory};
use super::claims::Claims;
use super::hand_over::HandOver;
use super::held::Tokens;
use super::keeper::{keep, watch};
use super::lease::Term;
use super::settings::Settings;
use super::stuck::{OnStuck, exit_unless_ended};
use super::table::{ManagerId, SharedTable, Token};
use super::time::LeaseClock;
use super::worker::{FromTable, ToTable, Worker};
use crate::engine::inbox::Inbox;
use crate::engine::reply::reply;
use crate::engine::{About, Shared, passed_on, supervise};
use crate::error::ManagerError;
use crate::event::{Events, Happening};
use crate::overview::{HasUnits, Overview, Owner};
use crate::policy::Policy;
use crate::status::{Counts, Status};
use crate::sync::Mutex;
use crate::unit::Unit;

/// Runs units of a [`SharedTable`], each in one program at a time. Clones are the same manager.
///
/// Conceptually, a shared manager is a [`Manager`](crate::Manager) for those rows of the table that it has claimed. It
/// claims its share of the units, starts each from a description that its factory makes, and gives a unit back when it
/// has ended. If the program dies, is cut off or loses its lease, other managers claim its units.
///
/// The share of a manager is the number of units that should run, divided by the number of managers that can run them.
/// When another manager registers, each gives up what it has beyond its share. Units that stay free, because the others
/// have no [capacity](SharedBuilder::capacity) or other [kinds](SharedBuilder::kinds), are claimed by managers that
/// have their share already.
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
#[derive(Clone)]
pub struct SharedManager {
    shared: Arc<Shared<String>>,
    table: Arc<dyn SharedTable>,
    factory: Arc<Factory>,
    settings: Arc<Settings>,
    hand_over: Arc<HandOver>,
    /// The run whose turn it is holds this lock.
    turn: Arc<async_lock::Mutex<()>>,
    /// The last registration, in any run.
    last: Arc<Mutex<Option<ManagerId>>>,
    tokens: Arc<Tokens>,
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
        let about = About::manager(Site::caller());
        let settings = Settings {
            program: format!("process {}", std::process::id()),
            kinds: vec!["unit".to_owned()],
            capacity: usize::MAX,
            ttl: Duration::from_secs(15),
            poll: None,
            crash_limit: 5,
            failure_limit: 20,
            on_stuck: OnStuck::Report,
            clock: LeaseClock::System,
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
    /// All errors of the body; a [`TableError`](super::TableError) that another attempt cannot change, and
    /// [`ManagerError::Stuck`], each as the source of an [`Error::Failed`] of the manager.
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
    /// would begin its body.
    pub fn runnable(&self) -> Runnable {
        let manager = self.clone();
        let about = &self.shared.about;
        let body = body(move |run| {
            let manager = manager.clone();
            async move { manager.drive(run).await.map_err(passed_on) }
        });
        named(about.name.clone(), body.at(about.site))
    }

    /// Gives all units to other managers, and claims no more in this run. Resolves when this manager owns no unit; its
    /// run goes on until it is closed. Call it before a deployment stops the program: then each unit is down only while
    /// it stops here and starts elsewhere.
    ///
    /// A manager that closes gives its units away as well. With this call, they are gone while the program still runs.
    ///
    /// The units stop gracefully and concurrently. While no other manager is registered, they go on running. A unit for
    /// which no other manager has the kind or the [capacity](SharedBuilder::capacity) waits until one has.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NoOtherManager`] if no other manager could run the units; nothing has changed then.
    /// [`ManagerError::NotRunning`] if the manager is not running, or has closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the manager still gives its units away.
    pub async fn hand_over(&self) -> Result<(), ManagerError> {
        self.hand_over.ask(self.shared.about.site).await
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
        // Two runs do not overlap. The engine would see to it too, but only once both had a lease.
        let Some(_turn) = run.run_until_closing(self.turn.lock()).await else { return Ok(()) };
        let _handing_over = Handing::begin(&self.hand_over);
        let policy = &self.shared.about.policy;
        let mut pauses = policy.pauses();
        loop {
            let (registered, term) = reply();
            let manager = self.clone();
            // With `previous`, the store ends the lease of the last registration. It must not while one of its units is
            // stuck, because another manager would then run that unit.
            let is_idle = self.shared.units.lock().runs().is_empty();
            let previous = self.last.lock().filter(|_| is_idle);
            self.spawn(&run, "lease keeper", move || {
                keep(&*manager.table, &manager.settings, &manager.shared, previous, registered);
            })?;
            let Some(term) = run.run_until_closing(term).await else { return Ok(()) };
            let term = term.ok_or_else(|| failed(&run, "the table panicked".into()))?;
            let term = term.map_err(|error| failed(&run, error.into()))?;
            let begun = SystemClock.now();
            *self.last.lock() = Some(term.manager);
            self.hold(&run, term).await?;
            if begun.elapsed() >= policy.steady_after {
                pauses = policy.pauses();
            }
            // A store may refuse one lease after the other.
            let pause = SystemClock.sleep(policy.next(&mut pauses));
            if run.run_until_closing(pause).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Runs units until the lease ends or the run closes.
    async fn hold(&self, run: &Run, term: Arc<Term>) -> Result<(), Error> {
        let to_manager = Inbox::new();
        to_manager.open();
        let (to_table, from_manager) = mpsc::channel();
        let (start, readiness) = Start::under(run);
        let units = named("units", self.claims(run, &term, &to_manager, to_table)).start(start)?;
        let (done, worked) = reply::<()>();
        let (manager, of_worker) = (self.clone(), term.clone());
        let working = self.spawn(run, "shared table", move || {
            let worker = Worker {
                table: &*manager.table,
                settings: &manager.settings,
                shared: &manager.shared,
                term: &of_worker,
                hand_over: &manager.hand_over,
                to: &to_manager,
                from: from_manager,
            };
            worker.work(done);
        });
        let (of_watch, of_units) = (term.clone(), units.clone());
        let manager = self.clone();
        let watching = self.spawn(run, "lease watch", move || {
            watch(&of_watch, &of_units);
            // After a regular end, nothing runs any more.
            if manager.settings.on_stuck == OnStuck::ExitProgram {
                exit_unless_ended(&manager.shared, &of_watch);
            }
        });
        if let Err(error) = working.and(watching) {
            term.end();
            return Err(error);
        }
        if readiness.until_closing(run).await.is_ok() {
            run.ready();
        }
        let told_of_risk = async {
            term.at_risk().await;
            if let Some(remaining) = term.remaining().filter(|remaining| !remaining.is_zero()) {
                self.shared.events.tell(None, Happening::LeaseAtRisk { remaining });
            }
            std::future::pending().await
        };
        let ended = or(units.closed(), told_of_risk);
        let outcome = wait_for_own_children(run, ended).await;
        let is_lost = !term.is_valid();
        if is_lost {
            self.shared.events.tell(None, Happening::LeaseEnded);
        }
        // Once the lease has ended, the table refuses whatever is left.
        let worked = async {
            let _answer = worked.await;
        };
        let worked = or(worked, SystemClock.sleep(self.settings.ttl));
        wait_for_own_children(run, worked).await;
        match outcome {
            // The units were aborted with the lease.
            Err(error) if !is_lost || is_failure(&error, run.is_closing()) => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs the claimed units on the engine.
    fn claims(
        &self,
        run: &Run,
        term: &Arc<Term>,
        from: &Arc<Inbox<FromTable>>,
        to: mpsc::Sender<ToTable>,
    ) -> Runnable {
        let (manager, term, from) = (self.clone(), term.clone(), from.clone());
        let claims = body(move |run| {
            let SharedManager { shared, factory, settings, tokens, .. } = manager.clone();
            let (term, from, to) = (term.clone(), from.clone(), to.clone());
            let of_face = shared.clone();
            let face =
                |_: &mut _| Ok(Claims::new(settings, factory, term, of_face, from, to, tokens));
            supervise(shared, face, run)
        });
        claims.at(run.site())
    }

    /// Runs a function of this crate on a thread, which also drops what it has captured. The store is code of others,
    /// so its panics become events.
    fn spawn(
        &self,
        run: &Run,
        name: &str,
        function: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        let spawned = thread.spawn(move || {
            if let Err(message) = catch(function) {
                shared.events.tell(None, Happening::TablePanicked { message });
            }
        });
        match spawned {
            Ok(_detached) => Ok(()),
            Err(error) => Err(failed(run, format!("no thread for the {name}: {error}").into())),
        }
    }
}

impl HasUnits for SharedManager {
    fn overview(&self, limit: usize) -> Overview {
        let mut overview = Overview::of(&self.shared, limit);
        for unit in &mut overview.units {
            unit.token = self.tokens.of(&unit.key).map(Token::get);
        }
        let (program, manager) = (self.settings.program.clone(), *self.last.lock());
        overview.owner = Some(Owner { program, manager: manager.map(ManagerId::get) });
        overview
    }
}

/// A run during which the manager can hand over.
struct Handing<'a>(&'a HandOver);

impl<'a> Handing<'a> {
    fn begin(hand_over: &'a HandOver) -> Self {
        hand_over.begin();
        Self(hand_over)
    }
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Returns whether the error of the units is more than the result of the end of their lease. A manager that goes on
/// waits for a stuck unit before it starts it again, so only the last outcome names such units.
fn is_failure(error: &Error, is_last: bool) -> bool {
    match error {
        Error::Aborted(_) => false,
        Error::Many(errors) => errors.iter().any(|error| is_failure(error, is_last)),
        Error::Failed(failed) => {
            is_last || !matches!(failed.get().downcast_ref(), Some(ManagerError::Stuck { .. }))
        }
        _ => true,
    }
}

fn failed(run: &Run, error: BoxError) -> Error {
    Error::failed(run.label(), error)
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
/// | [`on_stuck`](Self::on_stuck) | [`Report`](OnStuck::Report) | what happens if a unit outlives its lease |
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
    /// that can tell whether a program has ended ignores it. The timeouts of the store should be at most a third of this
    /// time, so that a renewal that hangs can be repeated. Default: 15 s.
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

    /// Sets after how many crashes a unit that is not steady is quarantined. Default: 5.
    pub fn crash_limit(mut self, limit: u32) -> Self {
        self.settings.crash_limit = limit;
        self
    }

    /// Sets how often a unit may fail before it is steady, in all programs together: then it is quarantined.
    /// Default: 20.
    pub fn failure_limit(mut self, limit: u32) -> Self {
        self.settings.failure_limit = limit;
        self
    }

    /// Sets what happens if a unit ignores its abort when the lease of the manager has ended. Default:
    /// [`OnStuck::Report`].
    pub fn on_stuck(mut self, on_stuck: OnStuck) -> Self {
        self.settings.on_stuck = on_stuck;
        self
    }

    /// Sets how units are restarted and stopped, and how long the pauses are after errors of the table. Default:
    /// [`Policy::new`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.about.policy = policy;
        self
    }

    /// Makes the manager. `factory` makes the unit of a claim; if it fails, this counts as a failure of the unit.
    pub fn build<F>(self, factory: F) -> SharedManager
    where
        F: Fn(&Claim) -> Result<Unit, BoxError> + Send + Sync + 'static,
    {
        let Self { table, about, mut settings } = self;
        settings.clock = LeaseClock::new(about.policy.own_clock());
        SharedManager {
            shared: Arc::new(Shared::new(about)),
            table,
            factory: Arc::new(factory),
            settings: Arc::new(settings),
            hand_over: Arc::default(),
            turn: Arc::default(),
            last: Arc::default(),
            tokens: Arc::default(),
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
