//! The time limit of a process.

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use procession::{Builder, ChildFailure, Error, Process, Reason};
use procession_tests::{LIMIT, closing, ends_well, outcome};

const SHORT: Duration = Duration::from_millis(5);

fn limited<'a>() -> Builder<'a> {
    Process::builder().time_limit(SHORT)
}

#[track_caller]
fn is_out_of_time(process: &Process) {
    let outcome = outcome(&process.closed());
    assert!(
        matches!(&outcome, Err(Error::TimeLimit(label)) if *label == process.label()),
        "{outcome:?}"
    );
    assert!(process.is_aborting());
}

/// A body that does not end is aborted; the hook hears of the end of the limit before the process is Closed.
#[test]
fn the_body_is_aborted() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    app.on_failure(move |process, error| {
        if let Error::TimeLimit(_) = error {
            let _ = tell.send((process.label(), process.is_closed(), process.is_aborting()));
        }
    });
    let process = limited().parent(&app).spawn(|_| pending::<()>()).unwrap();
    is_out_of_time(&process);
    assert_eq!(process.reason(), Some(Reason::TimeLimit));
    assert_eq!(told.try_recv(), Ok((process.label(), false, true)));
    assert!(!app.is_closing());
    app.close_blocking().unwrap();
    assert!(told.try_recv().is_err(), "it is told once");
}

/// Whatever the body and the teardown return, the outcome is that of the limit, and the teardown runs.
#[test]
fn the_outcome_is_the_limit() {
    for fails in [false, true] {
        let result = move || if fails { Err("broken") } else { Ok(()) };
        let (tell, told) = mpsc::channel();
        let process = limited().teardown(move || {
            tell.send(()).unwrap();
            result()
        });
        let process = process
            .spawn_thread(move |p| {
                assert!(p.aborting().wait());
                result()
            })
            .unwrap();
        is_out_of_time(&process);
        assert_eq!(told.try_recv(), Ok(()));
    }
    // Without a body.
    is_out_of_time(&limited().build().unwrap());
    // It is over at once.
    is_out_of_time(&Process::builder().time_limit(Duration::ZERO).build().unwrap());
    let late = Process::builder().time_limit(Duration::ZERO);
    is_out_of_time(&late.spawn_thread(|p| assert!(p.is_aborting())).unwrap());
}

/// A process that is Closed in time has its own outcome, which stays; an endless limit is none.
#[test]
fn in_time() {
    for limit in [LIMIT, Duration::MAX] {
        let process = Process::builder().time_limit(limit).spawn_thread(|_| Err("broken")).unwrap();
        assert!(matches!(outcome(&process.closed()), Err(Error::Failed(_))));
        assert_eq!(process.reason(), Some(Reason::BodyFailed));
    }
    let process = Process::builder().time_limit(LIMIT).build().unwrap();
    process.close_blocking().unwrap();
    assert!(!process.is_aborting());
}

/// The limit also holds while the process is Closing: the reason stays, and the outcome is the limit.
#[test]
fn while_closing() {
    let ((parent, gate), held) = (closing(), Process::new());
    let process = limited().parent(&parent).wait_for(&held).build().unwrap();
    assert!(process.is_closing());
    assert!(process.aborting().wait_timeout(LIMIT).unwrap());
    held.close();
    is_out_of_time(&process);
    assert_eq!(process.reason(), Some(Reason::ParentClosed));

    // In the teardown.
    let (release, released) = mpsc::channel::<()>();
    let process = limited().teardown(move || released.recv().unwrap()).build().unwrap();
    process.close();
    assert!(process.aborting().wait_timeout(LIMIT).unwrap());
    assert!(!process.is_closed());
    release.send(()).unwrap();
    is_out_of_time(&process);

    // A body under a parent that closes.
    let child = limited().parent(&parent).spawn(|_| pending::<()>()).unwrap();
    is_out_of_time(&child);
    gate.close();
    ends_well(&parent);
}

/// A parent that closes for a failed child hears of the limit once, and of nothing else.
#[test]
fn a_parent_hears_of_it() {
    let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
    let process = limited().parent(&app).spawn(|_| pending::<()>()).unwrap();
    let error = outcome(&app.closed()).unwrap_err();
    assert!(matches!(&error, Error::TimeLimit(label) if *label == process.label()), "{error:?}");
    assert_eq!(app.reason(), Some(Reason::ChildFailed(process.label())));
    is_out_of_time(&process);
    assert_eq!(
        error.to_string(),
        format!("{} was aborted: its time limit was over", process.label())
    );
}

/// A hook that blocks delays the end of the process, and not the abort.
#[test]
fn a_hook_that_blocks() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let hook = move |_: &Process, error: &Error| {
        if let Error::TimeLimit(_) = error {
            let _ = released.lock().unwrap().recv();
        }
    };
    let process = limited().on_failure(hook).build().unwrap();
    assert!(process.aborting().wait_timeout(LIMIT).unwrap());
    assert!(!process.is_closed());
    release.send(()).unwrap();
    is_out_of_time(&process);
}

/// A limit that is over while the teardown runs is a failure too: the parent closes for it, and the hooks hear of it,
/// however soon the teardown ends.
#[test]
fn a_limit_that_is_over_during_the_teardown() {
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
