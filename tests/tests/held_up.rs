//! Code delays only the processes that wait for it: a thread that closes, waits or runs jobs is not delayed by the code
//! of others (I10, I13, I14).

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use procession::{Closed, Error, Job, Limited, Process, scope};
use procession_tests::foreign::{OnDrop, keep};
use procession_tests::{LIMIT, ends_well, in_time, outcome};

/// `close_blocking` returns once its process is Closed. It does not run the teardown of another process that waits for
/// it: that teardown may need a lock that the caller holds.
#[test]
fn close_blocking_does_not_tear_down_a_process_that_waits() {
    let lock = Arc::new(Mutex::new(()));
    let taken = lock.clone();
    let teardown = move || drop(taken.lock().unwrap());
    let waiting = Process::builder().teardown(teardown).build().unwrap();
    let last = Process::with_teardown(|| ());
    waiting.wait_for(&last).unwrap();
    waiting.close();
    in_time(move || {
        let _held = lock.lock().unwrap();
        last.close_blocking().unwrap();
    });
    ends_well(&waiting);
}

/// `close_blocking` does not run the teardown of a no-wait child either, even while it waits for other processes.
#[test]
fn close_blocking_does_not_tear_down_a_no_wait_child() {
    let (tell, told) = mpsc::channel::<()>();
    let app = Process::new();
    let teardown = move || {
        let _ = told.recv_timeout(LIMIT);
    };
    let stray = Process::builder().no_wait_parent(&app).teardown(teardown).build().unwrap();
    app.child().set_teardown(|| ()).unwrap();
    in_time(move || app.close_blocking()).unwrap();
    assert!(!stray.is_closed());
    tell.send(()).unwrap();
    ends_well(&stray);
}

/// The teardown of a no-wait child may wait for the process whose body closes the parent.
#[test]
fn the_teardown_of_a_no_wait_child_may_wait_for_the_closing_body() {
    let (tell, told) = mpsc::channel::<()>();
    let (report, reports) = mpsc::channel();
    let app = Process::new();
    let closed = app.clone();
    let closer = Process::builder().spawn_thread(move |_| {
        told.recv_timeout(LIMIT).unwrap();
        closed.close_blocking()
    });
    let closer = closer.unwrap();
    let of_closer = closer.closed();
    let teardown = move || report.send(of_closer.wait_timeout(LIMIT)).unwrap();
    let stray = Process::builder().no_wait_parent(&app).teardown(teardown).build().unwrap();
    app.child().set_teardown(thread::yield_now).unwrap();
    tell.send(()).unwrap();
    ends_well(&closer);
    ends_well(&stray);
    assert!(matches!(reports.recv_timeout(LIMIT), Ok(Some(Ok(())))));
}

/// I13: from its beginning, a scope counts as a wait of the code that calls it, so a thread of the scope cannot wait
/// for the caller.
#[test]
fn a_thread_of_a_scope_that_waits_for_the_caller_is_refused() {
    let app = Process::new();
    let body = app.spawn_thread(|body| {
        let closed = body.closed();
        let mut seen = None;
        scope(|threads| threads.spawn_thread(|_| seen = Some(closed.wait())).map(drop)).unwrap();
        assert!(matches!(seen, Some(Err(Error::Deadlock(_)))), "{seen:?}");
    });
    ends_well(&body.unwrap());
}

/// If a user's executor runs one job inside another, the inner job runs at once.
#[test]
fn an_executor_may_run_a_job_inside_a_job() {
    static EXECUTOR: smol::Executor<'static> = smol::Executor::new();
    thread::spawn(|| smol::block_on(EXECUTOR.run(pending::<()>())));
    let spawner = |job: Job| EXECUTOR.spawn(async move { job.run() }).detach();
    let inner = Process::builder().spawner(spawner).teardown(|| ()).build().unwrap();
    let closed = inner.clone();
    let teardown = move || smol::block_on(EXECUTOR.run(closed.close()));
    let outer = Process::builder().spawner(spawner).teardown(teardown).build().unwrap();
    outer.close();
    ends_well(&outer);
    ends_well(&inner);
}

/// A spawner that blocks, or that polls on the spot, does not delay the teardowns of the default spawner.
#[test]
fn a_spawner_that_blocks_delays_no_other_teardown() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let blocks = move |job: Job| {
        told.lock().unwrap().recv_timeout(LIMIT).unwrap();
        job.run();
    };
    let app = Process::new();
    let slow = Process::builder().parent(&app).spawner(blocks).teardown(|| ()).build().unwrap();
    app.child().set_teardown(move || tell.send(()).unwrap()).unwrap();
    let closed = app.clone();
    in_time(move || drop(closed.close()));
    ends_well(&app);
    ends_well(&slow);
}

/// A future that is never ready. Its drop waits, and reports what the wait returned.
struct WaitsOnDrop {
    closed: Closed,
    report: mpsc::Sender<Option<Result<(), Error>>>,
}

impl Future for WaitsOnDrop {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        let _ = self.report.send(Some(self.closed.wait()));
    }
}

/// I13: the drop of an async teardown that has begun is code of its process, so it cannot wait for that process.
#[test]
fn the_drop_of_a_teardown_that_waits_for_its_process_is_refused() {
    let poll_once = |job: Job| {
        let mut job = Box::pin(job);
        let _ = job.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    };
    let (report, reports) = mpsc::channel();
    let process = Process::builder().spawner(poll_once).build().unwrap();
    let closed = process.closed();
    process.set_teardown_async(move || WaitsOnDrop { closed, report }).unwrap();
    let closing = process.clone();
    in_time(move || drop(closing.close()));
    let refused = reports.recv_timeout(LIMIT).unwrap();
    assert!(matches!(refused, Some(Err(Error::Deadlock(_)))), "{refused:?}");
    assert!(matches!(outcome(&process.closed()), Err(Error::Aborted(_))));
}

/// I13: a current-thread tokio runtime may wait for a body that another thread polls.
#[test]
fn a_runtime_may_wait_for_a_body_that_is_polled_elsewhere() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let app = {
        let _entered = runtime.enter();
        Process::new()
    };
    let (tell, told) = mpsc::channel();
    let parent = app.clone();
    let elsewhere = thread::spawn(move || {
        smol::block_on(parent.run(|p| async move {
            tell.send(()).unwrap();
            p.closing().await;
            // When this is polled, the runtime is waiting.
            smol::Timer::after(Duration::from_millis(100)).await;
        }))
    });
    told.recv_timeout(LIMIT).unwrap();
    in_time(move || runtime.block_on(async { app.close().wait() })).unwrap();
    elsewhere.join().unwrap().unwrap();
}

/// I13: a wait on a current-thread runtime is not refused because of a no-wait child, here the future of `close_when`,
/// because the process does not wait for it.
#[test]
fn a_runtime_may_wait_although_a_no_wait_child_needs_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    in_time(move || {
        runtime.block_on(async {
            let app = Process::new();
            app.set_teardown(|| ()).unwrap();
            app.close_when(pending::<()>()).unwrap();
            tokio::task::yield_now().await;
            assert!(format!("{app:?}").contains("waits_for: []"), "{app:?}");
            app.close_blocking()
        })
    })
    .unwrap();
}

/// I13: a current-thread runtime cannot wait for a slot that one of its own bodies holds.
#[test]
fn a_runtime_cannot_wait_for_a_slot_of_its_own_body() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    in_time(move || {
        runtime.block_on(async {
            let app = Process::new();
            let one = Limited::new(&app, 1).unwrap();
            one.try_spawn(|_| async {}).unwrap();
            let refused = one.spawn_thread(|_| ());
            assert!(matches!(refused, Err(Error::Deadlock(_))), "{refused:?}");
            app.close().await.unwrap();
        });
    });
}

/// A token that is taken from a Closing process is already cancelled, even if the walk has not yet reached the older
/// tokens.
#[test]
fn a_token_of_a_closing_process_is_cancelled() {
    let process = Process::new();
    let (tell, told) = mpsc::channel();
    let taken = process.clone();
    let waker = procession_tests::foreign::waker(move || {
        tell.send(taken.closing_token().is_cancelled()).unwrap();
    });
    let mut closing = Box::pin(process.closing());
    assert!(closing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let _older = process.closing_token();
    process.close();
    assert_eq!(told.recv_timeout(LIMIT), Ok(true));
}

/// I11: jobs of a chain do not nest if the spawner polls them on the spot, whether it polls each to its end or drops it
/// unfinished.
#[test]
fn a_chain_whose_spawner_polls_on_the_spot_does_not_nest() {
    const LENGTH: usize = 20_000;
    fn drops(job: Job) {
        let mut job = Box::pin(job);
        let _ = job.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let chain = |spawner: fn(Job), is_async: bool| {
        let root = Process::builder().spawner(spawner).build().unwrap();
        let mut last = root.clone();
        for _ in 0..LENGTH {
            let child = Process::builder().parent(&last);
            let child =
                if is_async { child.teardown_async(pending::<()>) } else { child.teardown(|| ()) };
            last = child.build().unwrap();
        }
        root
    };
    for (spawner, is_async) in [(futures_lite::future::block_on as fn(Job), false), (drops, true)] {
        let root = chain(spawner, is_async);
        let small = thread::Builder::new().stack_size(256 * 1024);
        let closed = small.spawn(move || root.close().wait_timeout(LIMIT)).unwrap().join().unwrap();
        assert!(closed.is_some_and(|outcome| outcome.is_ok()));
    }
}

/// I14: a panic in an error's `Display` does not leave the report of the exit.
#[cfg(unix)]
#[test]
fn a_display_that_panics_does_not_unwind_out_of_the_exit() {
    use std::process::Termination;

    #[derive(Debug)]
    struct Panics;

    impl std::fmt::Display for Panics {
        fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            procession_tests::foreign::panic_quietly();
            Ok(())
        }
    }

    impl std::error::Error for Panics {}

    let exit = procession::Main::new().run(|_| Err(Panics));
    assert_eq!(exit.code(), 1);
    let _code = exit.report();
}

/// A hook that owns a handle to its process does not keep the process in memory once it is Closed. A failed child does
/// not keep the hooks above it.
#[test]
fn hooks_end_with_their_process() {
    let (app, other) = (Process::new(), Process::new());
    let (tell, told) = mpsc::channel();
    for process in [&app, &other] {
        let (own, tell) = (process.clone(), tell.clone());
        let dropped = OnDrop(move || tell.send(()).unwrap());
        process.on_failure(move |_, _| {
            keep(&dropped);
            own.close();
        });
    }
    let failed = other.spawn_thread(|_| Err("broken")).unwrap();
    assert!(outcome(&failed.closed()).is_err());
    app.close_blocking().unwrap();
    other.close_blocking().unwrap();
    drop((app, other));
    // A library thread drops the hooks.
    for _ in 0..2 {
        told.recv_timeout(LIMIT).expect("a hook is kept");
    }
}
