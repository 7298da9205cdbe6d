//! [`Queue`]: the writes that the worker must still perform.
//!
//! 1. The writes about a unit are performed in their order. Argument: a write is in `batch`, in `held`, or in `new`. Those
//!    about a unit that somebody holds are in its queue in `held`, in their order: [`Queue::next`] moves a write of `new`
//!    there while that queue exists, and [`Queue::retry`] moves whole queues before all of `new`.
//! 2. No write is lost by an error. Argument: a batch remains until the answers to it have come.
//! 3. A unit that somebody holds delays no write about another one. Argument: `new` is never empty because of `held`, and
//!    [`Queue::next`] passes over the units in `held`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::table::TableError;
use super::writes::{Write, WriteResult, Written};

/// The maximum number of writes in one call.
pub(super) const BATCH: usize = 500;
/// The first and the longest pause before another attempt to write about a unit that somebody holds. Nothing tells that
/// it is free.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));

pub(super) struct Queue {
    /// What the last call was about, until it is answered.
    batch: Vec<Write>,
    /// By the keys of units that somebody held at the last attempt.
    held: HashMap<String, VecDeque<Write>>,
    /// What was not tried yet.
    new: VecDeque<Write>,
    /// When to try again to perform what is in `held`.
    next: Instant,
    pause: Duration,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            batch: Vec::new(),
            held: HashMap::new(),
            new: VecDeque::new(),
            next: Instant::now(),
            pause: PAUSES.0,
        }
    }

    pub(super) fn push(&mut self, write: Write) {
        self.new.push_back(write);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.new.is_empty() && self.held.is_empty()
    }

    /// Returns the number of releases that wait because somebody holds the unit.
    pub(super) fn held_releases(&self) -> usize {
        self.held.keys().filter(|key| self.is_release_held(key)).count()
    }

    /// Returns whether the release of a unit waits because somebody holds it.
    pub(super) fn is_release_held(&self, key: &str) -> bool {
        let last = self.held.get(key).and_then(VecDeque::back);
        last.is_some_and(|write| write.what == Written::Release)
    }

    /// Returns what to write next; nothing if nothing can be written at this time. The same again until
    /// [`answered`](Self::answered) was called.
    pub(super) fn next(&mut self, now: Instant) -> &[Write] {
        if self.batch.is_empty() {
            if now >= self.next {
                self.retry(now);
            }
            while self.batch.len() < BATCH {
                let Some(write) = self.new.pop_front() else { break };
                match self.held.get_mut(&write.key) {
                    Some(writes) => writes.push_back(write),
                    None => self.batch.push(write),
                }
            }
        }
        &self.batch
    }

    /// Tries all again.
    fn retry(&mut self, now: Instant) {
        if self.held.is_empty() {
            self.pause = PAUSES.0;
            return;
        }
        let mut writes: VecDeque<Write> =
            self.held.drain().flat_map(|(_, writes)| writes).collect();
        writes.append(&mut self.new);
        self.new = writes;
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSES.1);
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
        let mut over = Vec::new();
        for (write, result) in self.batch.drain(..).zip(results) {
            match result {
                WriteResult::Done | WriteResult::Refused => over.push((write, *result)),
                WriteResult::NotNow => match self.held.get_mut(&write.key) {
                    Some(writes) => writes.push_back(write),
                    None => drop(self.held.insert(write.key.clone(), VecDeque::from([write]))),
                },
            }
        }
        Ok(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::table::Token;

    fn write(key: &str, number: u64) -> Write {
        Write::record(key, Token::new(1), crate::shared::Record::Ready).numbered(number)
    }

    /// Performs what can be performed, while somebody holds the units `held`.
    fn perform(queue: &mut Queue, now: Instant, held: &[&str]) -> Vec<(String, Option<u64>)> {
        let mut performed = Vec::new();
        loop {
            let batch = queue.next(now).to_vec();
            if batch.is_empty() {
                return performed;
            }
            let is_held = |write: &Write| held.contains(&&*write.key);
            let answer = |w| if is_held(w) { WriteResult::NotNow } else { WriteResult::Done };
            queue.answered(&batch.iter().map(answer).collect::<Vec<_>>()).unwrap();
            let done = batch.into_iter().filter(|write| !is_held(write));
            performed.extend(done.map(|write| (write.key, write.number)));
        }
    }

    fn numbers(performed: &[(String, Option<u64>)], key: &str) -> Vec<u64> {
        performed.iter().filter(|(of, _)| of == key).filter_map(|(_, number)| *number).collect()
    }

    #[test]
    fn the_writes_of_a_unit_that_is_held_wait_in_their_order_and_delay_no_other() {
        let mut queue = Queue::new();
        let mut now = Instant::now();
        let count = BATCH as u64 * 2;
        for number in 1..=count {
            queue.push(write("held", number));
            queue.push(write("free", number));
        }
        let all: Vec<u64> = (1..=count).collect();
        let performed = perform(&mut queue, now, &["held"]);
        assert_eq!((numbers(&performed, "free"), numbers(&performed, "held")), (all, vec![]));
        for number in 1..=9 {
            queue.push(write("held", count + number));
            queue.push(write("free", number));
            now += PAUSES.1;
            assert_eq!(numbers(&perform(&mut queue, now, &["held"]), "free"), [number]);
        }
        // The unit is free now, but a later write does not come before the earlier ones.
        queue.push(write("held", count + 10));
        assert_eq!(perform(&mut queue, now, &[]), []);
        queue.push(Write::release("held", Token::new(1)));
        assert_eq!(perform(&mut queue, now, &["held"]), []);
        assert_eq!((queue.is_empty(), queue.held_releases()), (false, 1));
        // Before the next attempt, nothing is tried.
        assert!(queue.next(now).is_empty());
        let performed = perform(&mut queue, now + PAUSES.1, &[]);
        assert_eq!(numbers(&performed, "held"), (1..=count + 10).collect::<Vec<_>>());
        assert_eq!(performed.last(), Some(&("held".to_owned(), None)));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_without_all_answers_is_repeated() {
        let mut queue = Queue::new();
        let now = Instant::now();
        queue.push(write("a", 1));
        queue.push(write("a", 2));
        assert_eq!(queue.next(now).len(), 2);
        assert!(queue.answered(&[WriteResult::Done]).is_err());
        queue.push(write("a", 3));
        assert_eq!(queue.next(now), [write("a", 1), write("a", 2)]);
        let results = [WriteResult::Done, WriteResult::Refused];
        let over = queue.answered(&results).unwrap();
        assert!(over.iter().map(|(_, result)| *result).eq(results));
        assert_eq!(queue.next(now), [write("a", 3)]);
    }
}
