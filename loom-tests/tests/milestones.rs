//! Waiting for the end of the body, and for the children, against their ends (I9).

#![cfg(loom)]

use loom::thread;
use procession::{Phase, Process};
use procession_loom_tests::{Count, model};

/// The end of a body against a waiter for it, while a child is open.
#[test]
fn the_end_of_a_body_against_a_waiter() {
    model(3, || {
        let app = Process::new();
        let ran = Count::default();
        let add = ran.adder();
        let body = app
            .spawn_thread(move |p| {
                p.child();
                add();
            })
            .unwrap();
        body.body_ended().wait().unwrap();
        assert_eq!((ran.get(), body.phase()), (1, Phase::Running));
        app.close_blocking().unwrap();
    });
}

/// The last child of a Running process ends against a waiter.
#[test]
fn the_last_child_against_a_waiter() {
    model(3, || {
        let app = Process::new();
        let child = app.child();
        let closer = thread::spawn(move || child.close_blocking().unwrap());
        app.children_closed().wait().unwrap();
        closer.join().unwrap();
        app.close_blocking().unwrap();
    });
}

/// Two children of a Closing process end, which subtract without its lock, against a waiter.
#[test]
fn children_of_a_closing_process_against_a_waiter() {
    model(2, || {
        let (app, gate) = (Process::new(), Process::new());
        app.wait_for(&gate).unwrap();
        let children = [app.child(), app.child()].map(|child| {
            let hold = Process::new();
            child.wait_for(&hold).unwrap();
            hold
        });
        app.close();
        let closers = children.map(|hold| thread::spawn(move || hold.close_blocking().unwrap()));
        app.children_closed().wait().unwrap();
        assert_eq!(app.phase(), Phase::Closing);
        gate.close_blocking().unwrap();
        app.closed().wait().unwrap();
        closers.into_iter().for_each(|closer| closer.join().unwrap());
    });
}

/// The end of the last child against that of the last wait-for edge, and a waiter that is given up: the process is
/// Closed.
#[test]
fn the_last_child_against_the_last_other_wait() {
    model(2, || {
        let (app, gate, hold) = (Process::new(), Process::new(), Process::new());
        app.wait_for(&gate).unwrap();
        app.child().wait_for(&hold).unwrap();
        app.close();
        let _ = app.children_closed().wait_timeout(std::time::Duration::from_secs(1));
        let closer = thread::spawn(move || hold.close_blocking().unwrap());
        gate.close_blocking().unwrap();
        app.closed().wait().unwrap();
        closer.join().unwrap();
    });
}

/// A child is added late while the last one ends: the waiter is woken at least once.
#[test]
fn a_late_child_against_the_last_one() {
    model(2, || {
        let (app, gate, hold) = (Process::new(), Process::new(), Process::new());
        app.wait_for(&gate).unwrap();
        app.child().wait_for(&hold).unwrap();
        app.close();
        let other = app.clone();
        let adder = thread::spawn(move || drop(other.child()));
        let closer = thread::spawn(move || hold.close_blocking().unwrap());
        app.children_closed().wait().unwrap();
        gate.close_blocking().unwrap();
        app.closed().wait().unwrap();
        adder.join().unwrap();
        closer.join().unwrap();
    });
}
