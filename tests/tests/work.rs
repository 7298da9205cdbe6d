//! The work of a process, as blockers and snapshots show it (I18).

use std::future::pending;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use procession::{Builder, Error, Job, Limited, Process, Work};
use procession_tests::{LIMIT, ends_well, outcome};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

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
    let works = |process: &Process| process.snapshot().root().work();
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

/// What `process` is waiting for, once that is one item or more.
#[track_caller]
fn waits_for(process: &Process) -> String {
    let begin = std::time::Instant::now();
    loop {
        let blockers = process.blockers(16).to_string();
        if !blockers.is_empty() {
            return blockers;
        }
        assert!(begin.elapsed() < LIMIT, "{:#}", process.snapshot());
        std::thread::yield_now();
    }
}

/// I18: a process that waits for a hook for its failure says so, however it has failed.
#[test]
fn a_failure_hook_is_a_blocker() {
    type Fail = fn(Builder<'_>) -> Process;
    let ways: [Fail; 5] = [
        |it| it.spawn_thread(|_| Err("disk full")).unwrap(),
        |it| it.spawn(|_| async { Err("disk full") }).unwrap(),
        |it| it.teardown(|| Err("disk full")).build().unwrap(),
        |it| it.teardown_async(|| async { Err("disk full") }).build().unwrap(),
        |it| it.time_limit(Duration::ZERO).spawn(|_| pending::<()>()).unwrap(),
    ];
    for fail in ways {
        let app = Process::builder().name("app").build().unwrap();
        let (starts, started) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        app.on_failure(move |_, _| {
            starts.send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
        });
        let failing = fail(Process::builder().name("db").parent(&app));
        app.close();
        started.recv_timeout(LIMIT).unwrap();
        // The async body that the time limit has aborted may still be on its way to its end.
        let text = loop {
            let text = waits_for(&app);
            if !text.contains("async body") {
                break text;
            }
        };
        let expected = "app › db: failure hook or subscriber (tests/tests/work.rs:";
        assert!(text.starts_with(expected) && text.contains("), running for "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(failing.snapshot().root().work(), Work::FailureHook);
        assert!(failing.snapshot().root().work_for().is_some());
        assert!(format!("{failing:?}").contains("work: FailureHook"), "{failing:?}");
        assert!(format!("{:#}", app.snapshot()).contains("failure hook or subscriber for "));
        drop(go);
        assert!(app.closed().wait_timeout(LIMIT).is_some());
        assert_eq!(failing.snapshot().root().work(), Work::None);
    }
}

/// The same for the subscriber that is given the failure, and for the `Display` of the error.
#[test]
fn a_subscriber_that_hangs_is_a_blocker() {
    let app = Process::builder().name("app").build().unwrap();
    let (starts, started) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let db = Process::builder().name("db").parent(&app);
    db.spawn_thread(move |_| {
        // Until the end of this thread, which is after that of the body.
        std::mem::forget(tracing::subscriber::set_default(WantsAll));
        Err(Gated { starts, gate: Mutex::new(gate) })
    })
    .unwrap();
    app.close();
    started.recv_timeout(LIMIT).unwrap();
    let text = waits_for(&app);
    let expected = "app › db: failure hook or subscriber (tests/tests/work.rs:";
    assert!(text.starts_with(expected) && text.lines().count() == 1, "{text}");
    drop(go);
    ends_well(&app);
}

/// An error whose `Display` waits for a gate.
#[derive(Debug)]
struct Gated {
    starts: mpsc::Sender<()>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl std::error::Error for Gated {}

impl std::fmt::Display for Gated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = self.starts.send(());
        let _ = self.gate.lock().unwrap().recv();
        f.write_str("disk full")
    }
}

/// A subscriber that wants every event and does nothing with it.
struct WantsAll;

impl Subscriber for WantsAll {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
