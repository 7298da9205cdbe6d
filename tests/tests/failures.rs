//! Panics and errors become outcomes (I7), and threads that the OS cannot create lose nothing (I15).

use std::panic::panic_any;
use std::sync::mpsc;

use procession::{Error, Process};
use procession_tests::{Events, LIMIT, ends_well, outcome};

fn panic_message(error: &Error) -> &str {
    match error {
        Error::Panicked(panicked) => panicked.message(),
        other => panic!("{other:?}"),
    }
}

/// I7: a panic in a thread body, an async body or a teardown of either kind becomes the outcome, and closing continues.
#[test]
fn a_panic_is_caught_and_the_closing_goes_on() {
    let events = Events::default();
    let app = Process::with_teardown(events.adder("app"));
    let thread = app.spawn_thread(|_| panic!("in a thread")).unwrap();
    let task = app.spawn(|_| async { panic!("in a task") }).unwrap();
    let early = app.spawn(|_| -> std::future::Ready<()> { panic!("before the task") }).unwrap();
    let blocking = app.child();
    blocking.set_teardown(|| panic!("in a teardown")).unwrap();
    let polled = app.child();
    polled.set_teardown_async(|| async { panic!("in an async teardown") }).unwrap();
    for child in [&thread, &task, &early] {
        assert!(child.closed().wait_timeout(LIMIT).is_some());
    }
    app.close_blocking().unwrap();
    assert_eq!(events.all(), ["app"]);
    let panics = [
        (thread, "in a thread"),
        (task, "in a task"),
        (early, "before the task"),
        (blocking, "in a teardown"),
        (polled, "in an async teardown"),
    ];
    for (child, expected) in panics {
        assert_eq!(panic_message(&outcome(&child.closed()).unwrap_err()), expected);
    }
}

/// I7: the same for a payload that is not a string, and for one whose drop panics.
#[test]
fn a_panic_with_any_payload_is_caught() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic_any(PanicsOnDrop);
        }
    }
    let process = Process::with_teardown(|| panic_any(7));
    assert!(panic_message(&process.close_blocking().unwrap_err()).contains("not a string"));
    let process = Process::with_teardown(|| panic_any(PanicsOnDrop));
    assert!(panic_message(&process.close_blocking().unwrap_err()).contains("not a string"));
    let process = Process::with_teardown(|| panic!("{}", String::from("formatted")));
    assert_eq!(panic_message(&process.close_blocking().unwrap_err()), "formatted");
}

/// I7: after a panic in a nested teardown, all other teardowns still run, and no lock is poisoned.
#[test]
fn a_panic_in_a_nested_teardown_stops_no_other() {
    let events = Events::default();
    let app = Process::with_teardown(events.adder("app"));
    let server = app.child();
    server.set_teardown(|| panic!("server")).unwrap();
    let connection = server.child();
    let inner = Process::with_teardown(|| panic!("inner"));
    let (caught, seen) = mpsc::channel();
    connection
        .set_teardown(move || {
            caught.send(inner.close_blocking().is_err()).unwrap();
            panic!("connection")
        })
        .unwrap();
    let sibling = app.child();
    sibling.set_teardown(events.adder("sibling")).unwrap();
    app.close_blocking().unwrap();
    assert_eq!(seen.recv_timeout(LIMIT), Ok(true));
    let mut all = events.all();
    all.sort_unstable();
    assert_eq!(all, ["app", "sibling"]);
    assert!(server.outcome().unwrap().is_err() && connection.outcome().unwrap().is_err());
    app.closed().wait().unwrap();
}

/// I7: a future panics while an abort drops it. The panic becomes the outcome.
#[test]
fn a_panic_in_the_drop_of_a_future_is_caught() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let app = Process::new();
    let (here, there) = mpsc::channel();
    let task = app
        .spawn(move |_| async move {
            let _loud = PanicsWhenDropped;
            here.send(()).unwrap();
            std::future::pending::<()>().await;
        })
        .unwrap();
    there.recv_timeout(LIMIT).unwrap();
    outcome(&app.abort()).unwrap();
    assert!(matches!(task.outcome(), Some(Err(Error::Aborted(_)))));
}

/// A second teardown is refused, and the first one still runs.
#[test]
fn a_second_teardown_is_refused() {
    let events = Events::default();
    let process = Process::with_teardown(events.adder("first"));
    let second = process.set_teardown(|| panic!("run"));
    assert!(matches!(second, Err(Error::TeardownSet(_))));
    let second = process.set_teardown_async(|| async { panic!("run") });
    assert!(matches!(second, Err(Error::TeardownSet(_))));
    process.close_blocking().unwrap();
    assert_eq!(events.all(), ["first"]);
}

/// A teardown that is set on a Closed process runs at once. The call returns its result, and the outcome does not
/// change.
#[test]
fn a_teardown_set_on_a_closed_process_runs_at_once() {
    let events = Events::default();
    let closed = || {
        let process = Process::new();
        process.close_blocking().unwrap();
        process
    };
    let process = closed();
    process.set_teardown(events.adder("blocking")).unwrap();
    let process = closed();
    let add = events.adder("async");
    process.set_teardown_async(move || async move { add() }).unwrap();
    assert_eq!(events.all(), ["blocking", "async"]);
    assert!(matches!(process.set_teardown(|| panic!("run")), Err(Error::TeardownSet(_))));
    let process = closed();
    let failed = process.set_teardown(|| Err("late"));
    assert!(failed.unwrap_err().with_causes().to_string().ends_with("failed: late"));
    assert!(process.outcome().unwrap().is_ok());
    let process = closed();
    assert!(matches!(process.set_teardown(|| panic!("late")), Err(Error::Panicked(_))));
    assert!(process.outcome().unwrap().is_ok());
}

/// If a body returns an error of this crate, that error becomes the outcome unchanged. An outcome keeps its source.
#[test]
fn errors_keep_their_source() {
    use std::error::Error as _;
    let app = Process::builder().name("app").build().unwrap();
    let (fail, gate) = mpsc::channel::<()>();
    let inner = app.spawn_thread(move |_| {
        let _told = gate.recv();
        Err(std::io::Error::other("disk"))
    });
    let inner = inner.unwrap();
    // While it is open, because a Closed process has no parents.
    let inner_label = inner.label();
    drop(fail);
    let outer = app.spawn_thread(move |_| inner.closed().wait()).unwrap();
    let error = outcome(&outer.closed()).unwrap_err();
    let label = inner_label.to_string();
    assert_eq!(error.to_string(), format!("{label} failed"));
    assert_eq!(error.with_causes().to_string(), format!("{label} failed: disk"));
    assert!(error.source().unwrap().is::<std::io::Error>());
    app.close_blocking().unwrap();
}

/// I15: if the OS cannot create a thread, a thread body is refused with an error, and teardowns run on the thread that
/// waits for them.
#[test]
fn without_threads_bodies_are_refused_and_teardowns_run() {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_no-threads"))
        // No thread can have a stack of this size.
        .env("RUST_MIN_STACK", (1_u64 << 60).to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

/// A thread is named after its process or, if the process has no name, after the line that spawned it.
#[test]
fn a_thread_is_named_after_its_process() {
    let app = Process::builder().name("app").build().unwrap();
    let (give, take) = mpsc::channel();
    let tell = move |_| give.send(std::thread::current().name().map(str::to_owned)).unwrap();
    let named = Process::builder().name("poller").parent(&app).spawn_thread(tell.clone()).unwrap();
    assert_eq!(take.recv_timeout(LIMIT).unwrap().as_deref(), Some("poller"));
    ends_well(&named);
    let (unnamed, line) = (app.spawn_thread(tell).unwrap(), line!());
    assert_eq!(take.recv_timeout(LIMIT).unwrap(), Some(format!("failures.rs:{line}")));
    ends_well(&unnamed);
}
