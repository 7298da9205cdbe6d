//! Closing against waiting: no wake-up is lost, and a dropped waiter leaves nothing behind (I9).

#![cfg(loom)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::future::block_on;
use loom::thread;
use procession::{Phase, Process};
use procession_loom_tests::{Count, model};

struct Counting(Count);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.add();
    }
}

/// Polls the future with a waker that counts in `woken`. Is it ready?
fn poll(future: Pin<&mut impl Future>, woken: &Count) -> bool {
    let waker = Waker::from(Arc::new(Counting(woken.clone())));
    matches!(future.poll(&mut Context::from_waker(&waker)), Poll::Ready(_))
}

/// I9: `close` against a thread that is about to sleep.
#[test]
fn close_against_a_thread_about_to_sleep() {
    model(3, || {
        let process = Process::new();
        let closing = process.closing();
        let waiter = thread::spawn(move || closing.wait());
        process.close();
        waiter.join().unwrap();
    });
}

/// I3, I9: the end of a teardown on another thread, against a thread that is about to sleep until Closed.
#[test]
fn a_teardown_against_a_thread_about_to_sleep() {
    model(2, || {
        let ran = Count::default();
        let process = Process::with_teardown(ran.adder());
        process.close();
        process.closed().wait().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

/// I9: `close` against a task that is about to sleep.
#[test]
fn close_against_a_task_about_to_sleep() {
    model(3, || {
        let process = Process::new();
        let (closing, closed) = (process.closing(), process.closed());
        let waiter = thread::spawn(move || {
            block_on(async {
                closing.await;
                closed.await
            })
        });
        process.close();
        waiter.join().unwrap().unwrap();
    });
}

/// I9: a waiter is dropped while it is notified. The other waiter is still woken.
#[test]
fn a_waiter_dropped_while_it_is_notified() {
    model(3, || {
        let process = Process::new();
        let (dropped, kept) = (Count::default(), Count::default());
        let mut closing = process.closing();
        let mut beside = process.closing();
        assert!(!poll(Pin::new(&mut closing), &dropped));
        assert!(!poll(Pin::new(&mut beside), &kept));
        let dropper = thread::spawn(move || drop(closing));
        process.close();
        dropper.join().unwrap();
        assert_eq!(kept.get(), 1);
        assert!(dropped.get() <= 1);
    });
}

/// I9: a waiter is polled with another waker while it is notified. Either that waker is woken, or the poll is ready.
#[test]
fn a_waiter_that_moves_to_another_task_while_it_is_notified() {
    model(3, || {
        let process = Process::new();
        let (before, after) = (Count::default(), Count::default());
        let mut closing = pin!(process.closing());
        assert!(!poll(closing.as_mut(), &before));
        let other = process.clone();
        let closer = thread::spawn(move || drop(other.close()));
        let ready = poll(closing.as_mut(), &after);
        closer.join().unwrap();
        assert!(ready || after.get() == 1);
    });
}

/// I1, I3: an observer sees the phases in order, and an outcome as soon as it sees Closed.
#[test]
fn phases_only_advance() {
    model(3, || {
        let process = Process::with_teardown(|| ());
        let other = process.clone();
        let observer = thread::spawn(move || {
            let seen = [other.phase(), other.phase(), other.phase()];
            assert!(seen.is_sorted());
            if seen[2] == Phase::Closed {
                assert!(other.outcome().is_some());
            }
        });
        process.close_blocking().unwrap();
        observer.join().unwrap();
    });
}

/// I9: a waiter is dropped after it was notified, when another waiter has its place in the list. That one is still
/// woken.
#[test]
fn a_waiter_dropped_late_leaves_its_successor_alone() {
    model(2, || {
        let (process, gate) = (Process::new(), Process::new());
        process.wait_for(&gate).unwrap();
        let woken = Count::default();
        // The first waiter of a process has a place of its own, guarded by the moment that it waits for. The waiter
        // under test must not be the first.
        let mut first = process.closed();
        assert!(!poll(Pin::new(&mut first), &Count::default()));
        let mut closing = process.closing();
        assert!(!poll(Pin::new(&mut closing), &Count::default()));
        let dropper = thread::spawn(move || drop(closing));
        process.close();
        let mut closed = process.closed();
        assert!(!poll(Pin::new(&mut closed), &woken));
        dropper.join().unwrap();
        gate.close();
        assert_eq!(woken.get(), 1);
    });
}
