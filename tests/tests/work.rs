//! The work of a process, as blockers and snapshots show it (I18).

use std::future::pending;
use std::sync::mpsc;

use procession::{Error, Job, Limited, Process, Work};
use procession_tests::{LIMIT, ends_well, outcome};

/// A future given to `wait_for_future` is a blocker of its own kind, under its process.
#[test]
fn a_pending_future_is_a_blocker() {
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
fn an_async_teardown_is_queued_until_it_is_polled() {
    let (give, jobs) = mpsc::channel();
    let app = Process::builder().name("app").spawner(move |job: Job| give.send(job).unwrap());
    let (go, gate) = gated_future();
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

/// A process, and a future that is ready when that process is Closed.
fn gated_future() -> (Process, impl Future<Output = ()> + Send) {
    let gate = Process::new();
    let closed = gate.closed();
    (gate, async move { drop(closed.await) })
}

/// Errors about a limiter call it a limiter, and name the line that made it.
#[test]
fn errors_about_a_limiter_name_it() {
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
