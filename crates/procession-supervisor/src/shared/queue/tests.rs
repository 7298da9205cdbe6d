//! Tests of the queue on stores that cannot perform each write.

use super::*;
use crate::shared::table::Token;

fn write(key: &str, number: u64) -> Write {
    Write::record(key, Token::new(1), Record::Ready).numbered(number)
}

/// What a store does with a call.
type Answers<'a> = &'a dyn Fn(&[Write]) -> Option<Vec<WriteResult>>;

/// What a queue has done with a store.
#[derive(Default)]
struct Done {
    performed: Vec<(String, Option<u64>)>,
    /// The sizes of the calls that have failed.
    failures: Vec<usize>,
    /// How long writes wait that have failed.
    delays: Vec<Duration>,
}

impl Done {
    fn numbers(&self, key: &str) -> Vec<u64> {
        let of_key = self.performed.iter().filter(|(of, _)| of == key);
        of_key.filter_map(|(_, number)| *number).collect()
    }
}

/// Performs what can be performed. The store fails to perform a call that it answers with `None`.
fn perform_by(queue: &mut Queue, now: Instant, answers: Answers<'_>) -> Done {
    let mut done = Done::default();
    loop {
        let batch = queue.next(now).to_vec();
        if batch.is_empty() {
            return done;
        }
        let Some(results) = answers(&batch) else {
            done.failures.push(batch.len());
            assert!(done.failures.len() < 1000, "it tries again and again");
            done.delays.extend(queue.failed(now));
            continue;
        };
        let over = queue.answered(&results).unwrap();
        done.performed.extend(over.into_iter().map(|(write, _)| (write.key, write.number)));
    }
}

/// Performs what can be performed, while somebody holds the units `held`.
fn perform(queue: &mut Queue, now: Instant, held: &[&str]) -> Done {
    let answer = |write: &Write| {
        if held.contains(&&*write.key) { WriteResult::NotNow } else { WriteResult::Done }
    };
    perform_by(queue, now, &|batch| Some(batch.iter().map(answer).collect()))
}

/// Performs what can be performed by a store that cannot perform these writes.
fn perform_without(queue: &mut Queue, now: Instant, bad: &[(&str, u64)]) -> Done {
    let is_bad =
        |write: &Write| bad.iter().any(|(key, number)| *write == self::write(key, *number));
    perform_by(queue, now, &|batch| {
        (!batch.iter().any(is_bad)).then(|| vec![WriteResult::Done; batch.len()])
    })
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
    let done = perform(&mut queue, now, &["held"]);
    assert_eq!((done.numbers("free"), done.numbers("held")), (all, vec![]));
    for number in 1..=9 {
        queue.push(write("held", count + number));
        queue.push(write("free", number));
        now += HELD.1;
        assert_eq!(perform(&mut queue, now, &["held"]).numbers("free"), [number]);
    }
    // The unit is free now, but a later write does not come before the earlier ones.
    queue.push(write("held", count + 10));
    assert_eq!(perform(&mut queue, now, &[]).performed, []);
    queue.push(Write::release("held", Token::new(1)));
    assert_eq!(perform(&mut queue, now, &["held"]).performed, []);
    assert_eq!((queue.is_empty(), queue.waiting_releases()), (false, 1));
    // Before the next attempt, nothing is tried.
    assert!(queue.next(now).is_empty());
    let done = perform(&mut queue, now + HELD.1, &[]);
    assert_eq!(done.numbers("held"), (1..=count + 10).collect::<Vec<_>>());
    assert_eq!(done.performed.last(), Some(&("held".to_owned(), None)));
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

#[test]
fn a_batch_has_a_maximum_of_writes_and_bytes() {
    let batches = |sizes: &[usize]| {
        let (mut queue, now) = (Queue::new(), Instant::now());
        for bytes in sizes {
            let failed = Record::Failed { error: "e".repeat(*bytes), limit: 1 };
            queue.push(Write::record("k", Token::new(1), failed));
        }
        let mut batches = Vec::new();
        while let count @ 1.. = queue.next(now).len() {
            batches.push(count);
            queue.answered(&vec![WriteResult::Done; count]).unwrap();
        }
        batches
    };
    assert_eq!(batches(&[1; BATCH + 1]), [BATCH, 1]);
    assert_eq!(batches(&[BATCH_BYTES / 3; 5]), [2, 2, 1], "a write has more than its error");
    // What exceeds the maximum on its own must be written as well.
    assert_eq!(batches(&[1, BATCH_BYTES * 2, BATCH_BYTES * 2, 1]), [1, 1, 1, 1]);
    let long_key = Write::release("k".repeat(BATCH_BYTES), Token::new(1));
    assert!(size(&long_key) > BATCH_BYTES, "keys count");
}

#[test]
fn only_writes_about_the_unit_of_a_write_that_fails_wait_for_it() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    for number in 1..=9 {
        for key in ["a", "bad", "c"] {
            queue.push(write(key, number));
        }
    }
    let bad = [("bad", 5)];
    let done = perform_without(&mut queue, now, &bad);
    let all: Vec<u64> = (1..=9).collect();
    assert_eq!((done.numbers("a"), done.numbers("c")), (all.clone(), all));
    assert_eq!(done.numbers("bad"), [1, 2, 3, 4]);
    assert_eq!(done.failures, [27, 27, 1], "the batch, and then the write on its own");
    assert_eq!(done.delays, [Duration::ZERO, FAILED.0]);
    // Nothing is tried before the next attempt, and others are not delayed.
    queue.push(write("bad", 10));
    queue.push(write("a", 10));
    queue.push(Write::release("bad", Token::new(1)));
    let done = perform_without(&mut queue, now + FAILED.0 / 2, &bad);
    assert_eq!((done.performed.len(), done.numbers("a"), done.failures), (1, vec![10], vec![]));
    assert!(queue.is_release_waiting("bad") && queue.waiting_releases() == 1);
    // The next attempt fails on its own, and the next pause is longer.
    queue.push(write("a", 11));
    queue.push(write("c", 11));
    let done = perform_without(&mut queue, now + FAILED.0, &bad);
    assert_eq!(
        (done.numbers("a"), done.failures, done.delays),
        (vec![11], vec![1], vec![FAILED.0 * 2])
    );
    assert!(queue.next(now + FAILED.0 * 2).is_empty());
    // The cause is repaired: all is performed in its order.
    let done = perform_without(&mut queue, now + FAILED.0 * 3, &[]);
    assert_eq!(done.numbers("bad"), [5, 6, 7, 8, 9, 10]);
    assert_eq!(done.performed.last(), Some(&("bad".to_owned(), None)));
    assert!(queue.is_empty());
}

/// While the writes of a batch are tried one at a time, units become free that somebody has held.
#[test]
fn a_unit_that_is_held_does_not_bring_a_write_that_fails_back_into_a_batch() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    for key in ["held", "a", "bad"] {
        queue.push(write(key, 1));
    }
    for expected in [None, Some(Duration::ZERO)] {
        assert_eq!(queue.next(now).len(), 3);
        assert_eq!(queue.failed(now), expected);
    }
    queue.push(write("c", 1));
    let done = perform_by(&mut queue, now, &|batch| {
        let is_bad = batch.iter().any(|write| write.key == "bad");
        let answer = |write: &Write| {
            if write.key == "held" { WriteResult::NotNow } else { WriteResult::Done }
        };
        (!is_bad).then(|| batch.iter().map(answer).collect())
    });
    assert_eq!((done.numbers("a"), done.numbers("c")), (vec![1], vec![1]));
    assert_eq!(done.failures, [1], "on its own");
}

#[test]
fn a_failure_that_passes_divides_nothing() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    for round in 0..9 {
        queue.push(write("a", round));
        queue.push(write("b", round));
        assert_eq!(queue.next(now).len(), 2);
        assert_eq!(queue.failed(now), None);
        assert_eq!(queue.next(now).len(), 2, "the whole batch is tried again");
        queue.answered(&[WriteResult::Done; 2]).unwrap();
    }
    assert!(queue.is_empty());
}

/// A store that cannot perform anything is tried again and again, and loses nothing.
#[test]
fn nothing_is_lost_if_the_store_fails_for_a_long_time() {
    let (mut queue, mut now) = (Queue::new(), Instant::now());
    let mut pushed = 0;
    for _ in 0..20 {
        for _ in 0..3 {
            pushed += 1;
            queue.push(write("a", pushed));
            queue.push(write("b", pushed));
        }
        let done = perform_by(&mut queue, now, &|_| None);
        assert!(done.performed.is_empty());
        now += Duration::from_secs(7);
    }
    // One unit is held when the store works again.
    let done = perform(&mut queue, now + FAILED.1, &["b"]);
    let all: Vec<u64> = (1..=pushed).collect();
    assert_eq!((done.numbers("a"), done.numbers("b")), (all.clone(), vec![]));
    let done = perform(&mut queue, now + FAILED.1 + HELD.1, &[]);
    assert_eq!(done.numbers("b"), all);
    assert!(queue.is_empty());
}

/// A write that fails, and is tried again when its unit is held, waits for the unit with all later ones.
#[test]
fn writes_that_have_failed_wait_for_a_unit_that_is_held() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    queue.push(write("bad", 1));
    assert_eq!(perform_without(&mut queue, now, &[("bad", 1)]).failures, [1, 1]);
    queue.push(write("bad", 2));
    let now = now + FAILED.0;
    assert_eq!(perform(&mut queue, now, &["bad"]).performed, []);
    queue.push(write("bad", 3));
    let done = perform(&mut queue, now + HELD.1, &[]);
    assert_eq!(done.numbers("bad"), [1, 2, 3]);
    assert!(queue.is_empty());
}

#[test]
fn writes_that_have_not_been_tried_come_before_those_that_have_failed() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    let bad = [("bad", 1), ("worse", 1)];
    for (key, number) in bad {
        queue.push(write(key, number));
    }
    assert_eq!(perform_without(&mut queue, now, &bad).failures, [2, 2, 1, 1]);
    for key in ["a", "bad", "worse"] {
        queue.push(write(key, 2));
    }
    let now = now + FAILED.0;
    let done = perform_without(&mut queue, now, &bad[1..]);
    let performed = [("a", 2), ("bad", 1), ("bad", 2)];
    let performed = performed.map(|(key, number)| (key.to_owned(), Some(number)));
    assert_eq!((done.performed, done.failures), (performed.to_vec(), vec![1]));
}

/// While the worker pauses after the first attempt, the time comes for those that have failed before.
#[test]
fn a_write_that_fails_does_not_prolong_the_pause_of_another() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    queue.push(write("bad", 1));
    assert_eq!(perform_without(&mut queue, now, &[("bad", 1)]).delays, [FAILED.0]);
    queue.push(write("worse", 1));
    assert_eq!(queue.next(now), [write("worse", 1)]);
    assert_eq!(queue.failed(now), None);
    let now = now + FAILED.0;
    let done = perform_without(&mut queue, now, &[("worse", 1)]);
    assert_eq!((done.numbers("bad"), done.failures), (vec![1], vec![1]));
    assert_eq!(done.delays, [FAILED.0 * 2], "it is not tried again at once");
}

/// The worker pauses after each call after which the queue has nothing else to try, longer each time until it has come
/// to the end of the queue: then it looks at the table.
#[test]
fn several_writes_that_fail_delay_no_other_for_long() {
    let (mut queue, mut now) = (Queue::new(), Instant::now());
    let keys = ["bad-0", "bad-1", "bad-2"];
    let backoff = crate::Backoff::default().jitter(false);
    let (mut pauses, mut tried) = (backoff.pauses(), [0; 3]);
    for round in 1..=300 {
        for key in keys.iter().chain(&["good"]) {
            queue.push(write(key, round));
        }
        let (begun, mut is_performed) = (now, false);
        loop {
            let batch = queue.next(now).to_vec();
            if batch.is_empty() {
                // It has looked.
                pauses = backoff.pauses();
                break;
            }
            for (key, tried) in keys.iter().zip(&mut tried) {
                *tried += usize::from(batch.iter().any(|write| write.key == *key));
            }
            if !batch.iter().any(|write| write.key != "good") {
                is_performed |= batch.iter().any(|write| write.number == Some(round));
                queue.answered(&vec![WriteResult::Done; batch.len()]).unwrap();
            } else if queue.failed(now).is_none() {
                now += backoff.next(&mut pauses);
            }
            let passed = now - begun;
            assert!(passed <= backoff.first, "{passed:?} without a look in round {round}");
        }
        assert!(is_performed, "the good unit waits in round {round}");
        now += Duration::from_secs(1);
    }
    // After two attempts together and one alone, each was tried after 1, 2, 4, 8, 16 and 30 seconds, and so on.
    assert_eq!(tried, [16; 3]);
    let done = perform(&mut queue, now + FAILED.1, &[]);
    for key in keys {
        assert_eq!(done.numbers(key), (1..=300).collect::<Vec<_>>());
    }
}
