//! Rules of the state machine against two or three threads (I1, I2, I4, I5, I6, I13, I17). Each was broken on purpose,
//! and its model failed.

#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use procession::{Error, Inline, Process};
use procession_loom_tests::{Count, model};

/// I1: a thread that sees the abort sees the closing too.
#[test]
fn an_abort_is_never_seen_before_closing() {
    model(2, || {
        let process = Process::new();
        let gate = Process::new();
        process.wait_for(&gate).unwrap();
        let other = process.clone();
        let observer = thread::spawn(move || {
            if other.is_aborting() {
                assert!(other.is_closing());
            }
        });
        process.abort();
        observer.join().unwrap();
        assert!(process.is_aborting());
        gate.close();
    });
}

/// I1: a thread that sees the abort sees what was done before it.
#[test]
fn an_abort_publishes_what_was_done_before_it() {
    model(2, || {
        let process = Process::new();
        let gate = Process::new();
        process.wait_for(&gate).unwrap();
        process.close();
        let done = Count::default();
        let (other, seen) = (process.clone(), done.clone());
        let observer = thread::spawn(move || {
            if other.is_aborting() {
                assert_eq!(seen.get(), 1);
            }
        });
        done.add();
        process.abort();
        observer.join().unwrap();
        gate.close();
    });
}

/// I4: what a thread did before it dropped its handle happens-before the teardown that the last drop triggers.
#[test]
fn a_dropped_handle_happens_before_the_teardown() {
    model(3, || {
        let data = Arc::new(AtomicUsize::new(0));
        let seen = data.clone();
        let process = Process::builder()
            .spawner(Inline)
            .teardown(move || assert_eq!(seen.load(Ordering::Relaxed), 1))
            .build()
            .unwrap();
        let outcome = process.closed();
        let other = process.clone();
        let worker = thread::spawn(move || {
            data.store(1, Ordering::Relaxed);
            drop(other);
        });
        drop(process);
        worker.join().unwrap();
        outcome.wait().unwrap();
    });
}

/// I5: three threads add the three edges of a cycle. Exactly one edge is refused.
#[test]
fn the_three_edges_of_a_cycle() {
    model(2, || {
        let [a, b, c] = [(); 3].map(|()| Process::new());
        let link = |from: &Process, to: &Process| {
            let (from, to) = (from.clone(), to.clone());
            thread::spawn(move || from.wait_for(&to).is_ok())
        };
        let (first, second) = (link(&a, &b), link(&b, &c));
        let third = c.wait_for(&a).is_ok();
        let linked = [first.join().unwrap(), second.join().unwrap(), third];
        assert_eq!(linked.iter().filter(|is_linked| **is_linked).count(), 2);
    });
}

/// I5: one thread makes `q` a child of `p` while another one orders `p` after `q`. Exactly one edge is refused.
#[test]
fn the_two_halves_of_an_impossible_order() {
    model(2, || {
        let (p, q) = (Process::new(), Process::new());
        let (above, below) = (p.clone(), q.clone());
        let linker = thread::spawn(move || above.add_child_no_wait(&below).is_ok());
        let is_ordered = p.close_after(&q).is_ok();
        assert_ne!(linker.join().unwrap(), is_ordered);
    });
}

/// I13: two bodies wait for each other's processes. At least one wait is refused.
#[test]
fn two_bodies_that_wait_for_each_other() {
    // With four threads, only one preemption is affordable.
    model(1, || {
        let (a, b) = (Process::new(), Process::new());
        let waits = |own: &Process, other: &Process| {
            let other = other.clone();
            own.spawn_thread(move |_| match other.closed().wait() {
                Err(Error::Deadlock(_)) => Err("refused"),
                _ => Ok(()),
            })
            .unwrap()
        };
        let (first, second) = (waits(&a, &b), waits(&b, &a));
        a.close();
        b.close();
        let refused = [first, second].map(|body| body.closed().wait().is_err());
        assert!(refused.contains(&true));
    });
}

/// I2, I4, I6: two children of a Closing process end while a third is added late. The teardown runs once, after every
/// child that was added.
#[test]
fn two_children_end_while_a_third_is_added() {
    model(2, || {
        let (ran, ended) = (Count::default(), Count::default());
        let (add, before) = (ran.adder(), ended.clone());
        let parent = Process::builder()
            .spawner(Inline)
            .teardown(move || {
                add();
                assert!(before.get() >= 2);
            })
            .build()
            .unwrap();
        let gates = [(); 2].map(|()| {
            let gate = Process::new();
            let child = Process::builder().parent(&parent).spawner(Inline).wait_for(&gate);
            child.teardown(ended.adder()).build().unwrap();
            gate
        });
        parent.close();
        let [first, second] = gates;
        let closer = thread::spawn(move || drop(first.close()));
        let other = parent.clone();
        let adder = thread::spawn(move || {
            let late = other.child();
            assert!(late.is_closing());
        });
        second.close();
        closer.join().unwrap();
        adder.join().unwrap();
        parent.closed().wait().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

/// I6: a child that is added late to an aborting process is aborted.
#[test]
fn a_late_child_of_an_aborting_process_is_aborted() {
    model(2, || {
        let (parent, gate) = (Process::new(), Process::new());
        parent.wait_for(&gate).unwrap();
        let other = parent.clone();
        let aborter = thread::spawn(move || drop(other.abort()));
        let late = parent.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
        aborter.join().unwrap();
        gate.close();
        parent.closed().wait().unwrap();
        assert!(late.is_closed());
    });
}

/// I17: a parent is added while an earlier failure of the process is looking for hooks. A hook of that parent receives
/// the next failure.
#[test]
fn a_parent_added_during_a_failure_receives_the_next() {
    model(2, || {
        let (above, parent, told) = (Process::new(), Process::new(), Count::default());
        above.on_failure(|_, _| ());
        let counted = told.clone();
        parent.on_failure(move |_, _| counted.add());
        let gate = Process::new();
        let process = Process::builder()
            .no_wait_parent(&above)
            .wait_for(&gate)
            .teardown(|| Err("the teardown failed"))
            .spawn_thread(|_| Err("the body failed"))
            .unwrap();
        parent.add_child_no_wait(&process).unwrap();
        process.closing().wait();
        gate.close();
        assert!(process.closed().wait().is_err());
        assert!(told.get() >= 1);
    });
}
