//! [`Queue`]: the writes that the worker must still perform.
//!
//! 1. The writes about a unit are performed in their order. Argument: a write is in `batch`, in one of the two
//!    [`Waiting`], or in `new`, and only one of the two has writes about a given unit. While it has, [`Queue::fill`]
//!    moves those of `new` behind them. [`Queue::retry`] moves all writes of `held` to the front of `new`. A write in
//!    `failed` is tried where it is: it leaves when it was performed or refused, and then the next one about its unit
//!    is tried. If somebody holds the unit, all of them move to `held`. [`Queue::failed`] puts a batch back to the
//!    front of `new`, or makes its only write wait.
//! 2. No write is lost by an error. Argument: a batch remains until the answers to it have come, or until
//!    [`Queue::failed`] has moved its writes as in 1. A write that is tried again is also still in `failed`.
//! 3. A unit that somebody holds delays no write about another one. Argument: [`Queue::fill`] passes over the units in
//!    `held`.
//! 4. Writes that the store cannot perform, however many they are, delay the others for one pause of the worker for
//!    each batch that has such a write. Argument: the worker pauses only if [`Queue::failed`] returns `None`, which it
//!    does not after the last of the [`ATTEMPTS`] of a batch. Then the batch is divided into single writes, and each of
//!    them has one attempt before it waits in `failed`. Further writes about its unit are passed over, as in 3, so no
//!    other batch fails because of that unit while the write waits. The writes of `failed` are tried again after a
//!    pause, one at a time, with one attempt each, and only if nothing is left in `new`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::table::{Record, TableError, Write, WriteResult, Written};

/// The maximum number of writes in one call.
pub(super) const BATCH: usize = 500;
/// The maximum number of bytes of keys and errors in one call, unless a single write has more.
const BATCH_BYTES: usize = 1 << 20;
/// The number of attempts after which a batch is divided, or waits if it is only one write. A write of a batch that was
/// divided has one attempt.
const ATTEMPTS: u32 = 2;
/// The first and the longest pause before another attempt to write about a unit that somebody holds. Nothing tells that
/// it is free.
const HELD: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));
/// The same for a write that the store could not perform.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

pub(super) struct Queue {
    /// What the last call was about, until it is answered.
    batch: Vec<Write>,
    /// How the batch is tried.
    attempt: Attempt,
    /// How often the store has failed to perform the batch.
    failures: u32,
    /// About units that somebody held at the last attempt.
    held: Waiting,
    /// About units for which a single write has failed.
    failed: Waiting,
    /// The keys of the units in `failed` whose first write is tried again when nothing is left in `new`.
    due: VecDeque<String>,
    /// What is tried next.
    new: VecDeque<Write>,
    /// The number of writes at the front of `new` that are tried one at a time.
    singles: usize,
}

/// How a batch is tried.
#[derive(Clone, Copy, PartialEq)]
enum Attempt {
    /// All its writes are new, or were held.
    Together,
    /// Its only write is from a batch that was divided.
    Alone,
    /// Its only write is the first one about its unit in `failed`.
    Again,
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

    /// Returns whether it is time for another attempt. If so, the next pause begins, and the one after it is longer. If
    /// no writes have waited, the next pause is the shortest one.
    fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        if self.writes.is_empty() {
            self.pause = self.pauses.0;
            return false;
        }
        self.begin_pause(now);
        true
    }

    fn begin_pause(&mut self, now: Instant) {
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(self.pauses.1);
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            batch: Vec::new(),
            attempt: Attempt::Together,
            failures: 0,
            held: Waiting::new(HELD),
            failed: Waiting::new(FAILED),
            due: VecDeque::new(),
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
            if self.batch.is_empty() {
                self.fill_again();
            }
        }
        &self.batch
    }

    /// Puts the writes about units that were held for long enough before the others. The writes that have failed keep
    /// their place, because other writes come first.
    fn retry(&mut self, now: Instant) {
        if self.held.is_due(now) {
            let held: VecDeque<_> =
                self.held.writes.drain().flat_map(|(_, writes)| writes).collect();
            if self.singles > 0 {
                self.singles += held.len();
            }
            self.put_back(held);
        }
        self.retry_failed(now);
    }

    /// Begins another round of attempts when the last one is over.
    fn retry_failed(&mut self, now: Instant) {
        if self.due.is_empty() && self.failed.is_due(now) {
            self.due.extend(self.failed.writes.keys().cloned());
        }
    }

    fn put_back(&mut self, mut writes: VecDeque<Write>) {
        writes.append(&mut self.new);
        self.new = writes;
    }

    /// Makes the next batch of new writes.
    fn fill(&mut self) {
        self.attempt = Attempt::Together;
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
                self.attempt = Attempt::Alone;
                break;
            }
        }
    }

    /// Makes a batch of the next write that is tried again.
    fn fill_again(&mut self) {
        let Some(key) = self.due.pop_front() else { return };
        let write = self.failed.writes.get(&key).and_then(VecDeque::front);
        self.batch.extend(write.cloned());
        self.attempt = Attempt::Again;
    }

    /// The store has failed to perform the batch, although it could be reached. Returns how long its writes wait until
    /// they are tried again, one at a time; zero if they are next. Returns `None` if the whole batch is next.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.failures += 1;
        if self.attempt == Attempt::Together && self.failures < ATTEMPTS {
            return None;
        }
        self.failures = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.len() > 1 {
            self.singles += batch.len();
            self.put_back(batch.into());
            return Some(Duration::ZERO);
        }
        if self.attempt != Attempt::Again {
            // If the others have waited for long enough, they do not wait longer because of this one.
            self.retry_failed(now);
        }
        if self.failed.writes.is_empty() || self.failed.next <= now {
            self.failed.begin_pause(now);
        }
        if self.attempt != Attempt::Again {
            batch.into_iter().for_each(|write| self.failed.push(write));
        }
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
        for (write, result) in std::mem::take(&mut self.batch).into_iter().zip(results) {
            if self.attempt == Attempt::Again {
                self.answered_again(&write.key, *result);
            }
            match result {
                WriteResult::Done | WriteResult::Refused => over.push((write, *result)),
                // With the others about its unit, it is in `held` already.
                WriteResult::NotNow if self.attempt == Attempt::Again => {}
                WriteResult::NotNow => self.held.push(write),
            }
        }
        Ok(over)
    }

    /// The store has answered the first write about a unit in `failed`.
    fn answered_again(&mut self, key: &str, result: WriteResult) {
        let Some(mut writes) = self.failed.writes.remove(key) else { return };
        if result == WriteResult::NotNow {
            self.held.writes.insert(key.to_owned(), writes);
            return;
        }
        writes.pop_front();
        if !writes.is_empty() {
            self.failed.writes.insert(key.to_owned(), writes);
            self.due.push_front(key.to_owned());
        }
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
