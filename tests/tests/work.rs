//! The work of a process, as blockers and snapshots show it.

use std::future::pending;
use std::sync::mpsc;

use procession::{Error, Job, Limited, Process, Work};
use procession_tests::{LIMIT, ends_well, outcome};

/// A future given to `wait_for_future` is a blocker of its own kind, at its process.
#[test]
fn a_future_that_is_waited_for() {
    let app = Process::builder().name("app").build().unwrap();
    let line = line!() + 1;
    app.wait_for_future(pending::<()>()).unwrap();
    app.close();
    let blockers = app.blockers(16).to_string();
    let expected =
        format!("app: future given to wait_for_future (tests/tests/work.rs:{line}), pending for ");
    assert!(blockers.starts_with(&expected) && blockers.lines().count() == 1, "{blockers}");
    app.abort();
    assert!(outcome(&app.closed()).is_ok());
}

/// An async teardown is queued until its spawner polls it for the first time.
#[test]
fn an_async_teardown_from_queued_to_running() {
    let (give, jobs) = mpsc::channel();
    let app = Process::builder().name("app").spawner(move |job: Job| give.send(job).unwrap());
    let (go, gate) = async_channel();
    let app = app.teardown_async(move || gate).build().unwrap();
    let works = |process: &Process| process.snapshot().processes()[0].work();
    app.close();
    let job = jobs.recv_timeout(LIMIT).unwrap();
    assert_eq!(works(&app), Work::TeardownQueued);
    let runner = std::thread::spawn(move || futures_lite::future::block_on(job));
    while works(&app) == Work::TeardownQueued {
        std::thread::yield_now();
    }
    assert_eq!(works(&app), Work::AsyncTeardown);
    go.close();
    ends_well(&app);
    assert_eq!(works(&app), Work::None);
    runner.join().unwrap();
}

/// A future that is ready when the process is Closed.
fn async_channel() -> (Process, impl Future<Output = ()> + Send) {
    let gate = Process::new();
    let closed = gate.closed();
    (gate, async move { drop(closed.await) })
}

/// Errors about a limiter call it one, by where it was made.
#[test]
fn errors_about_a_limiter() {
    let app = Process::builder().name("app").build().unwrap();
    let line = line!() + 1;
    let one = Limited::new(&app, 1).unwrap();
    let limiter = format!("the limiter `app` › tests/tests/work.rs:{line}");
    let slot = one.try_acquire().unwrap();
    let full = one.try_acquire().unwrap_err();
    assert!(matches!(full, Error::Full(_)));
    assert_eq!(full.to_string(), format!("{limiter} has no free slot"));
    drop(slot);

    let waits = one.clone();
    let body = one.spawn_thread(move |_| waits.acquire().wait().map(drop));
    let refused = outcome(&body.unwrap().closed()).unwrap_err().to_string();
    assert!(refused.contains(&format!("cannot wait for a slot of {limiter}: ")), "{refused}");
    app.close_blocking().unwrap();
}
