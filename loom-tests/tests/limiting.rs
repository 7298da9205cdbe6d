//! The slots of a limiter against closing and against each other: no slot is lost, and no waiter misses one (I9, I13).

#![cfg(loom)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::future::block_on;
use loom::thread;
use procession::{ChildFailure, Error, Limited, Process, Reason};
use procession_loom_tests::{Count, model};

/// I9: a slot is returned while a thread is about to wait for it. The thread gets it.
#[test]
fn a_returned_slot_against_a_thread_about_to_wait() {
    model(3, || {
        let app = Process::new();
        let limited = Limited::new(&app, 1).unwrap();
        let slot = limited.try_acquire().unwrap();
        let other = limited.clone();
        let waiter = thread::spawn(move || drop(other.acquire().wait().unwrap()));
        drop(slot);
        waiter.join().unwrap();
        assert!(limited.try_acquire().is_ok());
    });
}

/// I9: the child that holds the slot ends while a task is about to wait for it. The task gets it.
#[test]
fn the_end_of_a_child_against_a_task_about_to_wait() {
    model(2, || {
        let app = Process::new();
        let limited = Limited::new(&app, 1).unwrap();
        let child = limited.try_spawn_thread(|_| ()).unwrap();
        block_on(async { drop(limited.acquire().await.unwrap()) });
        assert!(child.is_closed());
        assert!(limited.try_acquire().is_ok());
    });
}

/// I6, I9: a slot is handed over while the process closes. The waiter gets the slot or `Error::Closed`; the slot that
/// it got is used or refused. Nothing hangs.
#[test]
fn a_hand_over_against_closing() {
    model(2, || {
        let app = Process::new();
        let limited = Limited::new(&app, 1).unwrap();
        let slot = limited.try_acquire().unwrap();
        let ran = Count::default();
        let (other, add) = (limited.clone(), ran.adder());
        let waiter = thread::spawn(move || match other.acquire().wait() {
            Ok(slot) => match slot.spawn_thread(move |_| add()) {
                Ok(child) => child.closed().wait().is_ok(),
                Err(Error::Closed(_)) => false,
                Err(error) => panic!("{error}"),
            },
            Err(Error::Closed(_)) => false,
            Err(error) => panic!("{error}"),
        });
        let closer = app.clone();
        let closing = thread::spawn(move || closer.close_blocking().unwrap());
        drop(slot);
        let has_run = waiter.join().unwrap();
        closing.join().unwrap();
        assert_eq!(ran.get(), usize::from(has_run));
        assert!(matches!(limited.try_acquire(), Err(Error::Closed(_))));
    });
}

/// I9: two threads wait for one slot, and each gets it in turn.
#[test]
fn two_wait_for_one_slot() {
    model(2, || {
        let app = Process::new();
        let limited = Limited::new(&app, 1).unwrap();
        let slot = limited.try_acquire().unwrap();
        let waiters = [(); 2].map(|()| {
            let limited = limited.clone();
            thread::spawn(move || drop(limited.acquire().wait().unwrap()))
        });
        drop(slot);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert!(limited.try_acquire().is_ok());
    });
}

struct Counting(Count);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.add();
    }
}

/// I9: a waiter is dropped while a slot is handed to it. The slot goes to the next waiter, which is woken.
#[test]
fn a_waiter_that_goes_away_against_the_hand_over() {
    model(3, || {
        let app = Process::new();
        let limited = Limited::new(&app, 1).unwrap();
        let slot = limited.try_acquire().unwrap();
        let woken = Count::default();
        let waker = Waker::from(Arc::new(Counting(woken.clone())));
        let mut context = Context::from_waker(&waker);
        let mut leaving = Box::pin(limited.acquire());
        assert!(leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let mut next = pin!(limited.acquire());
        assert!(next.as_mut().poll(&mut context).is_pending());
        let leaver = thread::spawn(move || drop(leaving));
        drop(slot);
        leaver.join().unwrap();
        assert_eq!(woken.get(), 1);
        assert!(matches!(next.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    });
}

/// I3, I17: children that fail close their parent, while it is also closed directly. It closes once, and no error is
/// lost.
#[test]
fn failures_against_closing() {
    model(2, || {
        let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
        let [one, other] = [(); 2].map(|()| app.child());
        one.set_teardown(|| Err("one")).unwrap();
        let closer = thread::spawn(move || drop(one.close_blocking()));
        other.close();
        let asked = app.close_blocking().unwrap_err();
        closer.join().unwrap();
        assert!(matches!(asked, Error::Failed(_)), "{asked}");
        let reason = app.reason().unwrap();
        assert!(matches!(reason, Reason::Asked | Reason::ChildFailed(_)));
    });
}

/// I9: the process closes while a thread is about to wait for a slot that never becomes free. The wait ends with
/// `Error::Closed`.
#[test]
fn closing_against_a_thread_about_to_wait_for_a_slot() {
    model(3, || {
        let app = Process::new();
        let limited = Limited::new(&app, 1).unwrap();
        let slot = limited.try_acquire().unwrap();
        let other = limited.clone();
        let waiter = thread::spawn(move || other.acquire().wait().map(drop));
        app.close_blocking().unwrap();
        assert!(matches!(waiter.join().unwrap(), Err(Error::Closed(_))));
        drop(slot);
    });
}

/// I9: a wait for a slot ends when the process begins to close, even if the holder of the slot keeps it longer.
#[test]
fn a_wait_for_a_slot_ends_when_closing_begins() {
    model(2, || {
        let (app, gate) = (Process::new(), Process::new());
        let limited = Limited::new(&app, 1).unwrap();
        limited.process().wait_for(&gate).unwrap();
        let slot = limited.try_acquire().unwrap();
        let other = limited.clone();
        let waiter = thread::spawn(move || other.acquire().wait().map(drop));
        app.close();
        assert!(matches!(waiter.join().unwrap(), Err(Error::Closed(_))));
        assert!(!app.is_closed());
        gate.close();
        app.closed().wait().unwrap();
        drop(slot);
    });
}
