//! Bridges to other models: futures, cancellation tokens, thread scopes.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use procession::{Error, Phase, Process, Reason, scope};
use procession_tests::{LIMIT, ends_well, outcome};
use tokio_util::sync::CancellationToken;

/// A future that is ready when the process is Closed. It owns a clone of `held` until then, or until it is dropped.
fn when_closed(process: &Process, held: &Arc<()>) -> impl Future<Output = u8> + Send + use<> {
    let (closed, held) = (process.closed(), held.clone());
    async move {
        closed.await.unwrap();
        drop(held);
        7
    }
}

/// Waits until nothing else owns a clone of `held`.
fn wait_until_dropped(held: &Arc<()>) {
    let end = std::time::Instant::now() + LIMIT;
    while Arc::strong_count(held) > 1 {
        assert!(std::time::Instant::now() < end, "still held");
        std::thread::yield_now();
    }
}

/// `close_when`: the process closes when the future is ready. It does not wait for the future, and the future does not
/// keep it open.
#[test]
fn a_future_closes_a_process() {
    let (app, other, held) = (Process::new(), Process::new(), Arc::new(()));
    let (gate, (begin, begun)) = (other.clone(), mpsc::channel());
    // The teardown comes after the future.
    app.set_teardown(move || assert!(gate.is_closed())).unwrap();
    let future = when_closed(&other, &held);
    app.close_when(async move {
        begin.send(()).unwrap();
        future.await
    })
    .unwrap();
    begun.recv_timeout(LIMIT).unwrap();
    assert!(!app.is_closing());
    other.close();
    ends_well(&app);
    assert_eq!(app.reason(), Some(Reason::Asked));
    wait_until_dropped(&held);

    // The process ends first: it drops the future and does not wait for it.
    let (app, other) = (Process::new(), Process::new());
    app.close_when(when_closed(&other, &held)).unwrap();
    app.close_blocking().unwrap();
    wait_until_dropped(&held);
    assert!(!other.is_closing());
    app.close_when(async { panic!("polled") }).unwrap();

    // The last handle closes the process; the future does not keep it open.
    let app = Process::new();
    app.close_when(when_closed(&other, &held)).unwrap();
    let closed = app.closed();
    drop(app);
    outcome(&closed).unwrap();
    wait_until_dropped(&held);

    // The future does not keep `close_after_children` waiting.
    let app = Process::new();
    app.close_when(pending::<()>()).unwrap();
    app.close_after_children();
    ends_well(&app);
}

/// If the future given to `close_when` panics, the process stays open, and its hooks hear of a failure.
#[test]
fn a_future_that_panics_closes_nothing() {
    let (tell, told) = mpsc::channel();
    let app = Process::builder().name("app").build().unwrap();
    app.on_failure(move |_, error| tell.send(error.to_string()).unwrap());
    app.close_when(async { panic!("in the future") }).unwrap();
    let error = told.recv_timeout(LIMIT).unwrap();
    assert!(error.starts_with("process `app` › tests/tests/bridges.rs:"), "{error}");
    assert!(error.ends_with(" panicked: in the future"), "{error}");
    assert!(!app.is_closing());
    app.close_blocking().unwrap();
}

/// `wait_for_future`: the teardown waits for the future. Closing does not drop the future; an abort does.
#[test]
fn a_process_waits_for_a_future() {
    let (app, other, held) = (Process::new(), Process::new(), Arc::new(()));
    let gate = other.clone();
    app.set_teardown(move || assert!(gate.is_closed())).unwrap();
    app.wait_for_future(when_closed(&other, &held)).unwrap();
    app.close();
    assert_eq!(app.phase(), Phase::Closing);
    other.close();
    ends_well(&app);
    wait_until_dropped(&held);
    assert!(matches!(app.wait_for_future(pending::<()>()), Err(Error::Closed(_))));

    let (app, other) = (Process::new(), Process::new());
    app.wait_for_future(when_closed(&other, &held)).unwrap();
    outcome(&app.abort()).unwrap();
    wait_until_dropped(&held);
}

/// The background process never closes: each call that would close it or delay its end is an error.
#[test]
fn the_background_process_takes_no_future_or_token() {
    let background = Process::background();
    assert!(matches!(background.close_when(async {}), Err(Error::Background)));
    assert!(matches!(background.wait_for_future(async {}), Err(Error::Background)));
    let token = CancellationToken::new();
    assert!(matches!(background.close_when_cancelled(&token), Err(Error::Background)));
    assert!(matches!(background.wait_for_cancelled(&token), Err(Error::Background)));
    assert!(!background.closing_token().is_cancelled());
}

/// `closing_token` is cancelled when the process begins to close, and `closed_token` when it is Closed, however late
/// they are made. Cancelling one of them affects neither the process nor another token.
#[test]
fn tokens_are_cancelled_with_their_process() {
    let process = Process::new();
    let (closing, closed) = (process.closing_token(), process.closed_token());
    let own = process.closing_token();
    own.cancel();
    assert!(!closing.is_cancelled() && !process.is_closing());
    let gate = Process::new();
    process.wait_for(&gate).unwrap();
    process.close();
    assert!(closing.is_cancelled() && !closed.is_cancelled());
    assert!(process.closing_token().is_cancelled() && !process.closed_token().is_cancelled());
    gate.close();
    assert!(closed.is_cancelled() && process.closed_token().is_cancelled());
    let late = Process::new();
    late.close_blocking().unwrap();
    assert!(late.closing_token().is_cancelled() && late.closed_token().is_cancelled());
    // A task that waits for a token is woken.
    let process = Process::new();
    let token = process.closing_token();
    let waiter =
        std::thread::spawn(move || futures_lite::future::block_on(token.cancelled_owned()));
    process.close_blocking().unwrap();
    waiter.join().unwrap();
}

/// `close_when_cancelled` closes the process with the token, and `wait_for_cancelled` makes its end wait for the token,
/// whichever of the two ends first.
#[test]
fn a_token_closes_a_process_or_delays_its_end() {
    let (process, token) = (Process::new(), CancellationToken::new());
    process.close_when_cancelled(&token).unwrap();
    assert!(!process.is_closing());
    token.cancel();
    ends_well(&process);
    let late = Process::new();
    late.close_when_cancelled(&token).unwrap();
    ends_well(&late);

    let (process, token) = (Process::new(), CancellationToken::new());
    process.wait_for_cancelled(&token).unwrap();
    process.close();
    assert!(!process.is_closed());
    token.cancel();
    ends_well(&process);

    let (process, token) = (Process::new(), CancellationToken::new());
    process.wait_for_cancelled(&token).unwrap();
    process.close_when_cancelled(&token).unwrap();
    outcome(&process.abort()).unwrap();
    token.cancel();
}

/// No task runs on the caller's runtime while a token and a process wait for each other.
#[test]
fn tokens_start_no_tasks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let (process, token) = (Process::new(), CancellationToken::new());
        process.close_when_cancelled(&token).unwrap();
        process.wait_for_cancelled(&token).unwrap();
        let _tokens = [process.closing_token(), process.closed_token()];
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
        token.cancel();
        process.closed().await.unwrap();
    });
}

/// Threads of a scope borrow from the caller, because the call returns only after everything in the scope is Closed.
#[test]
fn threads_of_a_scope_borrow_from_the_caller() {
    let (mut left, mut right) = (vec![1, 2], String::from("a"));
    let counter = AtomicUsize::new(0);
    scope(|p| {
        let nested = p.clone();
        let (left, counter) = (&mut left, &counter);
        p.spawn_thread(move |worker| {
            assert!(!worker.is_closing());
            left.push(3);
            // A thread of the scope spawns one more that borrows.
            let count = |_| {
                counter.fetch_add(1, Ordering::SeqCst);
            };
            nested.spawn_thread(count).map(drop)
        })?;
        p.spawn_thread(|_| right.push('b'))?;
        let late = p.spawn(|_| async { Ok::<(), Error>(()) })?;
        p.set_teardown(move || assert!(late.is_closed()))
    })
    .unwrap();
    assert_eq!((left, right.as_str()), (vec![1, 2, 3], "ab"));
    assert_eq!(counter.into_inner(), 1);
}

/// A scope waits for the async bodies below it too.
#[test]
fn a_scope_waits_for_async_bodies() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    scope(|p| {
        let body = p.spawn(move |_| async move {
            for _ in 0..10_000 {
                futures_lite::future::yield_now().await;
            }
            count.fetch_add(1, Ordering::SeqCst);
        });
        body.map(drop)
    })
    .unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

/// A failure closes everything in the scope. The outcome has all errors: those of the closure, of threads and of async
/// bodies. A panic is an error.
#[test]
fn a_failure_closes_the_scope() {
    let ended = AtomicUsize::new(0);
    let wait = |p: Process| {
        p.closing().wait();
        ended.fetch_add(1, Ordering::SeqCst);
    };
    let error = scope(|p| {
        p.spawn_thread(wait).unwrap();
        p.spawn_thread(|_| Err("thread")).unwrap();
    });
    assert!(error.unwrap_err().with_causes().to_string().ends_with("failed: thread"));
    let error = scope(|p| {
        p.spawn_thread(wait).unwrap();
        panic!("closure")
    });
    let Err(Error::Panicked(panicked)) = error else { panic!("{error:?}") };
    assert_eq!(panicked.message(), "closure");
    let error = scope(|p| {
        p.spawn_thread(wait).unwrap();
        p.spawn(|_| async { panic!("task") }).unwrap();
    });
    assert!(matches!(error, Err(Error::Panicked(_))));
    let error = scope(|p| {
        p.spawn_thread(|p| {
            p.closing().wait();
            Err("thread")
        })
        .unwrap();
        Err("closure")
    });
    let Err(Error::Many(many)) = error else { panic!("{error:?}") };
    assert_eq!(many.iter().count(), 2);
    assert_eq!(ended.into_inner(), 3);
}

/// Code in a scope may close or abort it; the threads of the scope see that, and have names.
#[test]
fn a_scope_can_be_closed_and_aborted_from_within() {
    scope(|p| {
        p.spawn_thread(|worker| assert!(worker.aborting().wait())).unwrap();
        let closed = p.abort();
        assert!(p.is_closing() && !p.is_closed());
        // It waits for its own body.
        assert!(matches!(closed.wait(), Err(Error::Deadlock(_))));
    })
    .unwrap();
    let waited = scope(|p| {
        let worker = p.spawn_thread(|_| ())?;
        worker.closed().wait()
    });
    waited.unwrap();
}
