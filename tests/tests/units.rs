//! Supervised units in a program with `Main`: a failure that nobody handles is reported and changes the exit status
//! (I17), and a report of a slow closing continues into the units.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use procession::{Main, Process};
use procession_runnable::{Start, body, body_thread};
use procession_supervisor::{Manager, MemoryTable, OnFailure, Supervisor, Unit};
use procession_tests::LIMIT;

const FILE: &str = "tests/src/bin/units.rs";

/// Runs the program: its exit status, and its lines about failures, without the sites.
fn run(supervisor: &str, how: &str, taker: &str) -> (Option<i32>, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_units"));
    let output = command.args([supervisor, how, taker]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let called = String::from_utf8(output.stdout).unwrap().lines().count();
    match (taker, how) {
        ("hook", "too-often") => assert_eq!(called, 2, "once for each failure"),
        ("hook", _) => assert_eq!(called, 1),
        _ => assert_eq!(called, 0),
    }
    // The last line may be the outcome of the program. The panic hook prints lines of its own.
    let failures = errors.lines().filter_map(|line| match line.strip_prefix("app: ") {
        Some(said) => (!said.starts_with("closed in ")).then_some(said),
        None => line.starts_with("process `").then_some(line),
    });
    (output.status.code(), failures.map(without_sites).collect())
}

/// The line without the site of the failure, and without that of the unnamed run of the supervisor.
fn without_sites(line: &str) -> String {
    let line = line.split(&format!(" ({FILE}:")).next().unwrap_or(line);
    match line.split_once(&format!(" › {FILE}:")) {
        Some((app, rest)) => format!("{app}{}", rest.trim_start_matches(char::is_numeric)),
        None => line.to_owned(),
    }
}

const JOB: &str = "app › jobs › units › job";

/// A unit that has failed and will not be restarted is reported once, and `Main` exits with status 1.
#[test]
fn a_failure_that_is_final_is_reported() {
    for supervisor in ["manager", "set"] {
        for (how, what) in [
            ("temporary", "failed: disk full"),
            ("not-restarted", "failed: disk full"),
            ("final", "failed: the unit must not be restarted: disk full"),
            ("panics", "panicked: out of paper"),
        ] {
            let expected = (Some(1), vec![format!("{JOB} {what}")]);
            assert_eq!(run(supervisor, how, "nobody"), expected, "{supervisor} {how}");
        }
        let (status, said) = run(supervisor, "unready", "nobody");
        assert_eq!((status, said.len()), (Some(1), 1), "{said:?}");
        assert!(said[0].starts_with(&format!("{JOB} failed: ")), "{said:?}");
        // The error that the unit returns is about another process.
        let (status, said) = run(supervisor, "refused", "nobody");
        let expected =
            "app › jobs failed: unit `job` failed, and is not restarted: process `other`";
        assert_eq!((status, said.len()), (Some(1), 1), "{said:?}");
        assert!(said[0].starts_with(expected), "{said:?}");
    }
}

/// A unit that is given up is reported, even if it never failed. If its manager or set closes because of that, the
/// outcome names the unit instead.
#[test]
fn a_unit_that_is_given_up_is_reported() {
    let (often, cause) = ("unit `job` was restarted too often", "process `job` failed: disk full");
    let (status, said) = run("manager", "too-often", "nobody");
    assert_eq!(status, Some(1));
    assert_eq!(said, [format!("app › jobs failed: {often}: {cause}")]);
    let (status, said) = run("manager", "ends-too-often", "nobody");
    assert_eq!((status, said), (Some(1), vec![format!("app › jobs failed: {often}")]));
    for supervisor in ["strict-manager", "set"] {
        for (how, what) in [
            ("too-often", format!("{often}: {cause}")),
            ("ends-too-often", often.to_owned()),
            ("closes-all", format!("unit `job` failed, so everything closes: {cause}")),
        ] {
            let expected = (Some(1), vec![format!("process `jobs` failed: {what}")]);
            assert_eq!(run(supervisor, how, "nobody"), expected, "{supervisor} {how}");
        }
    }
}

/// Nothing is reported if there is no failure, if a restart handles it, or if a hook, a reader of the events or a
/// caller takes it.
#[test]
fn a_failure_that_is_handled_is_not_reported() {
    for supervisor in ["manager", "set"] {
        for (how, taker) in [
            ("ends", "nobody"),
            ("fails-once", "nobody"),
            // What an abort drops has not failed.
            ("aborts-itself", "nobody"),
            ("temporary", "hook"),
            ("refused", "hook"),
            ("unready", "hook"),
            ("temporary", "reader"),
        ] {
            assert_eq!(
                run(supervisor, how, taker),
                (Some(0), vec![]),
                "{supervisor} {how} {taker}"
            );
        }
    }
    for (how, taker) in [
        ("too-often", "hook"),
        ("too-often", "reader"),
        ("ends-too-often", "hook"),
        ("ends-too-often", "reader"),
        ("fails-when-called", "caller"),
    ] {
        assert_eq!(run("manager", how, taker), (Some(0), vec![]), "{how} {taker}");
    }
}

/// The failure was left to a caller, whose future was dropped with the answer in it.
#[test]
fn a_failure_in_an_answer_that_is_not_read_is_reported() {
    let expected = (Some(1), vec![format!("{JOB} failed: disk full")]);
    assert_eq!(run("manager", "fails-when-called", "forgetful-caller"), expected);
}

/// A failure that was left to a caller as well as to a restart is handled by the one that comes first.
#[test]
fn a_failure_in_an_answer_is_reported_if_no_restart_comes_either() {
    for (taker, is_reported) in
        [("forgetful-caller", true), ("forgetful-caller-and-restarter", false), ("caller", false)]
    {
        let said = is_reported.then(|| format!("{JOB} failed: disk full"));
        let expected = (Some(i32::from(is_reported)), said.into_iter().collect());
        assert_eq!(run("manager", "called-and-waits", taker), expected, "{taker}");
    }
}

/// A restart handles a failure only if it comes.
#[test]
fn a_failure_whose_restart_is_cancelled_is_reported() {
    for (supervisor, taker, is_reported) in [
        // Everything closes during the pause.
        ("manager", "nobody", true),
        ("set", "nobody", true),
        ("manager", "stopper", true),
        ("manager", "remover", true),
        ("manager", "restarter", false),
        ("manager", "reader", false),
        ("set", "reader", false),
        ("set", "hook", false),
    ] {
        let said: Vec<_> =
            is_reported.then(|| format!("{JOB} failed: disk full")).into_iter().collect();
        let expected = (Some(i32::from(is_reported)), said);
        assert_eq!(run(supervisor, "fails-and-waits", taker), expected, "{supervisor} {taker}");
    }
}

/// An error that a unit returns while it stops is no failure of the unit, but it is not lost. An abort is no error.
#[test]
fn an_error_of_a_unit_that_stops_is_reported() {
    for supervisor in ["manager", "set"] {
        for (how, taker, expected) in [
            ("fails-in-stop", "nobody", Some("failed: disk full")),
            ("panics-in-stop", "nobody", Some("panicked: out of paper")),
            ("fails-in-stop", "reader", None),
            ("fails-in-stop", "hook", None),
            ("aborted-in-stop", "nobody", None),
        ] {
            let status = i32::from(expected.is_some());
            let said: Vec<_> = expected.into_iter().map(|what| format!("{JOB} {what}")).collect();
            let case = format!("{supervisor} {how} {taker}");
            assert_eq!(run(supervisor, how, taker), (Some(status), said), "{case}");
        }
    }
    for (taker, reported) in [
        ("caller-of-stop", false),
        ("forgetful-caller-of-stop", true),
        // The restart handles the error of the first run, and the caller of the stop that of the second.
        ("restarter", false),
    ] {
        let (status, said) = run("manager", "fails-in-stop", taker);
        assert_eq!(
            (status, said.len()),
            (Some(i32::from(reported)), usize::from(reported)),
            "{taker}"
        );
    }
}

/// The outcome of a manager or a set names the units that are stuck in the sets below.
#[test]
fn a_stuck_unit_of_a_nested_set_is_named() {
    for supervisor in ["manager", "set"] {
        let what = "failed: aborted, and has not ended: `job/thread`";
        let expected = (Some(1), vec![format!("process `jobs` {what}")]);
        for taker in ["nobody", "reader"] {
            assert_eq!(run(supervisor, "stuck-below", taker), expected, "{supervisor} {taker}");
        }
    }
}

/// While a body is blocked in `run_blocking`, what it waits for are the units of the manager.
#[test]
fn a_blocking_run_shows_what_it_waits_for() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let job = body_thread(move |run| {
        run.ready();
        let _released = released.lock().unwrap().recv();
    });
    let table = MemoryTable::new();
    table.insert("job", Unit::new(job).grace(Duration::MAX));
    let manager = Manager::builder(table).name("jobs").start_limit(Duration::MAX).build();
    let mut events = manager.events();
    let app = Process::builder().name("app").build().unwrap();
    let caller = Process::builder().name("caller").parent(&app);
    caller.spawn_thread(move |p| manager.run_blocking(|_| p.closing().wait())).unwrap();
    while events.recv_blocking().unwrap().kind() != "ready" {}
    app.close();
    while events.recv_blocking().unwrap().kind() != "stopping" {}
    let blockers = app.blockers(16).to_string();
    let job = " › jobs ⇢ units › job: thread body `job`";
    let of_job = blockers.lines().find(|line| line.contains(job));
    assert!(of_job.is_some_and(|line| line.starts_with("app › caller ⇢ ")), "{blockers}");
    drop(release);
    assert!(app.closed().wait_timeout(LIMIT).unwrap().is_ok());
}

/// A set closes because of a unit that has a hook of its own. Nothing above the set has heard of it, so its own failure
/// is reported.
#[test]
fn a_hook_below_a_set_does_not_handle_the_failure_of_the_set() {
    let (tell, told) = channel();
    let unit = Unit::new(body(move |run| {
        let tell = tell.clone();
        async move {
            run.process().on_failure(move |_, error| drop(tell.send(error.to_string())));
            run.ready();
            Err::<(), _>("disk full")
        }
    }));
    let set = Supervisor::one_for_one([("job", unit.on_failure(OnFailure::CloseAll))]);
    let exit = Main::new().signals([]).no_exit().quiet().run(move |app| {
        let (start, _readiness) = Start::under(&app);
        let run = set.runnable().start(start)?;
        assert!(run.closed().wait_timeout(LIMIT).is_some());
        procession::ok()
    });
    told.recv_timeout(LIMIT).unwrap();
    assert_eq!(exit.code(), 1);
}
