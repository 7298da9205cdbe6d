//! [`Drive`]: the task that moves the units, from the manager's start to its end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::Stream;
use futures_util::stream::FuturesUnordered;
use procession::support::{catch, model_has_failed};
use procession::{ChildFailure, Closing, Error, Label, Process, Sleep};
use procession_runnable::Run;

use super::Engine;
use super::command::Command;
use super::contained::Contained;
use super::rows::{Load, Scan};
use super::units::Then;
use crate::error::ManagerError;
use crate::status::State;
use crate::table::{BoxFuture, Change, Key, Row};

/// How often it looks at everything before it lets other tasks run.
const ROUNDS: usize = 32;

pub(super) struct Drive<K: Key> {
    pub(super) engine: Arc<Engine<K>>,
    run: Run,
    now: Instant,
    /// Where names are written.
    pub(super) name: String,
    closing: Option<Closing>,
    /// What the units' processes hang below.
    pub(super) group: Process,
    pub(super) scan: Scan<K>,
    /// Where rows of a scan are put.
    pub(super) rows: Vec<Row<K>>,
    /// Another scan is to follow the one under way.
    pub(super) scan_again: bool,
    /// Counts the scans.
    pub(super) generation: u64,
    /// A scan has come to its end.
    pub(super) has_scanned: bool,
    pub(super) changes: Option<Contained<dyn Stream<Item = Change<K>> + Send>>,
    /// Rows that are being read, one by one.
    pub(super) loads: FuturesUnordered<BoxFuture<'static, Load<K>>>,
    pub(super) to_load: VecDeque<K>,
    /// The keys of both; `true`: it has changed since, and is to be read once more.
    pub(super) loading: HashMap<K, bool>,
    /// Keys whose row was found to be gone while a scan was under way, that may still tell of it.
    pub(super) gone: HashSet<K>,
    /// When the present period of the pace of restarts began, and how many it has had.
    pub(super) paced: (Instant, usize),
    /// The body has begun, or can.
    has_begun: bool,
    /// Until when the body waits for what is starting; a limit beyond all time is none.
    start_by: Option<Instant>,
    sleep: Option<(Instant, Sleep)>,
    is_stopping: bool,
    /// Why it gives up.
    pub(super) failure: Option<ManagerError>,
}

impl<K: Key> Drive<K> {
    pub(super) fn new(engine: Arc<Engine<K>>, run: Run) -> Result<Self, Error> {
        let group = Process::builder().no_wait_parent(&run).name(&*engine.settings.name);
        // The engine handles the failures of the units.
        let group = group.on_child_failure(ChildFailure::Ignore).site(run.site()).build()?;
        let now = engine.settings.policy.time().now();
        let drive = Self {
            now,
            name: String::new(),
            closing: Some(run.closing()),
            group,
            scan: Scan::At(now, None),
            rows: Vec::new(),
            scan_again: false,
            generation: 0,
            has_scanned: false,
            // Before the first scan, so that no change falls between them.
            changes: catch(|| engine.table.changes()).ok().flatten().map(Contained::new),
            loads: FuturesUnordered::new(),
            to_load: VecDeque::new(),
            loading: HashMap::new(),
            gone: HashSet::new(),
            paced: (now, 0),
            has_begun: false,
            start_by: now.checked_add(engine.settings.start_limit),
            sleep: None,
            is_stopping: false,
            failure: None,
            engine,
            run,
        };
        drive.engine.inbox.open();
        Ok(drive)
    }

    /// Moves all that can move; yields the manager's outcome.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..ROUNDS {
            self.now = self.engine.settings.policy.time().now();
            let mut is_busy = self.poll_closing(context);
            is_busy |= self.poll_inbox(context);
            is_busy |= self.poll_changes(context);
            is_busy |= self.poll_scan(context);
            is_busy |= self.poll_loads(context);
            is_busy |= self.poll_due(context);
            self.tell_ready();
            if let Some(result) = self.ended() {
                return Poll::Ready(result);
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The time of this look at everything.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// What its errors say that they are of.
    pub(super) fn label(&self) -> Label {
        self.run.label()
    }

    /// It closes, or has asked for that.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    fn poll_closing(&mut self, context: &mut Context<'_>) -> bool {
        let Some(closing) = &mut self.closing else { return false };
        if Pin::new(closing).poll(context).is_pending() {
            return false;
        }
        self.closing = None;
        self.stop_all();
        true
    }

    /// The units close with the manager: what ends after that was asked to, also if this has not seen it yet.
    pub(super) fn see_closing(&mut self) {
        if self.run.is_closing() {
            self.stop_all();
        }
    }

    /// Stops all units, side by side, and takes nothing new.
    pub(super) fn stop_all(&mut self) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        self.engine.inbox.close();
        self.scan = Scan::Off;
        self.changes = None;
        self.loads = FuturesUnordered::new();
        self.to_load.clear();
        let ids = self.engine.units.lock().ids();
        for id in ids {
            self.stop(id, Then::Forget);
        }
    }

    fn poll_inbox(&mut self, context: &Context<'_>) -> bool {
        let (commands, woken) = self.engine.inbox.take(context.waker());
        let is_busy = !(commands.is_empty() && woken.is_empty());
        for command in commands {
            match command {
                Command::Start { key, reply } => self.start_by_call(key, reply),
                Command::Stop { key, reply } => self.stop_by_call(&key, reply),
            }
        }
        for run in woken {
            self.look(run);
        }
        is_busy
    }

    /// Does what is due, and sleeps until something is.
    fn poll_due(&mut self, context: &mut Context<'_>) -> bool {
        let now = self.now();
        let mut is_busy = self.scan_if_due(now);
        loop {
            // Its own statement: the lock is not held while the unit moves.
            let due = self.engine.units.lock().pop_due(now);
            let Some(id) = due else { break };
            self.due(id, now);
            is_busy = true;
        }
        let next = [self.engine.units.lock().next_due(), self.scan.next(), self.start_by];
        let Some(next) = next.into_iter().flatten().min() else {
            self.sleep = None;
            return is_busy;
        };
        if self.sleep.as_ref().is_none_or(|(until, _)| *until != next) {
            self.sleep = Some((next, self.engine.settings.policy.time().sleep_until(next)));
        }
        if let Some((_, sleep)) = &mut self.sleep {
            if sleep.as_mut().poll(context).is_ready() {
                self.sleep = None;
                is_busy = true;
            }
        }
        is_busy
    }

    /// The body can begin when all that the first scan has found is ready or has failed, or when it has
    /// waited for long enough.
    fn tell_ready(&mut self) {
        if self.has_begun {
            return;
        }
        let has_started = self.has_scanned && !self.engine.units.lock().is_starting();
        if has_started || self.start_by.is_some_and(|limit| self.now() >= limit) {
            self.has_begun = true;
            self.start_by = None;
            self.run.ready();
        }
    }

    /// It has ended when all units have stopped that will.
    fn ended(&mut self) -> Option<Result<(), Error>> {
        let units = self.engine.units.lock();
        if !self.is_stopping || units.is_open() {
            return None;
        }
        let stuck = units.stuck();
        drop(units);
        let stuck = (!stuck.is_empty()).then(|| ManagerError::Stuck { keys: stuck.into() });
        let errors = self.failure.take().into_iter().chain(stuck);
        let errors: Vec<Error> =
            errors.map(|error| Error::failed(self.label(), Box::new(error))).collect();
        Some(Error::all(errors))
    }
}

impl<K: Key> Drop for Drive<K> {
    /// At its end, and when an abort drops it: all waiters are told, and a unit that still runs keeps its key.
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        self.engine.inbox.close();
        self.group.abort();
        let ids = self.engine.units.lock().ids();
        for id in ids {
            let now = self.now();
            let mut units = self.engine.units.lock();
            if !units.entry(id).state().has_run() {
                let removed = units.remove(id);
                drop(units);
                drop(removed);
                continue;
            }
            units.set_state(id, State::Stuck, now);
            units.set_due(id, None);
            let entry = units.entry(id);
            entry.then = Then::Forget;
            // Dropping their replies tells those who wait that the manager is not running.
            let waiting = (entry.take_starters(), entry.take_stoppers());
            drop(units);
            drop(waiting);
        }
    }
}
