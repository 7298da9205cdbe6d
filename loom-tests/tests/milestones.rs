//! `body_ended` and `children_closed` against the ends of bodies and children (I9).

#![cfg(loom)]

use loom::thread;
use procession::{Phase, Process};
use procession_loom_tests::{Count, model};

/// I4, I9: a body ends while another thread waits for its end. The waiter is woken although a child is open, and sees
/// what the body did.
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

/// I9: the last child of a Running process ends while another thread waits for that.
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

/// I9: two children of a Closing process end, which count themselves off without its lock, while another thread waits
/// for both.
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

/// I9: the last child and the lower end of the last wait-for edge end at once, after a waiter for the children has
/// given up. The process becomes Closed.
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

/// I6, I9: a child is added late while the last child ends. The waiter is woken at least once.
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
