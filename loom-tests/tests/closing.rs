//! Closing against closing: each teardown runs once (I2), after everything that it waits for (I4), with one outcome
//! (I3).

#![cfg(loom)]

use std::time::Duration;

use loom::thread;
use procession::{Inline, Phase, Process, Reason};
use procession_loom_tests::{Count, model};

/// I2, I3: two threads close a process. Its teardown runs once, and both get the same outcome.
#[test]
fn two_closers() {
    model(3, || {
        let ran = Count::default();
        let add = ran.adder();
        let process = Process::with_teardown(move || {
            add();
            Err("failed")
        });
        let other = process.clone();
        let closer = thread::spawn(move || other.close_blocking().unwrap_err().to_string());
        let outcome = process.close_blocking().unwrap_err().to_string();
        assert_eq!(ran.get(), 1);
        assert_eq!(closer.join().unwrap(), outcome);
    });
}

/// I2: two parents close one child at once. Its teardown runs once.
#[test]
fn two_parents_closing_one_child() {
    model(2, || {
        let ran = Count::default();
        let (one, other) = (Process::new(), Process::new());
        let child = Process::builder()
            .spawner(Inline)
            .parent(&one)
            .parent(&other)
            .teardown(ran.adder())
            .build()
            .unwrap();
        let closer = thread::spawn(move || one.close_blocking());
        other.close_blocking().unwrap();
        assert_eq!(ran.get(), 1);
        assert!(child.is_closed());
        closer.join().unwrap().unwrap();
        assert_eq!(ran.get(), 1);
        assert_eq!(child.reason(), Some(Reason::ParentClosed));
    });
}

/// I2, I4: the last two children of a Closing parent become Closed at once. The parent's teardown runs once, and sees
/// what both of theirs did.
#[test]
fn the_last_two_children_close_at_once() {
    model(2, || {
        let (ran, children) = (Count::default(), Count::default());
        let (add, seen) = (ran.adder(), children.clone());
        let parent = Process::builder()
            .spawner(Inline)
            .teardown(move || {
                add();
                assert_eq!(seen.get(), 2);
            })
            .build()
            .unwrap();
        // Each child waits for something outside, so that it is open when the parent begins to close.
        let hold = |child: &Process| {
            let outside = Process::new();
            child.wait_for(&outside).unwrap();
            child.set_teardown(children.adder()).unwrap();
            outside
        };
        let (first, second) = (hold(&parent.child()), hold(&parent.child()));
        parent.close();
        assert_eq!(parent.phase(), Phase::Closing);
        let closer = thread::spawn(move || drop(first.close()));
        second.close();
        closer.join().unwrap();
        parent.closed().wait().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

/// I2, I4: one thread tears down siblings and reports their ends together, while another thread closes one of them. The
/// parent's teardown runs once, and sees what both of theirs did.
#[test]
fn siblings_are_reported_together() {
    model(2, || {
        let (ran, children) = (Count::default(), Count::default());
        let (add, seen) = (ran.adder(), children.clone());
        let parent = Process::with_teardown(move || {
            add();
            assert_eq!(seen.get(), 2);
        });
        let child = |_| {
            let teardown = children.adder();
            Process::builder().parent(&parent).teardown(teardown).build().unwrap()
        };
        let [first, second] = [0, 1].map(child);
        let closer = thread::spawn(move || first.close_blocking());
        parent.close_blocking().unwrap();
        assert_eq!(ran.get(), 1);
        assert!(second.is_closed());
        closer.join().unwrap().unwrap();
    });
}

/// I2, I8: one thread drops its handle while another one closes the process and drops the last handle. The teardown
/// runs once.
#[test]
fn last_handle_dropped_against_close() {
    model(3, || {
        let ran = Count::default();
        let process = Process::builder().spawner(Inline).teardown(ran.adder()).build().unwrap();
        let closed = process.closed();
        let other = process.clone();
        let dropper = thread::spawn(move || drop(other));
        process.close();
        drop(process);
        dropper.join().unwrap();
        closed.wait().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

/// I8, I9: the last two handles are dropped at once. The process closes, and a waiter is woken.
#[test]
fn the_last_two_handles_are_dropped_at_once() {
    model(3, || {
        let ran = Count::default();
        let process = Process::builder().spawner(Inline).teardown(ran.adder()).build().unwrap();
        let closed = process.closed();
        let other = process.clone();
        let dropper = thread::spawn(move || drop(other));
        drop(process);
        closed.wait().unwrap();
        assert_eq!(ran.get(), 1);
        dropper.join().unwrap();
    });
}

/// I8: the handle to a child is dropped while its parent closes. The drop does not close the child, and its teardown
/// runs.
#[test]
fn a_childs_handle_is_dropped_while_the_parent_closes() {
    model(3, || {
        let ran = Count::default();
        let parent = Process::builder().spawner(Inline).build().unwrap();
        let child = parent.child();
        child.set_teardown(ran.adder()).unwrap();
        let above = parent.clone();
        let dropper = thread::spawn(move || {
            let closing = child.closing();
            drop(child);
            let is_closing = closing.wait_timeout(Duration::ZERO).is_some();
            assert!(!is_closing || above.is_closing());
        });
        parent.close_blocking().unwrap();
        assert_eq!(ran.get(), 1);
        dropper.join().unwrap();
    });
}

/// I2, I4: a parent closes two children, one of which closes after the other, while another thread closes the first.
/// The order holds, and each becomes Closed once.
#[test]
fn close_after_against_the_end_of_the_sibling() {
    model(3, || {
        let ran = Count::default();
        let parent = Process::new();
        let (sibling, held) = (parent.child(), parent.child());
        held.close_after(&sibling).unwrap();
        let (before, add) = (sibling.clone(), ran.adder());
        held.set_teardown(move || {
            assert!(before.is_closed());
            add();
        })
        .unwrap();
        let closer = thread::spawn(move || drop(sibling.close()));
        parent.close_blocking().unwrap();
        closer.join().unwrap();
        assert_eq!(ran.get(), 1);
        assert_eq!(held.reason(), Some(Reason::ParentClosed));
    });
}
