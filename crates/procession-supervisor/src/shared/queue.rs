//! [`Queue`]: the writes that the worker must still perform.
//!
//! 1. The writes about a unit are performed in their order. Argument: a write is in `batch`, in one of the two
//!    [`Waiting`], or in `new`. While writes about a unit wait, [`Queue::fill`] moves those of `new` behind them, and
//!    [`Queue::retry`] moves all of them to the front of `new`. [`Queue::failed`] puts a batch back to the front of
//!    `new`, or makes its only write wait.
//! 2. No write is lost by an error. Argument: a batch remains until the answers to it have come, or until
//!    [`Queue::failed`] has moved its writes as in 1.
//! 3. A unit that somebody holds delays no write about another one. Argument: [`Queue::fill`] passes over the units in
//!    `held`.
//! 4. A write that the store cannot perform delays the others for a few attempts only. Argument: a batch that has
//!    failed [`ATTEMPTS`] times is tried again as single writes, and a single write that has failed as often waits in
//!    `failed`, apart from the others. After a pause, it is tried again, on its own.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::table::TableError;
use super::writes::{Record, Write, WriteResult, Written};

/// The maximum number of writes in one call.
pub(super) const BATCH: usize = 500;
/// The maximum number of bytes of keys and errors in one call, unless a single write has more.
const BATCH_BYTES: usize = 1 << 20;
/// The number of attempts after which a batch is divided, or a single write waits.
const ATTEMPTS: u32 = 2;
/// The first and the longest pause before another attempt to write about a unit that somebody holds. Nothing tells that
/// it is free.
const HELD: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));
/// The same for a write that the store could not perform.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

pub(super) struct Queue {
    /// What the last call was about, until it is answered.
    batch: Vec<Write>,
    /// How often the store has failed to perform the batch.
    failures: u32,
    /// About units that somebody held at the last attempt.
    held: Waiting,
    /// About units for which a single write has failed.
    failed: Waiting,
    /// What is tried next.
    new: VecDeque<Write>,
    /// The number of writes at the front of `new` that are tried one at a time.
    singles: usize,
}

/// Writes that wait for another attempt, in their order, by the keys of their units.
struct Waiting {
    writes: HashMap<String, VecDeque<Write>>,
    next: Instant,
    pause: Duration,
    pauses: (Duration, Duration),
}

impl Waiting {
    fn new(pauses: (Duration, Duration)) -> Self {
        Self { writes: HashMap::new(), next: Instant::now(), pause: pauses.0, pauses }
    }

    /// Adds a write behind the others about its unit.
    fn push(&mut self, write: Write) {
        match self.writes.get_mut(&write.key) {
            Some(writes) => writes.push_back(write),
            None => drop(self.writes.insert(write.key.clone(), VecDeque::from([write]))),
        }
    }

    /// Takes all writes if it is time for another attempt, and makes the next pause longer. If none have waited, the
    /// next pause is the shortest one.
    fn take_due(&mut self, now: Instant) -> VecDeque<Write> {
        if now < self.next {
            return VecDeque::new();
        }
        if self.writes.is_empty() {
            self.pause = self.pauses.0;
            return VecDeque::new();
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(self.pauses.1);
        self.writes.drain().flat_map(|(_, writes)| writes).collect()
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            batch: Vec::new(),
            failures: 0,
            held: Waiting::new(HELD),
            failed: Waiting::new(FAILED),
            new: VecDeque::new(),
            singles: 0,
        }
    }

    pub(super) fn push(&mut self, write: Write) {
        self.new.push_back(write);
    }

    pub(super) fn is_empty(&self) -> bool {
        let waiting = [&self.held, &self.failed];
        self.batch.is_empty()
            && self.new.is_empty()
            && waiting.iter().all(|waiting| waiting.writes.is_empty())
    }

    /// Returns the number of releases that wait.
    pub(super) fn waiting_releases(&self) -> usize {
        let keys = self.held.writes.keys().chain(self.failed.writes.keys());
        keys.filter(|key| self.is_release_waiting(key)).count()
    }

    /// Returns whether the release of a unit waits, because somebody holds the unit or because the store has failed.
    pub(super) fn is_release_waiting(&self, key: &str) -> bool {
        let mut queues = [&self.held, &self.failed].into_iter();
        let last = queues.find_map(|waiting| waiting.writes.get(key)).and_then(VecDeque::back);
        last.is_some_and(|write| write.what == Written::Release)
    }

    /// Returns what to write next; nothing if nothing can be written at this time. It returns the same until
    /// [`answered`](Self::answered) or [`failed`](Self::failed) is called.
    pub(super) fn next(&mut self, now: Instant) -> &[Write] {
        if self.batch.is_empty() {
            self.retry(now);
            self.fill();
        }
        &self.batch
    }

    /// Puts what has waited for long enough before all other writes. What has failed is tried one write at a time.
    fn retry(&mut self, now: Instant) {
        let held = self.held.take_due(now);
        if self.singles > 0 {
            self.singles += held.len();
        }
        self.put_back(held);
        let failed = self.failed.take_due(now);
        self.singles += failed.len();
        self.put_back(failed);
    }

    fn put_back(&mut self, mut writes: VecDeque<Write>) {
        writes.append(&mut self.new);
        self.new = writes;
    }

    /// Makes the next batch.
    fn fill(&mut self) {
        let mut bytes = 0;
        while self.batch.len() < BATCH {
            let Some(write) = self.new.front() else { break };
            bytes += size(write);
            if bytes > BATCH_BYTES && !self.batch.is_empty() {
                break;
            }
            let Some(write) = self.new.pop_front() else { break };
            let is_single = self.singles > 0;
            self.singles = self.singles.saturating_sub(1);
            let mut waiting = [&mut self.held, &mut self.failed].into_iter();
            match waiting.find(|waiting| waiting.writes.contains_key(&write.key)) {
                Some(waiting) => waiting.push(write),
                None => self.batch.push(write),
            }
            if is_single && !self.batch.is_empty() {
                break;
            }
        }
    }

    /// The store has failed to perform the batch, although it could be reached. Returns how long the batch waits before
    /// it is tried again, if others can be performed meanwhile.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.failures += 1;
        if self.failures < ATTEMPTS {
            return None;
        }
        self.failures = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.len() > 1 {
            self.singles += batch.len();
            self.put_back(batch.into());
            return None;
        }
        if self.failed.writes.is_empty() {
            self.failed.next = now + self.failed.pause;
        }
        batch.into_iter().for_each(|write| self.failed.push(write));
        Some(self.failed.next.saturating_duration_since(now))
    }

    /// Takes the answers to the batch, and returns the writes that were performed or refused, with their answers.
    ///
    /// # Errors
    ///
    /// If the store has not answered each write.
    pub(super) fn answered(
        &mut self,
        results: &[WriteResult],
    ) -> Result<Vec<(Write, WriteResult)>, TableError> {
        if results.len() != self.batch.len() {
            let error = format!("{} writes have {} answers", self.batch.len(), results.len());
            return Err(TableError::Unavailable(error.into()));
        }
        self.failures = 0;
        let mut over = Vec::new();
        for (write, result) in self.batch.drain(..).zip(results) {
            match result {
                WriteResult::Done | WriteResult::Refused => over.push((write, *result)),
                WriteResult::NotNow => self.held.push(write),
            }
        }
        Ok(over)
    }
}

/// About how many bytes the store receives.
fn size(write: &Write) -> usize {
    let error = match &write.what {
        Written::Record(Record::Failed { error, .. }) => error.len(),
        _ => 0,
    };
    write.key.len() + error + size_of::<Write>()
}

#[cfg(test)]
mod tests;
