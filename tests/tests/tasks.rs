//! Bodies with a value.

use std::future::pending;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use procession::{BoxError, ChildFailure, Error, Process, Reason, Task, ok_with};
use procession_tests::{LIMIT, ends_well, in_time};

/// A value that tells where it is dropped.
struct Tells(Sender<Option<String>>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().name().map(str::to_owned));
    }
}

fn telling() -> (Tells, Receiver<Option<String>>) {
    let (tell, told) = mpsc::channel();
    (Tells(tell), told)
}

/// The value was dropped by a thread of the library.
#[track_caller]
fn is_dropped_by_the_library(told: &Receiver<Option<String>>) {
    let thread = told.recv_timeout(LIMIT).expect("it is not dropped");
    assert!(thread.as_ref().is_some_and(|name| name.starts_with("procession")), "{thread:?}");
}

/// Waits for a task as a future and as a thread.
fn both_ways<T: Send + 'static>(make: impl Fn() -> Task<T>) -> [Result<T, Error>; 2] {
    let (future, thread) = (make(), make());
    [in_time(|| block_on(future)), in_time(|| thread.wait())]
}

/// A task yields the value of its body, sync or async, under a parent or on its own, after the teardown.
#[test]
fn values() {
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

/// A body that fails, panics or is aborted yields the error of the outcome.
#[test]
fn errors() {
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

/// The value is dropped if the outcome is an error for another reason: a teardown, or a child that it closed for.
#[test]
fn a_value_without_an_outcome() {
    let app = Process::new();
    let (value, told) = telling();
    let failing = Process::builder().parent(&app).teardown(|| Err("no flush"));
    let task = failing.spawn_task_thread(|_| ok_with(value)).unwrap();
    assert!(matches!(in_time(|| task.wait()), Err(Error::Failed(_))));
    is_dropped_by_the_library(&told);

    let (value, told) = telling();
    let closing = Process::builder().parent(&app).on_child_failure(ChildFailure::Close);
    let task = closing
        .spawn_task(|p| async move {
            p.spawn_thread(|_| Err("broken"))?;
            ok_with(value)
        })
        .unwrap();
    assert!(matches!(in_time(|| block_on(task)), Err(Error::Failed(_))));
    is_dropped_by_the_library(&told);
    app.close_blocking().unwrap();
}

/// A task that is dropped is detached: its body goes on, and a thread of the library drops the value, whether the task
/// is dropped before the body ends or after.
#[test]
fn detached() {
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
    is_dropped_by_the_library(&told);

    let (value, told) = telling();
    let task = app.spawn_task(|_| async { ok_with(value) }).unwrap();
    ends_well(task.process());
    assert!(told.try_recv().is_err(), "the value is kept for the task");
    drop(task);
    is_dropped_by_the_library(&told);
    app.close_blocking().unwrap();
}

/// A value whose drop panics harms nothing (I14).
#[test]
fn a_value_whose_drop_panics() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    let value = procession_tests::foreign::panics_on_drop(&tell);
    drop(app.spawn_task_thread(|_| ok_with(value)).unwrap());
    told.recv_timeout(LIMIT).unwrap();
    app.close_blocking().unwrap();
}

/// Waiting with a timeout keeps the task, and its value.
#[test]
fn timeouts_keep_the_task() {
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

/// A task yields once.
#[test]
#[should_panic(expected = "a task yields its value once")]
fn a_second_yield() {
    let mut task = Process::new().spawn_task_thread(|_| ok_with(7)).unwrap();
    assert_eq!(task.wait_timeout(LIMIT).unwrap().unwrap(), 7);
    let _ = task.wait_timeout(LIMIT);
}

/// I13: a blocking wait for a task that waits for the caller is refused, and the task goes on.
#[test]
fn a_wait_that_cannot_end() {
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

    // A body that waits for its own task.
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
fn tasks_go_anywhere() {
    fn goes_anywhere<T: Send + Sync + Unpin>(_: &T) {}
    let task = Process::new().spawn_task_thread(|_| ok_with(std::cell::Cell::new(1))).unwrap();
    goes_anywhere(&task);
    assert_eq!(task.wait().unwrap().get(), 1);
}
