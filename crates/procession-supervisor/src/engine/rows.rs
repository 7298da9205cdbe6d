//! Reading the table: scans, single rows, and changes.
//!
//! A scan that fails is no absence of rows. What is read of one key is acted on only if nothing has changed
//! since: then the row is read once more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use backon::ExponentialBackoff;
use futures_lite::{Stream, StreamExt, future};
use procession::BoxError;
use procession::support::catch;

use super::command::answer;
use super::contained::{Contained, caught};
use super::drive::Drive;
use crate::error::{ManagerError, SharedError};
use crate::event::Event;
use crate::status::State;
use crate::sync::Mutex;
use crate::table::{BoxFuture, Change, Key, Row, Table};
use crate::unit::Unit;

/// How many rows are read one by one at a time.
const LOADS: usize = 64;
/// For how many rows at most there is room before they have come.
const RESERVED: usize = 1 << 20;
/// How many rows of a scan are taken before other tasks run.
const BATCH: usize = 64;

pub(super) enum Scan<K> {
    /// When the next one is due; after a failure, the pauses before further ones.
    At(Instant, Option<ExponentialBackoff>),
    Reading(Reading<K>),
    Off,
}

pub(super) struct Reading<K> {
    scan: BoxFuture<'static, Result<(), BoxError>>,
    read: Arc<Mutex<Read<K>>>,
    pauses: Option<ExponentialBackoff>,
}

/// What was read, and how many rows will come at least.
struct Read<K> {
    rows: Vec<Row<K>>,
    expected: usize,
}

/// What came of reading the row of one key.
pub(super) struct Load<K> {
    key: K,
    unit: Result<Option<Unit>, BoxError>,
}

impl<K> Scan<K> {
    pub(super) fn next(&self) -> Option<Instant> {
        match self {
            Self::At(next, _) => Some(*next),
            Self::Reading(_) | Self::Off => None,
        }
    }
}

/// Reads all rows into `read`, some at a time.
async fn scan<K: Key>(table: Arc<dyn Table<K>>, read: Arc<Mutex<Read<K>>>) -> Result<(), BoxError> {
    let mut stream = table.iter();
    read.lock().expected = stream.size_hint().0;
    while let Some(row) = stream.next().await {
        let row = row?;
        let count = {
            let rows = &mut read.lock().rows;
            rows.push(row);
            rows.len()
        };
        if count >= BATCH {
            future::yield_now().await;
        }
    }
    Ok(())
}

impl<K: Key> Drive<K> {
    pub(super) fn scan_if_due(&mut self, now: Instant) -> bool {
        let Scan::At(next, pauses) = &mut self.scan else { return false };
        if *next > now {
            return false;
        }
        let pauses = pauses.take();
        let read = Arc::new(Mutex::new(Read { rows: Vec::new(), expected: 0 }));
        let scan = caught(Box::pin(scan(self.engine.table.clone(), read.clone())));
        self.generation += 1;
        self.scan = Scan::Reading(Reading { scan: Box::pin(scan), read, pauses });
        true
    }

    pub(super) fn poll_scan(&mut self, context: &mut Context<'_>) -> bool {
        let Scan::Reading(reading) = &mut self.scan else { return false };
        let ended = reading.scan.as_mut().poll(context);
        let mut rows = std::mem::take(&mut self.rows);
        let expected = {
            let mut read = reading.read.lock();
            std::mem::swap(&mut read.rows, &mut rows);
            std::mem::take(&mut read.expected)
        };
        if expected > 0 && !self.has_scanned {
            self.engine.units.lock().reserve(expected.min(RESERVED));
        }
        let has_rows = !rows.is_empty();
        rows.drain(..).for_each(|row| self.row(row));
        self.rows = rows;
        match ended {
            Poll::Ready(ended) => {
                self.scanned(ended);
                true
            }
            Poll::Pending => has_rows,
        }
    }

    fn scanned(&mut self, ended: Result<(), BoxError>) {
        let now = self.now();
        let settings = &self.engine.settings;
        let before = std::mem::replace(&mut self.scan, Scan::Off);
        // A row made the manager give up, and it stops.
        let Scan::Reading(Reading { pauses, .. }) = before else { return };
        self.gone.clear();
        match ended {
            Ok(()) => {
                let next = if std::mem::take(&mut self.scan_again) {
                    Some(now)
                } else {
                    now.checked_add(settings.scan_every)
                };
                self.scan = next.map_or(Scan::Off, |next| Scan::At(next, None));
                self.has_scanned = true;
                let unseen = self.engine.units.lock().unseen(self.generation);
                unseen.into_iter().for_each(|id| self.row_is_gone(id));
            }
            Err(error) => {
                let mut pauses = pauses.unwrap_or_else(|| settings.policy.pauses());
                let delay = settings.policy.next(&mut pauses);
                self.scan = Scan::At(now + delay, Some(pauses));
                self.engine.events.tell(Event::ScanFailed { error: error.into(), delay });
            }
        }
    }

    /// A row of a scan.
    fn row(&mut self, row: Row<K>) {
        let Row { key, unit } = row;
        // It was read before it went.
        if self.gone.contains(&key) {
            return;
        }
        let known = self.engine.units.lock().find(&key);
        if let Some(id) = known {
            self.row_is_there(id);
        }
        match (unit, known) {
            (Ok(unit), None) => self.start_new(key, unit),
            (Ok(_), Some(_)) => {}
            (Err(error), _) => {
                self.engine.events.tell(Event::LoadFailed {
                    key,
                    error: error.into(),
                    delay: None,
                });
            }
        }
    }

    pub(super) fn poll_changes(&mut self, context: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        for _ in 0..BATCH {
            let Some(changes) = self.changes.as_mut().map(Contained::get) else { break };
            // A table that panics tells of no more changes, and is read by scans.
            match catch(|| changes.poll_next(context)).unwrap_or(Poll::Ready(None)) {
                Poll::Pending => break,
                Poll::Ready(None) => self.changes = None,
                Poll::Ready(Some(Change::Row(key))) => self.load(key),
                Poll::Ready(Some(Change::Any)) => self.scan_soon(),
            }
            is_busy = true;
        }
        is_busy
    }

    fn scan_soon(&mut self) {
        let now = self.now();
        match &mut self.scan {
            Scan::At(next, _) => *next = now,
            Scan::Off => self.scan = Scan::At(now, None),
            // It may have passed what has changed.
            Scan::Reading(_) => self.scan_again = true,
        }
    }

    /// Reads the row of a key: once more, if that is under way.
    pub(super) fn load(&mut self, key: K) {
        if let Some(again) = self.loading.get_mut(&key) {
            *again = true;
            return;
        }
        self.loading.insert(key.clone(), false);
        self.to_load.push_back(key);
    }

    pub(super) fn poll_loads(&mut self, context: &mut Context<'_>) -> bool {
        for loaded in 0..BATCH {
            while self.loads.len() < LOADS {
                let Some(key) = self.to_load.pop_front() else { break };
                let table = self.engine.table.clone();
                self.loads.push(Box::pin(async move {
                    let unit = caught(Box::pin(async { table.get(&key).await })).await;
                    Load { key, unit }
                }));
            }
            match Pin::new(&mut self.loads).poll_next(context) {
                Poll::Ready(Some(load)) => self.loaded(load),
                Poll::Ready(None) | Poll::Pending => return loaded > 0,
            }
        }
        true
    }

    fn loaded(&mut self, load: Load<K>) {
        let Load { key, unit } = load;
        if self.loading.remove(&key) == Some(true) {
            self.load(key);
            return;
        }
        let known = self.engine.units.lock().find(&key);
        match (unit, known) {
            (Ok(Some(unit)), None) => self.start_new(key, unit),
            (Ok(Some(unit)), Some(id)) => {
                self.row_is_there(id);
                let state = self.engine.units.lock().entry(id).state();
                if state == State::Loading {
                    self.start(id, unit);
                }
            }
            (Ok(None), known) => {
                if matches!(self.scan, Scan::Reading(_)) {
                    self.gone.insert(key);
                }
                if let Some(id) = known {
                    self.row_is_gone(id);
                }
            }
            (Err(error), None) => {
                self.engine.events.tell(Event::LoadFailed {
                    key,
                    error: error.into(),
                    delay: None,
                });
            }
            (Err(error), Some(id)) => self.not_loaded(id, error.into()),
        }
    }

    /// A row could not be read that a unit is to be started from: it is tried again, but for a unit that
    /// only a call has asked for.
    fn not_loaded(&mut self, id: usize, error: SharedError) {
        let now = self.now();
        let policy = &self.engine.settings.policy;
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        let (key, is_loading) = (entry.key.clone(), entry.state() == State::Loading);
        let failed = ManagerError::Load { key: entry.name(), source: error.clone() };
        let mut delay = None;
        let mut starters = Vec::new();
        let (mut removed, mut before) = (None, None);
        if is_loading {
            starters = entry.take_starters();
            if entry.is_new {
                removed = Some(units.remove(id));
            } else {
                let past = entry.past(policy);
                before = past.last_error.replace(failed.clone());
                let pause = past.restarts.pause(policy);
                units.set_state(id, State::Waiting, now);
                units.set_due(id, now.checked_add(pause));
                delay = Some(pause);
            }
        }
        drop(units);
        drop((removed, before));
        self.engine.events.tell(Event::LoadFailed { key, error, delay });
        answer(starters, &Err(failed));
    }
}
