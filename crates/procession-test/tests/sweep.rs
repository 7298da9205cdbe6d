//! Sweeps of graphs: graphs that survive every fault, and graphs in which the sweep finds a failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use procession::support::{self, Fault as Injected, FaultPlace};
use procession::{BoxError, Error, Inline, Job, Limited, Process, Threads, ok, ok_with};
use procession_test::{Fault, Report, Sweep, TestApp, TestExecutor, sweep};

/// The message of the sweep, which must find a failure.
#[track_caller]
fn message_of_failed_sweep(run: impl FnOnce() -> Report) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("the sweep should find something");
    *panic.downcast::<String>().unwrap()
}

fn part<'a>(name: &str, app: &'a Process) -> procession::Builder<'a> {
    Process::builder().name(name.to_owned()).parent(app)
}

/// Makes bodies and teardowns of each kind, with this spawner.
fn every_kind(
    app: &Process,
    spawner: impl Fn(Job) + Send + Sync + 'static,
) -> Result<(), BoxError> {
    let db = part("db", app).teardown(|| ()).build()?;
    let server = part("server", app).spawner(spawner).wait_for(&db).teardown_async(|| async {});
    let server = server.spawn(|p| async move {
        let session = p.spawn(|p| async move { p.closing().await })?;
        p.close_when(async move { drop(session.closed().await) })?;
        p.closing().await;
        ok()
    })?;
    let worker = part("worker", &server).teardown(|| ());
    let worker = worker.spawn_thread(|p| p.closing().wait())?;
    let guest = Process::builder().name("guest").no_wait_parent(app);
    let _guest = guest.teardown(|| ()).spawn(|p| async move { p.closing().await })?;
    let task = worker.spawn_task(|_| async { ok_with(1) })?;
    let pool = Limited::new(&server, 1)?;
    let limited = pool.spawn_thread(|p| p.closing().wait());
    // With a fault, the task may fail, and the limiter may be closed.
    drop((task, limited));
    Ok(())
}

#[test]
fn every_kind_of_code_survives_every_fault() {
    let on_threads = |job: Job| drop(thread::spawn(move || job.run()));
    let report = sweep(move |app| every_kind(app, on_threads));
    for fault in Fault::ALL {
        assert!(report.cases().iter().any(|case| case.fault() == Some(fault)), "{report}");
    }
    assert!(report.processes() >= 7 && report.cases().len() >= 25, "{report}");
}

#[test]
fn a_spawner_that_runs_jobs_on_the_spot_may_hang() {
    let report = sweep(|app| {
        let inline = part("inline", app).spawner(Inline).teardown(|| ()).build()?;
        inline.spawn(|p| async move { p.closing().await })
    });
    let cases = report.cases().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(cases.contains(&"process `app/inline`: its teardown hangs".to_owned()), "{cases:?}");
    assert!(cases.contains(&"process `app/inline`: its spawner drops its jobs".to_owned()));
    assert!(report.missed().is_empty(), "{report}");
}

/// An error whose drop panics.
#[derive(Debug)]
struct PanicsOnDrop;

impl std::fmt::Display for PanicsOnDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bomb")
    }
}

impl std::error::Error for PanicsOnDrop {}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("the drop of an error");
    }
}

#[test]
fn the_error_of_a_body_that_ignores_closing_may_panic_when_it_is_dropped() {
    let executor = TestExecutor::new();
    let app = TestApp::on(executor.clone());
    support::inject(&app, |place, process| {
        let strikes = place == FaultPlace::Body && process.name().as_deref() == Some("server");
        strikes.then_some(Injected::IgnoreClosing)
    });
    let server = part("server", &app).spawn(|p| async move {
        p.closing().await;
        Err::<(), _>(PanicsOnDrop)
    });
    let server = server.unwrap();
    executor.run_until_idle();
    app.close();
    executor.run_until_idle();
    assert!(!server.is_closed(), "the body ended before it was aborted");
    app.abort();
    executor.block_on(app.closed()).unwrap();
    assert!(matches!(server.outcome(), Some(Err(Error::Aborted(_)))), "{:?}", server.outcome());
}

#[test]
fn processes_with_the_same_name_are_numbered() {
    let report = Sweep::new()
        .faults([Fault::TeardownPanics])
        .run(|app| [(); 3].map(|()| part("session", app).teardown(|| ()).build()));
    let paths: Vec<_> = report.cases().iter().map(|case| case.path()).collect();
    assert_eq!(paths, ["app/session", "app/session#2", "app/session#3"]);
    assert_eq!(report.to_string(), "4 runs of 4 processes; faults have struck in 3 of them");
}

#[test]
fn a_body_that_waits_for_ever_for_a_failed_one_is_found() {
    // The bug: the consumer waits for the last message of the producer, which may never come.
    let build = |app: &Process| {
        let (send, receive) = mpsc::channel();
        let keeps_open = send.clone();
        part("producer", app).spawn_thread(move |p| {
            p.closing().wait();
            send.send("last")
        })?;
        part("consumer", app).spawn_thread(move |_| {
            let _open = &keeps_open;
            receive.recv().map(drop)
        })
    };
    let sweep = Sweep::new().timeout(Duration::from_millis(500)).faults([Fault::BodyEndsEarly]);
    let message =
        message_of_failed_sweep(|| sweep.only("app/producer", Fault::BodyEndsEarly).run(build));
    for text in [
        "case:     process `app/producer` (crates/procession-test/tests/sweep.rs:",
        "): its body ends early",
        "expected: every process becomes Closed after the root is closed",
        "app › consumer: thread body `consumer`",
        "Sweep::new().only(\"app/producer\", Fault::BodyEndsEarly)",
        "app: closing (asked to close)",
    ] {
        assert!(message.contains(text), "no {text:?} in {message}");
    }
}

#[test]
fn a_check_that_fails_is_reported_with_the_case() {
    let build = |app: &Process| {
        let flushed = Arc::new(Mutex::new(false));
        let flushes = flushed.clone();
        part("log", app).teardown(move || *flushes.lock().unwrap() = true).build()?;
        ok_with(flushed)
    };
    let check = |flushed: &Result<Arc<Mutex<bool>>, BoxError>| {
        assert!(*flushed.as_ref().unwrap().lock().unwrap(), "the log was not flushed");
    };
    let message =
        message_of_failed_sweep(|| Sweep::new().run_checked(build, |_, flushed| check(flushed)));
    assert!(message.contains("process `app/log` ("), "{message}");
    assert!(message.contains("its teardown panics"), "{message}");
    assert!(message.contains("expected: the check of this test passes"), "{message}");
    assert!(message.contains("found:    the log was not flushed"), "{message}");
    let report = Sweep::new().faults([Fault::TeardownHangs]);
    report.run_checked(build, |_, flushed| check(flushed));
}

#[test]
fn a_function_that_panics_or_does_not_return_is_reported() {
    let message = message_of_failed_sweep(|| {
        sweep(|app| {
            let task = app.spawn_task_thread(|_| ok_with(1)).unwrap();
            assert_eq!(task.wait().unwrap(), 1);
        })
    });
    assert!(message.contains("the function that builds the graph panicked"), "{message}");
    assert!(message.contains("its body panics"), "{message}");

    let message = message_of_failed_sweep(|| {
        Sweep::new().timeout(Duration::from_millis(200)).run(|app| {
            let (_keep, never) = mpsc::channel::<()>();
            never.recv().is_err() && app.is_closing()
        })
    });
    assert!(message.contains("without a fault"), "{message}");
    assert!(message.contains("it has not returned within 200ms"), "{message}");
}

#[test]
fn a_case_that_does_not_exist_is_named() {
    let message = message_of_failed_sweep(|| {
        let sweep = Sweep::new().only("app/db", Fault::TeardownHangs);
        sweep.run(|app| part("log", app).teardown(|| ()).build())
    });
    assert_eq!(
        message,
        "there is no case Fault::TeardownHangs of \"app/db\"; the processes with such a case are: app/log"
    );
}

#[test]
fn a_function_may_close_the_graph_and_wait_for_it() {
    let report = sweep(|app| {
        let db = part("db", app).teardown(|| ()).build()?;
        let server = part("server", app).teardown_async(|| async {}).spawner(Threads);
        let server = server.spawn(|p| async move { p.closing().await })?;
        // The outcomes may contain the fault.
        let _failed = (server.close_blocking(), db.close_blocking());
        ok()
    });
    assert!(report.missed().is_empty() && report.cases().len() >= 7, "{report}");
}
