//! A blocking wait that cannot end is refused at once (I13).

use std::sync::mpsc;
use std::time::{Duration, Instant};

use procession::{Error, Process};
use procession_tests::{LIMIT, ends_well, outcome};

/// The names of the two sides of the refused wait.
fn names(result: &Result<(), Error>) -> (String, String) {
    let Err(Error::Deadlock(deadlock)) = result else { panic!("{result:?}") };
    let name = |label: &procession::Label| label.name().unwrap_or_default().to_owned();
    (name(deadlock.waiting()), name(deadlock.target()))
}

/// I13: a worker closes the root and waits for it. The wait is refused with the names of both, but the root has begun
/// to close.
#[test]
fn a_worker_cannot_wait_for_the_root() {
    let app = Process::builder().name("app").build().unwrap();
    let pool = Process::builder().name("worker").parent(&app).build().unwrap();
    let above = app.clone();
    let worker = Process::builder()
        .name("task")
        .parent(&pool)
        .spawn_thread(move |_| {
            let refused = above.close_blocking();
            assert_eq!(names(&refused), ("task".into(), "app".into()));
            assert!(above.is_closing());
            let refused = above.closed().wait();
            assert_eq!(names(&refused), ("task".into(), "app".into()));
            refused
        })
        .unwrap();
    ends_well(&app);
    let error = worker.outcome().unwrap().unwrap_err();
    assert!(error.to_string().contains("cannot wait for process `app`"), "{error}");
}

/// I13: a body cannot wait for its own process.
#[test]
fn a_body_cannot_wait_for_its_own_process() {
    let app = Process::new();
    let body = app.spawn_thread(|p| p.close_blocking()).unwrap();
    assert!(matches!(outcome(&body.closed()), Err(Error::Deadlock(_))));
    let task = app.spawn(|p| async move { p.close_blocking() }).unwrap();
    assert!(matches!(outcome(&task.closed()), Err(Error::Deadlock(_))));
}

/// I13: a teardown cannot wait for a process with a wait-for edge to its own.
#[test]
fn a_teardown_cannot_wait_for_a_process_that_waits_for_it() {
    let (log, server) = (Process::new(), Process::new());
    log.wait_for(&server).unwrap();
    let waits = log.clone();
    server.set_teardown(move || waits.close_blocking()).unwrap();
    assert!(matches!(server.close_blocking(), Err(Error::Deadlock(_))));
    ends_well(&log);
}

/// I13: a body closes a process on its own stack. The teardown of that process cannot wait for the process of the body.
#[test]
fn a_nested_teardown_cannot_wait_for_the_body_that_runs_it() {
    let app = Process::new();
    let (give, take) = mpsc::channel();
    let above = app.clone();
    let body = app
        .spawn_thread(move |_| {
            let nested = Process::with_teardown(move || above.close_blocking());
            give.send(matches!(nested.close_blocking(), Err(Error::Deadlock(_)))).unwrap();
        })
        .unwrap();
    assert_eq!(take.recv_timeout(LIMIT), Ok(true));
    ends_well(&body);
}

/// I13: a wait that can end is not refused: for siblings, for children, with a timeout, for Closed processes.
#[test]
fn waits_that_can_end_are_not_refused() {
    let app = Process::new();
    let sibling = app.child();
    let above = app.clone();
    let body = app
        .spawn_thread(move |p| {
            sibling.close_blocking().unwrap();
            p.child().close_blocking().unwrap();
            // A refused wait would return `Some`. This one ends with its timeout.
            assert!(above.closed().wait_timeout(Duration::from_millis(5)).is_none());
            assert!(above.closed().wait_deadline(Instant::now()).is_none());
            // A timeout that is longer than a clock can measure never ends, so the wait can be refused.
            let refused = above.closed().wait_timeout(Duration::MAX);
            assert!(matches!(refused, Some(Err(Error::Deadlock(_)))));
        })
        .unwrap();
    ends_well(&body);
    app.close_blocking().unwrap();
}

/// Timeouts of any length, and deadlines in the past, neither panic nor overflow.
#[test]
fn timeouts_of_any_length_neither_panic_nor_overflow() {
    let process = Process::new();
    assert_eq!(process.closing().wait_timeout(Duration::ZERO), None);
    assert_eq!(process.aborting().wait_timeout(Duration::ZERO), None);
    assert!(process.closed().wait_timeout(Duration::ZERO).is_none());
    let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
    assert_eq!(process.closing().wait_deadline(past), None);
    assert_eq!(process.aborting().wait_deadline(past), None);
    assert!(process.closed().wait_deadline(past).is_none());

    let waiting = process.child();
    let gate = Process::new();
    waiting.wait_for(&gate).unwrap();
    for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        process.close_within(limit);
    }
    assert!(!process.is_aborting());
    process.close_within(Duration::ZERO);
    assert!(process.is_aborting());
    gate.close();
    let outcome = process.closed().wait_timeout(Duration::MAX).unwrap();
    assert!(matches!(outcome, Err(Error::Forced(_))));
    assert_eq!(process.closing().wait_timeout(Duration::MAX), Some(()));
    assert_eq!(process.closing().wait_deadline(past), Some(()));
    assert!(process.closed().wait_deadline(past).is_some());
    assert_eq!(process.aborting().wait_deadline(past), Some(true));
}
