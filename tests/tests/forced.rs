//! A deadline that had to abort adds `Error::Forced` to the outcome of the process on which it was set, and to no other
//! (I17).

use std::future::pending;
use std::time::Duration;

use procession::{ChildFailure, Error, Forced, Process};
use procession_tests::{LIMIT, outcome};

const SOON: Duration = Duration::from_millis(10);

/// The `Forced` in the outcome of the process, if there is one.
fn forced(process: &Process) -> Option<Forced> {
    match outcome(&process.closed()) {
        Ok(()) => None,
        Err(Error::Forced(forced)) => Some(forced),
        Err(other) => panic!("{other:?}"),
    }
}

/// I17: `Forced` has the names of the first 16 processes that did not end, and the count of all.
#[test]
fn forced_names_what_did_not_end() {
    let app = Process::builder().name("app").build().unwrap();
    for letter in 'a'..='t' {
        let stuck = Process::builder().name(letter.to_string()).parent(&app);
        stuck.spawn(|_| pending::<()>()).unwrap();
        // A process that does end.
        app.spawn(|p| async move { p.closing().await }).unwrap();
    }
    drop(app.close_within(SOON));
    let forced = forced(&app).unwrap();
    assert_eq!((forced.total(), forced.names().count(), forced.grace()), (20, 16, SOON));
    assert!(forced.names().all(|name| name.starts_with("app › ")), "{forced}");
    assert_eq!(forced.process(), &app.label());
    let text = "process `app` was closed by force after 10 ms: 20 processes were aborted (app › ";
    assert!(forced.to_string().starts_with(text), "{forced}");
}

/// I17: a process at the other end of a wait-for edge is not aborted, so `Forced` does not name it.
#[test]
fn forced_names_only_what_was_aborted() {
    let app = Process::builder().name("app").build().unwrap();
    let elsewhere = Process::builder().name("elsewhere").spawn(|_| pending::<()>()).unwrap();
    elsewhere.close();
    app.wait_for(&elsewhere).unwrap();
    Process::builder().name("below").parent(&app).spawn(|_| pending::<()>()).unwrap();
    drop(app.close_within(SOON));
    app.aborting().wait_timeout(LIMIT).unwrap();
    elsewhere.abort();
    assert_eq!(forced(&app).unwrap().names().collect::<Vec<_>>(), ["app › below"]);
}

/// I17: `Forced` does not close a parent with `ChildFailure::Close`, and calls of `abort` add no `Forced`.
#[test]
fn forced_is_no_failure_of_a_child() {
    let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
    let batch = app.child();
    let stuck = batch.spawn(|_| pending::<()>()).unwrap();
    drop(batch.close_within(SOON));
    assert_eq!(forced(&batch).unwrap().total(), 1);
    assert!(matches!(stuck.outcome(), Some(Err(Error::Aborted(_)))));
    assert!(!app.is_closing());

    let other = app.child();
    other.spawn(|_| pending::<()>()).unwrap();
    drop(other.close_within(LIMIT));
    other.abort();
    assert!(forced(&other).is_none());
    let third = app.child();
    third.spawn(|_| pending::<()>()).unwrap();
    drop(third.close_within(Duration::ZERO));
    assert!(forced(&third).is_some());
    app.close_blocking().unwrap();
}

/// I17: the end of the grace races with the end of the body. The outcome has `Forced` exactly if the process was
/// aborted.
#[test]
fn forced_is_in_the_outcome_exactly_if_the_process_was_aborted() {
    let grace = Duration::from_millis(2);
    let processes: Vec<_> = (0..200_u32)
        .map(|number| {
            let process = Process::new();
            let end = Process::new();
            process.wait_for(&end).unwrap();
            drop(process.close_within(grace));
            // Between 1 and 3 ms.
            let delay = Duration::from_micros(u64::from(1_000 + 10 * number));
            end.spawn(|_| pending::<()>()).unwrap();
            drop(end.close_within(delay));
            (process, end)
        })
        .collect();
    for (process, _end) in &processes {
        assert_eq!(forced(process).is_some(), process.is_aborting());
    }
}
