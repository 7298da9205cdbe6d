//! Handles and open parents keep a process open; nothing else does (I8).

use std::sync::mpsc;

use procession::{Error, Process, Reason};
use procession_tests::{Events, LIMIT, ends_well, outcome};

/// I8: dropping the last handle to a process that no open parent holds closes it.
#[test]
fn the_last_handle_closes() {
    let events = Events::default();
    let process = Process::with_teardown(events.adder("torn down"));
    let closed = process.closed();
    let other = process.clone();
    drop(process);
    assert!(!other.is_closing());
    let child = other.child();
    drop(other);
    outcome(&closed).unwrap();
    assert_eq!(events.all(), ["torn down"]);
    assert_eq!(child.reason(), Some(Reason::ParentClosed));

    let process = Process::new();
    let gate = Process::new();
    process.wait_for(&gate).unwrap();
    let child = process.child();
    child.wait_for(&gate).unwrap();
    drop(process);
    assert!(child.is_closing());
    gate.close();
    ends_well(&child);
}

/// I8: its reason is `Dropped`. A process that waits for it does not hold it.
#[test]
fn a_process_without_handles_closes_with_reason_dropped() {
    let (log, server, gate) = (Process::new(), Process::new(), Process::new());
    log.wait_for(&server).unwrap();
    server.wait_for(&gate).unwrap();
    let closing = server.closing();
    drop(server);
    assert_eq!(closing.wait_timeout(std::time::Duration::ZERO), Some(()));
    assert!(format!("{log:?}").contains("waits_for: [1 process]"));
    gate.close();
    log.close_blocking().unwrap();

    let guard = Process::new();
    let weak = guard.closed();
    let child = guard.child();
    drop(guard);
    outcome(&weak).unwrap();
    assert_eq!(child.reason(), Some(Reason::ParentClosed));
    // A process that closes this way closes its children even if handles to them exist.
    let process = Process::builder().spawner(procession::Inline).build().unwrap();
    let (give, take) = mpsc::channel();
    let observer = process.child();
    observer.set_teardown(move || give.send(()).map_err(|_| "the receiver is gone")).unwrap();
    drop(process);
    take.recv_timeout(LIMIT).unwrap();
    ends_well(&observer);
}

/// I8: a waiter is not a handle: the process closes while a waiter exists, and wakes it.
#[test]
fn a_waiter_does_not_keep_a_process_open() {
    let process = Process::new();
    let (closing, closed) = (process.closing(), process.closed());
    let until = process.run_until_closing(std::future::pending::<()>());
    let waiter = std::thread::spawn(move || closing.wait());
    drop(process);
    waiter.join().unwrap();
    outcome(&closed).unwrap();
    assert_eq!(futures_lite::future::block_on(until), None);
}

/// I8: an open parent holds its child, so dropping all handles to the child changes nothing. The same with several
/// parents.
#[test]
fn a_parent_holds_its_children() {
    let (one, other) = (Process::new(), Process::new());
    let child = one.child();
    let second = Process::new();
    other.add_child_no_wait(&second).unwrap();
    one.add_child(&second).unwrap();
    let waiters = [child.closing(), second.closing()];
    drop((child, second));
    for waiter in &waiters {
        assert_eq!(waiter.wait_timeout(std::time::Duration::ZERO), None);
    }
    one.close_blocking().unwrap();
    for waiter in &waiters {
        assert_eq!(waiter.wait_timeout(LIMIT), Some(()));
    }
}

/// I8: a child of the background process stays open without handles.
#[test]
fn the_background_holds_its_children() {
    let child = Process::background().child();
    let (give, take) = mpsc::channel();
    let body = child
        .spawn_thread(move |p| {
            give.send(p.is_closing()).unwrap();
        })
        .unwrap();
    let closed = body.closed();
    drop((child, body));
    assert_eq!(take.recv_timeout(LIMIT), Ok(false));
    outcome(&closed).unwrap();
}

/// The background process refuses at once to be closed or waited for.
#[test]
fn the_background_never_closes() {
    use procession::LinkError;
    let background = Process::background();
    let process = Process::new();
    assert!(matches!(background.close_blocking(), Err(Error::Background)));
    assert!(matches!(background.close().wait(), Err(Error::Background)));
    assert!(matches!(background.abort().wait(), Err(Error::Background)));
    assert!(matches!(background.close_after_children().wait(), Err(Error::Background)));
    assert!(matches!(background.close_within(LIMIT).wait(), Err(Error::Background)));
    assert!(matches!(background.closed().wait(), Err(Error::Background)));
    assert!(matches!(futures_lite::future::block_on(background.closed()), Err(Error::Background)));
    assert!(matches!(background.set_teardown(|| ()), Err(Error::Background)));
    assert_eq!(process.add_child(background), Err(LinkError::Background));
    assert_eq!(process.add_child_no_wait(background), Err(LinkError::Background));
    assert_eq!(process.wait_for(background), Err(LinkError::Background));
    assert_eq!(background.wait_for(&process), Err(LinkError::Background));
    drop(background.clone().close_on_drop());
    drop(background.clone());
    assert!(!background.is_closing());
    background.add_child(&process).unwrap();
    process.close_blocking().unwrap();
}

/// The guard of `close_on_drop` closes its process when it is dropped, even by a panic.
#[test]
fn a_guard_closes_when_dropped_or_unwound() {
    let process = Process::new();
    let guard = process.clone().close_on_drop();
    assert_eq!(guard.process(), &process);
    let panicked = std::thread::spawn(move || {
        let _guard = guard;
        panic!("on the way");
    });
    assert!(panicked.join().is_err());
    ends_well(&process);
    assert_eq!(process.reason(), Some(Reason::Asked));
}
