//! `start_stop` with aborts at any time: everything that `start` acquires is released.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_lite::future::{block_on, pending};
use procession::{Error, Process};
use procession_runnable::{Runnable, Start, body, run_in, start_stop, start_stop_thread};
use smol::channel::{bounded, unbounded};

use crate::common::{Events, errors};

/// The panic of a waker does not reach the run, neither when the run becomes ready nor when a panic of the run means
/// that it can no longer become ready.
#[test]
fn a_waker_that_panics_does_not_reach_the_run() {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the waker");
        }
    }

    let waker = Waker::from(Arc::new(Panics));
    for panics in [false, true] {
        let (go, gone) = bounded::<()>(1);
        let waits = body(move |run| {
            let gone = gone.clone();
            async move {
                gone.recv().await.unwrap();
                assert!(!panics, "the run");
                run.ready();
            }
        });
        let app = Process::new();
        let (start, mut readiness) = Start::under(&app);
        let run = waits.start(start).unwrap();
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut readiness).poll(&mut context).is_pending());
        go.send_blocking(()).unwrap();
        let outcome = run.closed().wait();
        match outcome {
            Ok(()) => assert!(!panics),
            Err(Error::Panicked(panicked)) => assert_eq!(panicked.message(), "the run"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// An abort while `start` runs on its thread: if `start` succeeds, `stop` runs before the process is Closed.
#[test]
fn an_abort_while_start_runs_on_its_thread() {
    for succeeds in [true, false] {
        let events = Events::default();
        let (tell, told) = bounded(1);
        let (release, released) = bounded::<()>(1);
        let (up, down) = (events.clone(), events.clone());
        let lock = start_stop_thread(
            move |_| {
                tell.send_blocking(()).unwrap();
                let _released = released.recv_blocking();
                up.add("acquired");
                if succeeds { Ok(()) } else { Err("no lock") }
            },
            move || down.add("released"),
        );
        let app = Process::new();
        let run = lock.start(Start::under(&app).0).unwrap();
        told.recv_blocking().unwrap();
        app.abort();
        assert!(app.outcome().is_none());
        drop(release);
        assert!(run.closed().wait().is_err());
        let expected: &[&str] = if succeeds { &["acquired", "released"] } else { &["acquired"] };
        assert_eq!(events.all(), expected);
        app.closed().wait().unwrap();
    }
}

/// An abort after `start` has succeeded, async and blocking.
#[test]
fn an_abort_after_the_start() {
    let events = Events::default();
    let (first, second) = (events.clone(), events.clone());
    let task = start_stop(
        |_| async {},
        move || {
            first.add("released");
            async {}
        },
    );
    let thread = start_stop_thread(|_| (), move || second.add("released"));
    for runnable in [task, thread] {
        let app = Process::new();
        let (start, readiness) = Start::under(&app);
        let run = runnable.start(start).unwrap();
        block_on(readiness).unwrap();
        app.abort().wait().unwrap();
        // The body may have seen the closing before the abort could drop it.
        assert!(matches!(run.outcome(), Some(Ok(()) | Err(Error::Aborted(_)))));
    }
    assert_eq!(events.all(), ["released"; 2]);
}

/// An abort that drops the future of `start`: `start` has not succeeded, so `stop` does not run.
#[test]
fn an_abort_that_drops_the_start() {
    let events = Events::default();
    let down = events.clone();
    let (tell, told) = bounded(1);
    let hangs = start_stop(
        move |_| {
            let tell = tell.clone();
            async move {
                tell.send(()).await.unwrap();
                pending::<()>().await;
            }
        },
        move || {
            down.add("released");
            async {}
        },
    );
    let app = Process::new();
    let run = hangs.start(Start::under(&app).0).unwrap();
    told.recv_blocking().unwrap();
    app.abort();
    assert!(matches!(run.closed().wait(), Err(Error::Aborted(_))));
    assert_eq!(events.all(), [""; 0]);
}

/// `start` succeeds, but the drop of its future panics, or it has set a teardown of its own: `stop` runs once.
#[test]
fn starts_with_a_panic_or_a_teardown() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let events = Events::default();
    let (own, down, held) = (events.clone(), events.clone(), events.clone());
    let panics = start_stop(
        |_| {
            let held = PanicOnDrop;
            std::future::poll_fn(move |_| {
                let _held = &held;
                std::task::Poll::Ready(())
            })
        },
        move || {
            held.add("released");
            async {}
        },
    );
    let sets_teardown = start_stop(
        move |process| {
            let own = own.clone();
            async move { process.set_teardown(move || own.add("own teardown")) }
        },
        move || {
            down.add("released");
            async {}
        },
    );
    let run = |runnable: &Runnable| {
        let app = Process::new();
        let ended = block_on(run_in(&app, runnable, |_| async {}));
        errors(ended.map_err(|error| {
            assert!(error.to_string().ends_with("panicked: in the drop"), "{error}");
            error
        }))
        .len()
    };
    assert_eq!(run(&panics), 1);
    assert_eq!(events.all(), ["released"]);
    assert_eq!(run(&sets_teardown), 0);
    assert_eq!(events.all(), ["released", "released", "own teardown"]);
}

/// Many aborts at any time: `stop` runs once for each `start` that succeeds.
#[test]
fn aborts_at_any_time() {
    let counts = Arc::new(Mutex::new((0, 0)));
    let (tell, told) = unbounded();
    let (up, down, going) = (counts.clone(), counts.clone(), tell.clone());
    let thread = start_stop_thread(
        move |_| {
            going.try_send(()).unwrap();
            up.lock().unwrap().0 += 1;
        },
        move || down.lock().unwrap().1 += 1,
    );
    let (up, down) = (counts.clone(), counts.clone());
    let task = start_stop(
        move |_| {
            let (tell, up) = (tell.clone(), up.clone());
            async move {
                tell.try_send(()).unwrap();
                smol::future::yield_now().await;
                up.lock().unwrap().0 += 1;
            }
        },
        move || {
            down.lock().unwrap().1 += 1;
            async {}
        },
    );
    for round in 0..200 {
        let app = Process::new();
        let runnable = if round % 2 == 0 { &thread } else { &task };
        runnable.start(Start::under(&app).0).unwrap();
        told.recv_blocking().unwrap();
        app.abort().wait().unwrap();
        let counts = *counts.lock().unwrap();
        assert_eq!(counts.0, counts.1);
    }
}
