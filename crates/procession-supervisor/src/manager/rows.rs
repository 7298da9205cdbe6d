//! [`Rows`]: loads the units of a manager from the rows of its table, by scans, by single rows and after changes.
//!
//! 1. A scan that fails does not affect the units whose rows it did not reach. Argument: units whose rows a scan did
//!    not deliver are stopped only at the end of a complete scan.
//! 2. A loaded row is used only if it has not changed since its load began; otherwise, it is loaded once more. A row
//!    that is gone is not used even if a scan still delivers it. Argument: a change of a key that is being loaded sets
//!    its flag in `loading`, and `gone` has the keys whose rows were found to be gone during the current scan.
//! 3. A changed row takes effect once, unless it must wait for the next start (U6). Argument: only [`change`] records
//!    the version of a row for a unit that is not loaded anyway, and passes the change to the unit's state machine in
//!    the same call, which answers for every state.
//! 4. A future of the table that never completes hardly delays other rows (U7). Argument: each load and each row of a
//!    scan has a timeout, and slow loads do not count towards the limit of concurrent loads.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use backon::ExponentialBackoff;
use futures_lite::{Stream, StreamExt, future};
use futures_util::stream::FuturesUnordered;
use procession::BoxError;
use procession::support::{Name, catch};

use super::contained::{Contained, caught, in_time};
use super::settings::Settings;
use crate::engine::{Command, Core, FrontEnd, Reply, Units, answer, stop_all};
use crate::error::{ManagerError, SharedError};
use crate::event::Happening;
use crate::lifecycle::{Input, Notice, Then};
use crate::name::{name_of, process_name_of};
use crate::policy::Policy;
use crate::state::{HasRun, State};
use crate::sync::Mutex;
use crate::table::{BoxFuture, Change, Key, Row, Table};
use crate::unit::{OnChange, Unit};

/// The maximum number of concurrent loads, not counting slow ones.
const LOADS: usize = 64;
/// The maximum number of concurrent loads, including slow ones.
const ALL_LOADS: usize = 4096;
/// A load that takes at least this long is slow, and no longer counts towards [`LOADS`].
const LONG: Duration = Duration::from_millis(250);
/// The maximum number of rows for which the first scan reserves room in advance.
const RESERVED: usize = 1 << 20;
/// The number of changes or loads that are handled before other tasks run.
const BATCH: usize = 64;
/// The number of rows that a scan reads at once, which is enough for helpers to take part in starting the units.
const ROWS: usize = 1024;

/// The table of a manager, and the reads that are under way.
pub(super) struct Rows<K> {
    table: Arc<dyn Table<K>>,
    settings: Settings,
    scan: Scan<K>,
    /// An empty buffer, kept for its capacity. It is swapped with the rows of the scan.
    rows: Vec<Row<K>>,
    /// The number of scans that have begun.
    generation: u32,
    /// Must another scan follow the current one at once?
    scan_again: bool,
    /// Has a scan been completed?
    has_scanned: bool,
    /// Callers that wait for the end of the scan with this number.
    waiting: Vec<(u32, Reply<()>)>,
    changes: Option<Contained<dyn Stream<Item = Change<K>> + Send>>,
    /// The rows that are being loaded one by one.
    loads: FuturesUnordered<BoxFuture<'static, Load<K>>>,
    to_load: VecDeque<K>,
    /// The keys in `loads` and `to_load`, with `true` if the row has changed meanwhile and must be loaded once more.
    loading: HashMap<K, bool>,
    /// When each of `loads` began.
    begun: BTreeMap<u64, Instant>,
    /// The number of loads that have begun.
    numbered: u64,
    /// Keys whose rows were found to be gone during the current scan, which may still deliver them.
    gone: HashSet<K>,
    /// Have all units been aborted?
    has_aborted: bool,
}

enum Scan<K> {
    /// The time of the next scan, and the pauses before further attempts if the last scan failed.
    At(Instant, Option<ExponentialBackoff>),
    Reading(Reading<K>),
    Off,
}

struct Reading<K> {
    scan: BoxFuture<'static, Result<(), BoxError>>,
    read: Arc<Mutex<Read<K>>>,
    pauses: Option<ExponentialBackoff>,
}

/// The rows that the scan has read, and the minimum number of rows to come, which is zero unless it has just begun.
struct Read<K> {
    rows: Vec<Row<K>>,
    expected: usize,
}

/// The result of loading the row of one key.
struct Load<K> {
    number: u64,
    key: K,
    unit: Result<Option<Unit>, BoxError>,
}

impl<K: Key> Rows<K> {
    pub(super) fn new(table: Arc<dyn Table<K>>, settings: Settings, core: &Core<K>) -> Self {
        Self {
            scan: Scan::At(core.now(), None),
            rows: Vec::new(),
            generation: 0,
            scan_again: false,
            has_scanned: false,
            waiting: Vec::new(),
            // This is called before the first scan, so that no change is missed in between.
            changes: catch(|| table.changes()).ok().flatten().map(Contained::new),
            loads: FuturesUnordered::new(),
            to_load: VecDeque::new(),
            loading: HashMap::new(),
            begun: BTreeMap::new(),
            numbered: 0,
            gone: HashSet::new(),
            has_aborted: false,
            table,
            settings,
        }
    }
}

impl<K: Key> FrontEnd<K> for Rows<K> {
    fn poll(&mut self, core: &mut Core<K>, context: &mut Context<'_>) -> bool {
        let mut is_busy = self.poll_changes(core, context);
        is_busy |= self.scan_if_due(core);
        is_busy |= self.poll_scan(core, context);
        // While runs are planned, no load may be handled, because it could start one of these units.
        core.has_planned() || self.poll_loads(core, context) || is_busy
    }

    fn next_due(&self) -> Option<Instant> {
        let scan = match &self.scan {
            Scan::At(next, _) => Some(*next),
            Scan::Reading(_) | Scan::Off => None,
        };
        // The time at which the oldest load that counts towards the limit becomes slow.
        let waits = !self.to_load.is_empty() && (LOADS..ALL_LOADS).contains(&self.loads.len());
        let counted = self.begun.values().rev().nth(LOADS - 1).filter(|_| waits);
        let load = counted.and_then(|begun| begun.checked_add(LONG));
        scan.into_iter().chain(load).min()
    }

    fn moved(&mut self, core: &mut Core<K>, id: usize, notice: Notice) {
        match notice {
            Notice::Load => {
                if let Some(key) = core.with(id, |units, id| units.entry(id).key.clone()) {
                    self.load(key);
                }
            }
            Notice::Ready => {}
            Notice::Down(down) => core.report(id, down.left),
        }
    }

    fn command(&mut self, core: &mut Core<K>, command: Command<K>) {
        let not_found = |key: &K| ManagerError::NotFound { key: name_of(key) };
        match command {
            // The table may have a row for the key.
            Command::Start { key, reply } | Command::Restart { key, reply } => {
                let id = {
                    let mut units = core.shared.units.lock();
                    let lookup = units.look_for(&key);
                    let id = units.insert(&lookup, key, self.generation, core.now());
                    units.entry(id).lifecycle.is_new = true;
                    id
                };
                core.start_by_call(id, reply);
            }
            Command::Stop { key, reply }
            | Command::SetOnFailure { key, reply, .. }
            | Command::Add { key, reply, .. }
            | Command::Remove { key, reply } => reply.give(Err(not_found(&key))),
            Command::Scan { reply } => {
                self.scan_soon(core.now());
                let next = self.generation + 1;
                self.waiting.push((next, reply));
            }
        }
    }

    fn is_started(&self, core: &Core<K>) -> bool {
        self.has_scanned && core.shared.counts().starting == 0
    }

    /// Stops all units concurrently, and reads nothing more.
    fn stop(&mut self, core: &mut Core<K>) {
        self.scan = Scan::Off;
        self.changes = None;
        self.loads = FuturesUnordered::new();
        self.to_load.clear();
        self.waiting.clear();
        self.has_aborted = core.is_aborting();
        stop_all(core, self.has_aborted);
    }

    fn continue_stopping(&mut self, core: &mut Core<K>) -> bool {
        if self.has_aborted || !core.is_aborting() {
            return false;
        }
        self.has_aborted = true;
        stop_all(core, true);
        true
    }
}

/// Scans.
impl<K: Key> Rows<K> {
    fn scan_if_due(&mut self, core: &Core<K>) -> bool {
        let Scan::At(next, pauses) = &mut self.scan else { return false };
        if *next > core.now() {
            return false;
        }
        let pauses = pauses.take();
        let read = Arc::new(Mutex::new(Read { rows: Vec::new(), expected: 0 }));
        let scan = scan(self.table.clone(), read.clone(), core.policy().clone());
        self.generation += 1;
        let scan = Box::pin(caught(Box::pin(scan)));
        self.scan = Scan::Reading(Reading { scan, read, pauses });
        true
    }

    fn poll_scan(&mut self, core: &mut Core<K>, context: &mut Context<'_>) -> bool {
        let Scan::Reading(reading) = &mut self.scan else { return false };
        let ended = reading.scan.as_mut().poll(context);
        let mut rows = std::mem::take(&mut self.rows);
        let expected = {
            let mut read = reading.read.lock();
            std::mem::swap(&mut read.rows, &mut rows);
            std::mem::take(&mut read.expected)
        };
        if expected > 0 && !self.has_scanned {
            core.shared.units.lock().reserve(expected.min(RESERVED));
        }
        let has_rows = !rows.is_empty();
        rows.drain(..).for_each(|row| self.row(core, row));
        self.rows = rows;
        if let Poll::Ready(ended) = ended {
            self.scanned(core, ended);
            return true;
        }
        has_rows
    }

    fn scanned(&mut self, core: &mut Core<K>, ended: Result<(), BoxError>) {
        let Scan::Reading(Reading { pauses, .. }) = std::mem::replace(&mut self.scan, Scan::Off)
        else {
            return;
        };
        self.gone.clear();
        let now = core.now();
        let result = match ended {
            Ok(()) => {
                let again = std::mem::take(&mut self.scan_again);
                let next = if again { Some(now) } else { core.after(self.settings.scan_every) };
                self.scan = next.map_or(Scan::Off, |next| Scan::At(next, None));
                self.has_scanned = true;
                let unseen = core.shared.units.lock().unseen(self.generation);
                unseen.into_iter().for_each(|id| self.row_is_gone(core, id));
                Ok(())
            }
            Err(error) => {
                let mut pauses = pauses.unwrap_or_else(|| core.policy().pauses());
                let delay = core.policy().next(&mut pauses);
                self.scan =
                    core.after(delay).map_or(Scan::Off, |next| Scan::At(next, Some(pauses)));
                let error = SharedError::from(error);
                core.tell(None, Happening::TableFailed { error: error.clone(), delay });
                Err(ManagerError::Scan { source: error })
            }
        };
        let generation = self.generation;
        let (over, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(next, _)| *next <= generation);
        self.waiting = waiting;
        let over: Vec<(u32, Reply<()>)> = over;
        answer(over.into_iter().map(|(_, reply)| reply).collect(), &result, None);
    }

    fn scan_soon(&mut self, now: Instant) {
        match &mut self.scan {
            Scan::At(next, _) => *next = now,
            Scan::Off => self.scan = Scan::At(now, None),
            // The current scan may have passed the changed row already, so another one must follow.
            Scan::Reading(_) => self.scan_again = true,
        }
    }

    fn row(&mut self, core: &mut Core<K>, Row { key, unit }: Row<K>) {
        // The scan had read the row before it was removed.
        if self.gone.contains(&key) {
            return;
        }
        let lookup = core.look_for(&key);
        if let Some(id) = lookup.known {
            self.row_is_there(core, id);
        }
        match (unit, lookup.known) {
            (Ok(unit), None) => core.plan_new(&lookup, key, unit, self.generation),
            (Ok(unit), Some(id)) => change(core, id, &unit),
            (Err(error), _) => {
                core.tell(Some(key), Happening::LoadFailed { error: error.into(), delay: None });
            }
        }
    }

    fn row_is_there(&self, core: &Core<K>, id: usize) {
        core.with(id, |units, id| {
            let entry = units.entry(id);
            entry.last_scan = self.generation;
            entry.lifecycle.is_new = false;
            if entry.lifecycle.state().has_run() && entry.lifecycle.then() == Then::Forget {
                units.set_then(id, Then::Again);
            }
        });
    }

    fn row_is_gone(&self, core: &mut Core<K>, id: usize) {
        let Some(state) = core.state(id) else { return };
        if !state.has_run() {
            return core.forget(id);
        }
        if self.settings.stop_vanished {
            core.step(id, Input::Stop(Then::Forget));
        }
    }
}

/// Starts a unit from its row.
fn start<K: Key>(core: &mut Core<K>, id: usize, name: Name, unit: &Unit) {
    core.set_rules(id, unit);
    core.start(id, name, unit, None, None);
}

/// Applies the row of a known unit, if it has a new version.
fn change<K: Key>(core: &mut Core<K>, id: usize, unit: &Unit) {
    let changed = core.with(id, |units, id| {
        let entry = units.entry(id);
        let is_first = entry.lifecycle.state() == State::Loading;
        let rules = &mut entry.lifecycle.rules;
        let is_new = rules.version() != unit.rules.version() && !is_first;
        rules.set_version(unit.rules.version());
        is_new.then(|| entry.key.clone())
    });
    let Some(key) = changed.flatten() else { return };
    core.tell(Some(key), Happening::Changed);
    if unit.rules.on_change == OnChange::Restart {
        core.step(id, Input::Changed);
    }
}

/// Loads of single rows, and changes.
impl<K: Key> Rows<K> {
    fn poll_changes(&mut self, core: &Core<K>, context: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        for _ in 0..BATCH {
            let Some(changes) = self.changes.as_mut().map(Contained::get) else { break };
            // If the stream panics, it counts as ended, and only scans find later changes.
            match catch(|| changes.poll_next(context)).unwrap_or(Poll::Ready(None)) {
                Poll::Pending => break,
                Poll::Ready(None) => self.changes = None,
                Poll::Ready(Some(Change::Row(key))) => self.load(key),
                Poll::Ready(Some(Change::Any)) => self.scan_soon(core.now()),
            }
            is_busy = true;
        }
        is_busy
    }

    /// Queues a load of the row of a key. If a load is under way already, another one follows it.
    fn load(&mut self, key: K) {
        if let Some(again) = self.loading.get_mut(&key) {
            *again = true;
            return;
        }
        self.loading.insert(key.clone(), false);
        self.to_load.push_back(key);
    }

    fn poll_loads(&mut self, core: &mut Core<K>, context: &mut Context<'_>) -> bool {
        for loaded in 0..BATCH {
            while self.may_load(core.now()) {
                let Some(key) = self.to_load.pop_front() else { break };
                self.begin_load(key, core);
            }
            match Pin::new(&mut self.loads).poll_next(context) {
                Poll::Ready(Some(load)) => self.loaded(core, load),
                Poll::Ready(None) | Poll::Pending => return loaded > 0,
            }
        }
        true
    }

    fn may_load(&self, now: Instant) -> bool {
        let count = self.loads.len();
        if count < LOADS {
            return true;
        }
        // The map is sorted by the numbers of the loads, which are in the order in which the loads began.
        let counted = self.begun.values().rev().nth(LOADS - 1);
        let is_long = |begun: &Instant| now.saturating_duration_since(*begun) >= LONG;
        count < ALL_LOADS && counted.is_none_or(is_long)
    }

    fn begin_load(&mut self, key: K, core: &Core<K>) {
        let (table, policy) = (self.table.clone(), core.policy().clone());
        self.numbered += 1;
        let number = self.numbered;
        self.begun.insert(number, core.now());
        self.loads.push(Box::pin(async move {
            let timeout = policy.load_timeout;
            let get = caught(Box::pin(async { table.get(&key).await }));
            let unit = in_time(Box::pin(get), &policy, timeout).await;
            Load { number, key, unit: unit.and_then(|unit| unit) }
        }));
    }

    fn loaded(&mut self, core: &mut Core<K>, Load { number, key, unit }: Load<K>) {
        self.begun.remove(&number);
        if self.loading.remove(&key) == Some(true) {
            return self.load(key);
        }
        let lookup = core.look_for(&key);
        match (unit, lookup.known) {
            (Ok(Some(unit)), None) => core.start_new(&lookup, key, unit, self.generation),
            (Ok(Some(unit)), Some(id)) => {
                self.row_is_there(core, id);
                if core.state(id) == Some(State::Loading) {
                    start(core, id, process_name_of(&key), &unit);
                } else {
                    change(core, id, &unit);
                }
            }
            (Ok(None), known) => {
                if matches!(self.scan, Scan::Reading(_)) {
                    self.gone.insert(key);
                }
                if let Some(id) = known {
                    self.row_is_gone(core, id);
                }
            }
            (Err(error), None) => {
                core.tell(Some(key), Happening::LoadFailed { error: error.into(), delay: None });
            }
            (Err(error), Some(id)) => {
                let error = SharedError::from(error);
                let is_new = |units: &mut Units<K>, id| units.entry(id).lifecycle.is_new;
                let forget = core.with(id, is_new) == Some(true);
                core.step(id, Input::NotLoaded { key: name_of(&key), error, forget });
            }
        }
    }
}

/// Reads all rows into `read`, and yields after each batch.
async fn scan<K: Key>(
    table: Arc<dyn Table<K>>,
    read: Arc<Mutex<Read<K>>>,
    policy: Policy,
) -> Result<(), BoxError> {
    let mut stream = table.iter();
    read.lock().expected = stream.size_hint().0;
    while let Some(row) = in_time(stream.next(), &policy, policy.scan_timeout).await? {
        let row = row?;
        let count = {
            let rows = &mut read.lock().rows;
            rows.push(row);
            rows.len()
        };
        if count >= ROWS {
            future::yield_now().await;
        }
    }
    Ok(())
}
