//! The time limit of a process (`Builder::time_limit`).

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use procession::{Builder, ChildFailure, Error, Process, Reason};
use procession_tests::{LIMIT, closing, ends_well, outcome};

const SHORT: Duration = Duration::from_millis(5);

fn with_short_limit<'a>() -> Builder<'a> {
    Process::builder().time_limit(SHORT)
}

/// Checks that the reason or the outcome is that of the time limit.
#[track_caller]
fn assert_time_limit_outcome(process: &Process) {
    let outcome = outcome(&process.closed());
    assert!(
        matches!(&outcome, Err(Error::TimeLimit(label)) if *label == process.label()),
        "{outcome:?}"
    );
    assert!(process.is_aborting());
}

/// A body that does not end in time is aborted. The hook receives the failure before the process is Closed.
#[test]
fn a_body_that_exceeds_its_limit_is_aborted() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    app.on_failure(move |process, error| {
        if let Error::TimeLimit(_) = error {
            let _ = tell.send((process.label(), process.is_closed(), process.is_aborting()));
        }
    });
    let process = with_short_limit().parent(&app).spawn(|_| pending::<()>()).unwrap();
    assert_time_limit_outcome(&process);
    assert_eq!(process.reason(), Some(Reason::TimeLimit));
    assert_eq!(told.try_recv(), Ok((process.label(), false, true)));
    assert!(!app.is_closing());
    app.close_blocking().unwrap();
    assert!(told.try_recv().is_err(), "it is told once");
}

/// Past the limit, the outcome is `Error::TimeLimit`, whatever the body and the teardown return. The teardown runs.
#[test]
fn the_outcome_is_that_of_the_limit() {
    for fails in [false, true] {
        let result = move || if fails { Err("broken") } else { Ok(()) };
        let (tell, told) = mpsc::channel();
        let process = with_short_limit().teardown(move || {
            tell.send(()).unwrap();
            result()
        });
        let process = process
            .spawn_thread(move |p| {
                assert!(p.aborting().wait());
                result()
            })
            .unwrap();
        assert_time_limit_outcome(&process);
        assert_eq!(told.try_recv(), Ok(()));
    }
    // A process without a body.
    assert_time_limit_outcome(&with_short_limit().build().unwrap());
    // A limit that ends at once.
    assert_time_limit_outcome(&Process::builder().time_limit(Duration::ZERO).build().unwrap());
    let late = Process::builder().time_limit(Duration::ZERO);
    assert_time_limit_outcome(&late.spawn_thread(|p| assert!(p.is_aborting())).unwrap());
}

/// A process that is Closed in time keeps its own outcome. A limit of `Duration::MAX` never ends.
#[test]
fn a_process_that_ends_in_time_keeps_its_outcome() {
    for limit in [LIMIT, Duration::MAX] {
        let process = Process::builder().time_limit(limit).spawn_thread(|_| Err("broken")).unwrap();
        assert!(matches!(outcome(&process.closed()), Err(Error::Failed(_))));
        assert_eq!(process.reason(), Some(Reason::BodyFailed));
    }
    let process = Process::builder().time_limit(LIMIT).build().unwrap();
    process.close_blocking().unwrap();
    assert!(!process.is_aborting());
}

/// The limit also holds while the process is Closing: its reason stays, and its outcome is that of the limit.
#[test]
fn the_limit_holds_while_closing() {
    let ((parent, gate), held) = (closing(), Process::new());
    let process = with_short_limit().parent(&parent).wait_for(&held).build().unwrap();
    assert!(process.is_closing());
    assert!(process.aborting().wait_timeout(LIMIT).unwrap());
    held.close();
    assert_time_limit_outcome(&process);
    assert_eq!(process.reason(), Some(Reason::ParentClosed));

    // The limit ends during the teardown.
    let (release, released) = mpsc::channel::<()>();
    let process = with_short_limit().teardown(move || released.recv().unwrap()).build().unwrap();
    process.close();
    assert!(process.aborting().wait_timeout(LIMIT).unwrap());
    assert!(!process.is_closed());
    release.send(()).unwrap();
    assert_time_limit_outcome(&process);

    // The limit ends during the body, after the parent has begun to close.
    let child = with_short_limit().parent(&parent).spawn(|_| pending::<()>()).unwrap();
    assert_time_limit_outcome(&child);
    gate.close();
    ends_well(&parent);
}

/// A parent with `ChildFailure::Close` receives the failure of the limit once, and no other.
#[test]
fn a_parent_receives_one_failure() {
    let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
    let process = with_short_limit().parent(&app).spawn(|_| pending::<()>()).unwrap();
    let error = outcome(&app.closed()).unwrap_err();
    assert!(matches!(&error, Error::TimeLimit(label) if *label == process.label()), "{error:?}");
    assert_eq!(app.reason(), Some(Reason::ChildFailed(process.label())));
    assert_time_limit_outcome(&process);
    assert_eq!(
        error.to_string(),
        format!("{} was aborted: its time limit was over", process.label())
    );
}

/// A failure hook that blocks delays the end of the process, but not the abort.
#[test]
fn a_hook_that_blocks_does_not_delay_the_abort() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let hook = move |_: &Process, error: &Error| {
        if let Error::TimeLimit(_) = error {
            let _ = released.lock().unwrap().recv();
        }
    };
    let process = with_short_limit().on_failure(hook).build().unwrap();
    assert!(process.aborting().wait_timeout(LIMIT).unwrap());
    assert!(!process.is_closed());
    release.send(()).unwrap();
    assert_time_limit_outcome(&process);
}

/// A limit that ends while the teardown runs is a failure too, however soon the teardown ends: the parent closes for
/// it, and hooks receive it.
#[test]
fn a_limit_that_ends_during_the_teardown_is_a_failure() {
    for _ in 0..100 {
        let (tell, told) = mpsc::channel();
        let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
        app.on_failure(move |process, _| tell.send(process.label()).unwrap());
        let request = Process::builder().parent(&app).time_limit(Duration::from_millis(1));
        let request = request.build().unwrap();
        let aborting = request.aborting();
        request.set_teardown(move || assert!(aborting.wait())).unwrap();
        request.close();
        assert!(matches!(outcome(&request.closed()), Err(Error::TimeLimit(_))));
        assert!(matches!(outcome(&app.closed()), Err(Error::TimeLimit(_))));
        assert_eq!(told.recv_timeout(LIMIT), Ok(request.label()));
    }
}
