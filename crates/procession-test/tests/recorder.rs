//! The check of the order of closing, and its messages about a wrong order.

use std::panic::{AssertUnwindSafe, catch_unwind};

use procession::Process;
use procession_test::{Recorder, TestApp, Which, assert_closed_in_order};

/// The message of the check, which must fail.
#[track_caller]
fn message_of_failed_check(recorder: &Recorder, order: &[Which]) -> String {
    let check = AssertUnwindSafe(|| recorder.assert_closed_in_order(order));
    *catch_unwind(check).expect_err("the check should fail").downcast::<String>().unwrap()
}

fn part<'a>(name: &str, app: &'a Process) -> procession::Builder<'a> {
    Process::builder().name(name.to_owned()).parent(app)
}

#[test]
fn handles_names_and_paths_are_taken() {
    let app = TestApp::new();
    let server = part("server", &app).teardown(|| ()).build().unwrap();
    let sessions = [(); 3].map(|()| part("session", &server).build().unwrap());
    let log = part("log", &app).wait_for(&server).teardown_async(|| async {}).build().unwrap();
    app.close_and_run().unwrap();
    let recorder = app.recorder();
    assert_closed_in_order!(recorder, ["session", &server, log, app.process()]);
    assert_closed_in_order!(recorder, [sessions[0], "app/server", String::from("log"), "app"]);
    assert_closed_in_order!(app.recorder(), []);
}

#[test]
fn a_wrong_order_is_shown() {
    let app = TestApp::new();
    let db = part("db", &app).teardown(|| ()).build().unwrap();
    let _server = part("server", &app).wait_for(&db).teardown(|| ()).build().unwrap();
    app.close_and_run().unwrap();
    let text = message_of_failed_check(app.recorder(), &["server".into_which(), "db".into_which()]);
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with(
            "process `server` should be Closed before process `db` begins its teardown, but it was Closed "
        ) && first.ends_with(" later"),
        "{text}"
    );
    let order =
        ["app › db: its teardown started", "app › db: closed", "app › server: its teardown"];
    let mut rest = text.as_str();
    for line in order {
        let at = rest.find(line).unwrap_or_else(|| panic!("no `{line}` in its place:\n{text}"));
        rest = &rest[at..];
    }
    let text =
        message_of_failed_check(app.recorder(), &[Which::from(app.process()), Which::from(&db)]);
    assert!(text.starts_with("process `app` should be Closed before process `"), "{text}");
}

#[test]
fn processes_that_overlap_are_not_in_order() {
    let app = TestApp::new();
    let recorder = app.recorder();
    let outer = part("outer", &app).build().unwrap();
    let inner = part("inner", &outer).build().unwrap();
    app.close_and_run().unwrap();
    assert_closed_in_order!(recorder, [inner, outer]);
    message_of_failed_check(recorder, &[Which::from(&outer), Which::from(&inner)]);
}

#[test]
fn an_open_process_and_an_unknown_name_are_reported() {
    let app = TestApp::new();
    let recorder = app.recorder();
    let _db = part("db", &app).build().unwrap();
    let text = message_of_failed_check(recorder, &["db".into_which()]);
    assert!(text.starts_with("process `db` is not Closed"), "{text}");
    let text = message_of_failed_check(recorder, &["cache".into_which()]);
    assert!(text.starts_with("process `cache` is not among the processes: app"), "{text}");
    app.close_and_run().unwrap();
    assert_closed_in_order!(recorder, ["db", "app"]);
}

#[test]
fn a_name_waits_for_all_that_have_it() {
    let app = TestApp::new();
    let first = part("session", &app).build().unwrap();
    let _second = part("session", &app).build().unwrap();
    first.close();
    app.executor().block_on(first.closed()).unwrap();
    let text = message_of_failed_check(app.recorder(), &["session".into_which()]);
    assert!(text.starts_with("process `session` is not Closed"), "{text}");
    app.close_and_run().unwrap();
    assert_closed_in_order!(app.recorder(), ["session", "app"]);
}

#[test]
fn a_handle_does_not_stand_for_an_earlier_process_with_its_id() {
    let app = TestApp::new();
    let first = part("first", &app).build().unwrap();
    let id = first.id();
    first.close();
    app.executor().block_on(first.closed()).unwrap();
    drop(first);
    let processes: Vec<_> = (0..1_000).map(|_| part("later", &app).build().unwrap()).collect();
    // The new process usually gets the memory of the first one, and with it the id, unless another test is faster.
    let Some(last) = processes.iter().find(|process| process.id() == id) else { return };
    let middle = part("middle", &app).build().unwrap();
    last.wait_for(&middle).unwrap();
    app.close_and_run().unwrap();
    assert_closed_in_order!(app.recorder(), [middle, last]);
}

trait IntoWhich {
    fn into_which(self) -> Which;
}

impl IntoWhich for &str {
    fn into_which(self) -> Which {
        Which::from(&self)
    }
}
