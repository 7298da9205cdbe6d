//! Weak references against the drop of the last handle (I2, I8).

#![cfg(loom)]

use loom::thread;
use procession::{Inline, Process, Reason};
use procession_loom_tests::{Count, model};

/// A process whose teardown counts in `ran`.
fn counting(ran: &Count) -> Process {
    Process::builder().spawner(Inline).teardown(ran.adder()).build().unwrap()
}

/// I2, I8: a weak reference is upgraded while the last handle is dropped. The process closes once, when both handles
/// are gone, whichever goes last.
#[test]
fn upgrade_against_the_drop_of_the_last_handle() {
    model(3, || {
        let ran = Count::default();
        let process = counting(&ran);
        let (weak, closed) = (process.downgrade(), process.closed());
        let upgrader = thread::spawn(move || {
            let upgraded = weak.upgrade();
            assert!(upgraded.is_some(), "a waiter refers to it");
            drop(upgraded);
        });
        drop(process);
        upgrader.join().unwrap();
        closed.wait().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

/// I2, I8: two weak references are upgraded while the last handle is dropped. Both upgrades succeed, and the process
/// closes once.
#[test]
fn two_upgrades_against_the_drop_of_the_last_handle() {
    model(2, || {
        let ran = Count::default();
        let process = counting(&ran);
        // Loom does not track weak pointers, so a waiter has to keep the node.
        let closed = process.closed();
        let weak = process.downgrade();
        let other = weak.clone();
        let upgrader = thread::spawn(move || drop(weak.upgrade().unwrap()));
        let dropper = thread::spawn(move || drop(process));
        drop(other.upgrade().unwrap());
        upgrader.join().unwrap();
        dropper.join().unwrap();
        closed.wait().unwrap();
        assert_eq!(ran.get(), 1);
        assert_eq!(other.upgrade().unwrap().reason(), Some(Reason::Dropped));
    });
}

/// I8: an upgraded handle keeps the process open after the other handle is dropped.
#[test]
fn an_upgraded_handle_is_a_handle() {
    model(3, || {
        let process = Process::new();
        let weak = process.downgrade();
        let handle = weak.upgrade().unwrap();
        let dropper = thread::spawn(move || drop(process));
        assert!(!handle.is_closing());
        dropper.join().unwrap();
        assert!(!handle.is_closing());
        let closed = handle.closed();
        drop(handle);
        closed.wait().unwrap();
        assert_eq!(weak.upgrade().unwrap().reason(), Some(Reason::Dropped));
    });
}
