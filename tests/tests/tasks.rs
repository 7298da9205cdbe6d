//! Tasks: bodies with a value.

use std::future::pending;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use procession::{BoxError, ChildFailure, Error, Process, Reason, Task, ok_with};
use procession_tests::{LIMIT, ends_well, in_time};

/// A value that sends the name of the thread that drops it.
struct TellsWhereDropped(Sender<Option<String>>);

impl Drop for TellsWhereDropped {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().name().map(str::to_owned));
    }
}

fn telling() -> (TellsWhereDropped, Receiver<Option<String>>) {
    let (tell, told) = mpsc::channel();
    (TellsWhereDropped(tell), told)
}

/// Checks that a library thread dropped the value.
#[track_caller]
fn assert_dropped_by_the_library(told: &Receiver<Option<String>>) {
    let thread = told.recv_timeout(LIMIT).expect("it is not dropped");
    assert!(thread.as_ref().is_some_and(|name| name.starts_with("procession")), "{thread:?}");
}

/// Waits for one task as a future, and for another one as a thread.
fn both_ways<T: Send + 'static>(make: impl Fn() -> Task<T>) -> [Result<T, Error>; 2] {
    let (future, thread) = (make(), make());
    [in_time(|| block_on(future)), in_time(|| thread.wait())]
}

/// A task yields the value of its body, blocking or async, with or without a parent, after the teardown.
#[test]
fn a_task_yields_the_value_of_its_body() {
    let app = Process::new();
    for value in both_ways(|| app.spawn_task(|_| async { ok_with(1) }).unwrap()) {
        assert_eq!(value.unwrap(), 1);
    }
    for value in both_ways(|| app.spawn_task_thread(|p| ok_with(p.is_closing())).unwrap()) {
        assert!(!value.unwrap());
    }
    let named = || Process::builder().name("named");
    let task = named().parent(&app).spawn_task(|p| async move { ok_with(p.name()) }).unwrap();
    assert_eq!(task.wait().unwrap().as_deref(), Some("named"));

    let (torn_down, teardown) = mpsc::channel();
    let root = named().teardown(move || torn_down.send(()));
    let task = root.spawn_task_thread(|_| ok_with("a root")).unwrap();
    let process = task.process().clone();
    assert_eq!(task.wait().unwrap(), "a root");
    assert_eq!(teardown.try_recv(), Ok(()));
    assert_eq!(process.reason(), Some(Reason::BodyFinished));
    app.close_blocking().unwrap();
}

/// The task of a body that fails, panics or is aborted yields the error of the outcome.
#[test]
fn a_failed_task_yields_the_error_of_its_outcome() {
    let app = Process::new();
    for failed in both_ways(|| app.spawn_task_thread(|_| "many".parse::<u8>()).unwrap()) {
        assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    }
    let panics = |_: Process| -> Result<u8, BoxError> { panic!("out of paper") };
    for panicked in both_ways(|| app.spawn_task_thread(panics).unwrap()) {
        assert!(matches!(panicked, Err(Error::Panicked(_))), "{panicked:?}");
    }
    for aborted in both_ways(|| {
        let endless = app.spawn_task(|_| pending::<Result<u8, BoxError>>()).unwrap();
        endless.process().abort();
        endless
    }) {
        assert!(matches!(aborted, Err(Error::Aborted(_))), "{aborted:?}");
    }
    app.close_blocking().unwrap();
    assert!(matches!(app.spawn_task(|_| async { ok_with(1) }), Err(Error::Closed(_))));
    assert!(matches!(app.spawn_task_thread(|_| ok_with(1)), Err(Error::Closed(_))));
}

/// If the body succeeds but the outcome is an error, because of the teardown or of a child, the value is dropped.
#[test]
fn a_failed_outcome_drops_the_value() {
    let app = Process::new();
    let (value, told) = telling();
    let failing = Process::builder().parent(&app).teardown(|| Err("no flush"));
    let task = failing.spawn_task_thread(|_| ok_with(value)).unwrap();
    assert!(matches!(in_time(|| task.wait()), Err(Error::Failed(_))));
    assert_dropped_by_the_library(&told);

    let (value, told) = telling();
    let closing = Process::builder().parent(&app).on_child_failure(ChildFailure::Close);
    let task = closing
        .spawn_task(|p| async move {
            p.spawn_thread(|_| Err("broken"))?;
            ok_with(value)
        })
        .unwrap();
    assert!(matches!(in_time(|| block_on(task)), Err(Error::Failed(_))));
    assert_dropped_by_the_library(&told);
    app.close_blocking().unwrap();
}

/// Dropping a task detaches it: its body goes on, and a library thread drops the value, whether the task is dropped
/// before the body ends or after.
#[test]
fn a_dropped_task_is_detached() {
    let app = Process::new();
    let (value, told) = telling();
    let (release, released) = mpsc::channel::<()>();
    let task = app
        .spawn_task_thread(move |_| {
            released.recv()?;
            ok_with(value)
        })
        .unwrap();
    let process = task.process().clone();
    drop(task);
    assert!(!process.is_closing());
    release.send(()).unwrap();
    ends_well(&process);
    assert_dropped_by_the_library(&told);

    let (value, told) = telling();
    let task = app.spawn_task(|_| async { ok_with(value) }).unwrap();
    ends_well(task.process());
    assert!(told.try_recv().is_err(), "the value is kept for the task");
    drop(task);
    assert_dropped_by_the_library(&told);
    app.close_blocking().unwrap();
}

/// I14: a panic in the drop of a value does no harm.
#[test]
fn a_panic_in_the_drop_of_a_value_does_no_harm() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    let value = procession_tests::foreign::panics_on_drop(&tell);
    drop(app.spawn_task_thread(|_| ok_with(value)).unwrap());
    told.recv_timeout(LIMIT).unwrap();
    app.close_blocking().unwrap();
}

/// A wait that times out keeps the task and its value.
#[test]
fn a_timeout_keeps_the_task() {
    let app = Process::new();
    let (release, released) = mpsc::channel::<()>();
    let body = move |_: Process| {
        released.recv()?;
        ok_with(7)
    };
    let mut task = app.spawn_task_thread(body).unwrap();
    assert!(task.wait_timeout(Duration::ZERO).is_none());
    assert!(task.wait_deadline(std::time::Instant::now()).is_none());
    assert!(block_on(task.timeout(Duration::from_millis(1))).is_none());
    assert!(format!("{task:?}").contains("was_read: false"));
    release.send(()).unwrap();
    assert_eq!(block_on(task.timeout(LIMIT)).unwrap().unwrap(), 7);
    assert!(format!("{task:?}").contains("was_read: true"));
    app.close_blocking().unwrap();
}

/// A second wait panics.
#[test]
#[should_panic(expected = "a task yields its value once")]
fn a_task_yields_its_value_once() {
    let mut task = Process::new().spawn_task_thread(|_| ok_with(7)).unwrap();
    assert_eq!(task.wait_timeout(LIMIT).unwrap().unwrap(), 7);
    let _ = task.wait_timeout(LIMIT);
}

/// I13: a blocking wait for a process that waits for the caller is refused, and the task goes on.
#[test]
fn a_wait_that_cannot_end_is_refused() {
    let app = Process::new();
    let outer = app
        .spawn_task_thread(|p| {
            let above = p.clone();
            let inner = p.spawn_task_thread(move |_| {
                let waits = above.closed().wait();
                assert!(matches!(waits, Err(Error::Deadlock(_))), "{waits:?}");
                ok_with("inner")
            })?;
            inner.wait()
        })
        .unwrap();
    assert_eq!(in_time(|| outer.wait()).unwrap(), "inner");

    // A body cannot wait for its own task.
    let (give, take) = mpsc::channel::<Task<()>>();
    let task = app
        .spawn_task_thread(move |_| {
            let own = take.recv()?;
            let waits = own.wait();
            assert!(matches!(waits, Err(Error::Deadlock(_))), "{waits:?}");
            procession::ok()
        })
        .unwrap();
    let process = task.process().clone();
    give.send(task).unwrap();
    ends_well(&process);
    app.close_blocking().unwrap();
}

/// A task can be sent and shared wherever its value can be sent.
#[test]
fn a_task_can_be_shared_if_its_value_can_be_sent() {
    fn assert_send_and_sync<T: Send + Sync + Unpin>(_: &T) {}
    let task = Process::new().spawn_task_thread(|_| ok_with(std::cell::Cell::new(1))).unwrap();
    assert_send_and_sync(&task);
    assert_eq!(task.wait().unwrap().get(), 1);
}
