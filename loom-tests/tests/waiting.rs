//! Closing against waiting: no wake-up is lost, and who goes away leaves nothing behind (I9).

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

fn poll(future: Pin<&mut impl Future>, woken: &Count) -> bool {
    let waker = Waker::from(Arc::new(Counting(woken.clone())));
    matches!(future.poll(&mut Context::from_waker(&waker)), Poll::Ready(_))
}

/// I9: a closer against a thread that is about to sleep.
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

/// I9, I3: the same for Closed, with a teardown on a thread of its own.
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

/// I9: a closer against a task that is about to sleep.
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

/// I9: a waiter is dropped while it is notified; the one beside it is woken all the same.
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

/// I9: a waiter is polled again with another waker while it is notified; the last one is woken, or the poll
/// says so.
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

/// I1: a loading observer sees the phases in order, and never Closed before a waiter for Closing could.
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

/// I9: a waiter is dropped after its moment, when another one has its place: that one is woken all the same.
#[test]
fn a_place_that_is_taken_back_late() {
    model(2, || {
        let (process, gate) = (Process::new(), Process::new());
        process.wait_for(&gate).unwrap();
        let woken = Count::default();
        // The first waiter of a process has a place that is guarded by the moment it waits for.
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
