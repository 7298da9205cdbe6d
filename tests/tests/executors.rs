//! Async bodies and waiters under every executor, and with every spawner.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use procession::{Error, Inline, Job, Phase, Process, Reason, Smol, Threads};
use procession_tests::{Events, LIMIT, ends_well, outcome};

/// Checks the async functions of `app`, whose spawner is under test, on the executor that polls this.
async fn assert_works(app: Process) {
    let events = Events::default();

    // Bodies on the spawner: their parent closes them, and its async teardown runs after them.
    let session = app
        .spawn(|p| async move {
            p.closing().await;
            assert_eq!(p.reason(), Some(Reason::ParentClosed));
        })
        .unwrap();
    let torn_down = events.adder("session");
    session.set_teardown_async(move || async move { torn_down() }).unwrap();

    // A body in this task, which need not be `Send`, and which has a child.
    let shared = Rc::new(Cell::new(0));
    let seen = shared.clone();
    app.run(|p| async move {
        let child = p.spawn(|_| async { Ok::<(), Error>(()) }).unwrap();
        child.closed().await.unwrap();
        seen.set(1);
    })
    .await
    .unwrap();
    assert_eq!(shared.get(), 1);
    let failed = app.run(|_| async { Err("failed") }).await;
    assert!(matches!(failed, Err(Error::Failed(_))));
    let panicked = app.run(|_| async { panic!("panicked") }).await;
    assert!(matches!(panicked, Err(Error::Panicked(_))));

    // Closing drops an unfinished future.
    assert_eq!(app.run_until_closing(async { 7 }).await, Some(7));
    let until = app.run_until_closing(pending::<()>());

    // A thread wakes waiters.
    let other = Process::new();
    let closing = other.closing();
    let closer = thread::spawn(move || drop(other));
    closing.await;
    closer.join().unwrap();

    // An abort drops the body.
    let stuck = app.spawn(|_| pending::<()>()).unwrap();
    assert!(matches!(stuck.abort().await, Err(Error::Aborted(_))));
    app.aborting().wait_timeout(Duration::ZERO);

    app.set_teardown(events.adder("app")).unwrap();
    let closed = app.close();
    assert_eq!(until.await, None);
    closed.await.unwrap();
    app.closed().await.unwrap();
    session.closed().await.unwrap();
    assert_eq!(events.all(), ["session", "app"]);
}

/// Handles and waiters are `Send`, `Sync`, `Unpin` and `'static`.
#[test]
fn handles_and_waiters_can_be_sent() {
    fn assert_send_and_sync<T: Send + Sync + Unpin + 'static>(_: &T) {}
    let process = Process::new();
    assert_send_and_sync(&process);
    assert_send_and_sync(&(process.closing(), process.closed(), process.aborting()));
    assert_send_and_sync(&process.close().wait());
    assert_send_and_sync(&process.clone().close_on_drop());
}

#[test]
fn under_tokio_with_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(async { assert_works(Process::new()).await });
}

#[test]
fn under_tokio_with_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { assert_works(Process::new()).await });
}

#[test]
fn under_smol() {
    smol::block_on(assert_works(Process::builder().spawner(Smol).build().unwrap()));
    smol::block_on(assert_works(Process::new()));
}

#[test]
fn under_futures_lite() {
    futures_lite::future::block_on(assert_works(Process::new()));
}

#[test]
fn under_pollster() {
    pollster::block_on(assert_works(Process::new()));
}

#[test]
fn under_a_local_pool() {
    futures::executor::LocalPool::new().run_until(assert_works(Process::new()));
}

#[test]
fn with_the_threads_spawner() {
    futures_lite::future::block_on(assert_works(
        Process::builder().spawner(Threads).build().unwrap(),
    ));
}

#[test]
fn with_a_closure_that_starts_threads() {
    let spawner = |job: Job| drop(thread::spawn(move || job.run()));
    futures_lite::future::block_on(assert_works(
        Process::builder().spawner(spawner).build().unwrap(),
    ));
}

#[test]
fn with_the_inline_spawner() {
    futures_lite::future::block_on(assert_works(
        Process::builder().spawner(Inline).build().unwrap(),
    ));
}

/// Feature `tokio`: a process made in a tokio context uses that context's handle, so tokio's timers work in its bodies
/// and teardowns.
#[test]
fn tokios_timers_work_in_bodies_and_teardowns() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    let (give, take) = mpsc::channel();
    let app = runtime.block_on(async {
        let app = Process::builder().name("app").build().unwrap();
        let at_end = give.clone();
        let child = app.child();
        child
            .set_teardown_async(move || async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                at_end.send("teardown").unwrap();
            })
            .unwrap();
        app.spawn(move |_| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            give.send("body").unwrap();
        })
        .unwrap()
        .closed()
        .await
        .unwrap();
        drop(child);
        app
    });
    // They also work if the call comes from outside the runtime.
    app.close_blocking().unwrap();
    assert_eq!(take.iter().collect::<Vec<_>>(), ["body", "teardown"]);
}

/// A child inherits its parent's spawner, at any depth, unless it is given one of its own.
#[test]
fn a_child_inherits_its_parents_spawner() {
    let jobs = Arc::new(AtomicUsize::new(0));
    let counter = jobs.clone();
    let app = Process::builder()
        .spawner(move |job: Job| {
            counter.fetch_add(1, Ordering::SeqCst);
            job.run();
        })
        .build()
        .unwrap();
    let child = app.child();
    let named = Process::builder().name("named").parent(&child).build().unwrap();
    let own = Process::builder().spawner(Inline).parent(&child).build().unwrap();
    for process in [&child, &named, &own] {
        process.set_teardown(|| ()).unwrap();
    }
    ends_well(&named.spawn(|_| async {}).unwrap());
    ends_well(&own.spawn(|_| async {}).unwrap());
    app.close_blocking().unwrap();
    assert_eq!(jobs.load(Ordering::SeqCst), 3);
}

/// Dropping the future of `run` before it ends closes its process with the outcome `Aborted`, even if the future was
/// never polled.
#[test]
fn dropping_an_unfinished_run_aborts_its_process() {
    for polls in [0, 1, 2] {
        let app = Process::new();
        let dropping = Arc::new(AtomicBool::new(false));
        let kept = Arc::new(Mutex::new(None::<Process>));
        let keep = kept.clone();
        let run = app.run(|p| async move {
            *keep.lock().unwrap() = Some(p);
            pending::<()>().await;
        });
        {
            let mut run = Box::pin(run);
            for _ in 0..polls {
                let polled = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
            }
            // The parent waits for the body, so its teardown runs after the future is dropped.
            let seen = dropping.clone();
            app.set_teardown(move || assert!(seen.load(Ordering::SeqCst))).unwrap();
            app.close();
            assert_eq!(app.phase(), Phase::Closing);
            dropping.store(true, Ordering::SeqCst);
        }
        ends_well(&app);
        if let Some(child) = kept.lock().unwrap().take() {
            assert!(matches!(child.outcome(), Some(Err(Error::Aborted(_)))));
        }
    }
}

/// I2: a runtime that is shut down drops its jobs. The bodies' outcome is `Aborted`, and every teardown still runs.
#[test]
fn a_runtime_that_is_shut_down_loses_nothing() {
    let events = Events::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    let app = runtime.block_on(async { Process::new() });
    let (give, take) = mpsc::channel();
    let body = app
        .spawn(move |_| async move {
            give.send(()).unwrap();
            pending::<()>().await;
        })
        .unwrap();
    take.recv_timeout(LIMIT).unwrap();
    let (blocking, polled) = (app.child(), app.child());
    blocking.set_teardown(events.adder("torn down")).unwrap();
    let add = events.adder("torn down");
    polled.set_teardown_async(move || async move { add() }).unwrap();
    drop(runtime);
    assert!(matches!(outcome(&body.closed()), Err(Error::Aborted(_))));
    let late = app.spawn(|_| async { panic!("run") }).unwrap();
    assert!(matches!(outcome(&late.closed()), Err(Error::Aborted(_))));
    app.close();
    ends_well(&app);
    assert_eq!(events.all(), ["torn down", "torn down"]);
}

/// I2, I14: if a spawner drops a job or panics, every teardown still runs.
#[test]
fn a_spawner_that_fails_loses_nothing() {
    fn panics(job: Job) {
        drop(job);
        panic!("no room");
    }
    for drops in [true, false] {
        let builder = Process::builder();
        let app = if drops { builder.spawner(drop::<Job>) } else { builder.spawner(panics) };
        let app = app.build().unwrap();
        let events = Events::default();
        app.child().set_teardown(events.adder("torn down")).unwrap();
        let body = app.spawn(|_| async {}).unwrap();
        assert!(matches!(outcome(&body.closed()), Err(Error::Aborted(_))));
        app.close_blocking().unwrap();
        assert_eq!(events.all(), ["torn down"]);
    }
}

/// 10,000 async bodies on the default spawner use only a few threads.
#[test]
#[cfg(target_os = "linux")]
fn many_async_bodies_share_few_threads() {
    let app = Process::new();
    let bodies: Vec<_> =
        (0..10_000).map(|_| app.spawn(|p| async move { p.closing().await }).unwrap()).collect();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert!(threads < 1_500, "{threads} threads");
    app.close_blocking().unwrap();
    assert!(bodies.iter().all(Process::is_closed));
}

/// `close_within` aborts a process that does not end in time, and does nothing to one that does.
#[test]
fn close_within_aborts_a_process_that_does_not_end() {
    let app = Process::new();
    let stuck = app.spawn(|_| pending::<()>()).unwrap();
    let thread = app.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    // Dropping the waiter does not cancel the deadline.
    drop(app.close_within(Duration::from_millis(20)));
    assert!(matches!(outcome(&app.closed()), Err(Error::Forced(forced)) if forced.total() == 2));
    assert!(matches!(stuck.outcome(), Some(Err(Error::Aborted(_)))));
    assert!(thread.is_aborting() && thread.outcome().unwrap().is_ok());

    let app = Process::new();
    let quick = app.spawn(|p| async move { p.closing().await }).unwrap();
    outcome(&app.close_within(LIMIT)).unwrap();
    assert!(!quick.is_aborting());
}

/// The waiter `aborting` of a process that is never aborted is ready when the process is Closed.
#[test]
fn aborting_ends_with_closed() {
    let process = Process::new();
    let aborting = process.aborting();
    let waiter = thread::spawn(move || futures_lite::future::block_on(aborting));
    process.close_blocking().unwrap();
    assert!(!waiter.join().unwrap());
    assert!(!process.is_aborting());
}

/// If the future is ready at the moment when the process closes, `run_until_closing` returns its output.
#[test]
fn run_until_closing_is_fair_to_its_future() {
    let process = Process::new();
    let mut until = pin!(process.run_until_closing(std::future::ready(1)));
    process.close();
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(until.as_mut().poll(&mut context), std::task::Poll::Ready(None)));
}
