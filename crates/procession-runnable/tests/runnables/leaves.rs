//! Leaves, async and blocking: how they start, stop and fail.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_lite::future::block_on;
use procession::{Error, Process};
use procession_runnable::{
    Runnable, Service, concurrent_group, leaf, leaf_thread, leaf_thread_without_stop,
    leaf_without_stop, named, nop, run_in, sequential, start_stop, start_stop_thread,
};

use crate::common::{Events, LIMIT, errors};

fn run(runnable: &Runnable) -> Vec<String> {
    let app = Process::new();
    let ended = errors(block_on(run_in(&app, runnable, |_| async {})));
    app.close_blocking().unwrap();
    ended
}

/// A server that runs until its graceful stop ends it, async and blocking. The run and the stop may fail.
fn servers(run_fails: bool, stop_fails: bool, events: &Events) -> [Runnable; 2] {
    let result = |fails: bool, what: &str| if fails { Err(what.to_owned()) } else { Ok(()) };
    let (on_run, on_stop) = (events.clone(), events.clone());
    let (tell, told) = smol::channel::unbounded::<()>();
    let asynchronous = leaf(
        move |run| {
            let (told, events) = (told.clone(), on_run.clone());
            async move {
                run.ready();
                told.recv().await.unwrap();
                events.add("run ended");
                result(run_fails, "run")
            }
        },
        move |process| {
            let (tell, events) = (tell.clone(), on_stop.clone());
            async move {
                assert!(process.is_closing());
                events.add("asked to stop");
                tell.send(()).await.unwrap();
                result(stop_fails, "stop")
            }
        },
    );
    let (on_run, on_stop) = (events.clone(), events.clone());
    let (tell, told) = smol::channel::unbounded::<()>();
    let blocking = leaf_thread(
        move |run| {
            run.ready();
            told.recv_blocking().unwrap();
            on_run.add("run ended");
            result(run_fails, "run")
        },
        move |process| {
            assert!(process.is_closing());
            on_stop.add("asked to stop");
            tell.send_blocking(()).unwrap();
            result(stop_fails, "stop")
        },
    );
    [named("server", asynchronous), named("server", blocking)]
}

/// Closing calls the graceful stop, which ends the run; the error of the stop comes before that of the run.
#[test]
fn a_leaf_stops_gracefully() {
    for (run_fails, stop_fails) in [(false, false), (true, false), (false, true), (true, true)] {
        let events = Events::default();
        for server in servers(run_fails, stop_fails, &events) {
            let mut expected = Vec::new();
            expected.extend(stop_fails.then_some("process `server` failed: stop"));
            expected.extend(run_fails.then_some("process `server` failed: run"));
            assert_eq!(run(&server), expected);
        }
        assert_eq!(events.all(), ["asked to stop", "run ended", "asked to stop", "run ended"]);
    }
}

/// A run that ends on its own is not asked to stop.
#[test]
fn a_leaf_that_ends_on_its_own() {
    let (tell, told) = mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(tell);
    let leaf = leaf(
        |run| async move {
            run.ready();
            Err("broken")
        },
        move |_| {
            asked.lock().unwrap().send(()).unwrap();
            async {}
        },
    );
    let app = Process::new();
    let ended = run_in(&app, &named("server", leaf), |p| async move { p.closing().await });
    assert_eq!(errors(block_on(ended)), ["process `server` failed: broken"]);
    assert!(told.try_recv().is_err());
}

/// The abort is the deadline of the graceful stop, and ends a run that ignores the stop.
#[test]
fn an_abort_is_the_deadline_of_the_graceful_stop() {
    let (tell, told) = mpsc::channel::<&str>();
    let tell = std::sync::Mutex::new(tell);
    let aborted = Arc::new(AtomicBool::new(false));
    let seen = aborted.clone();
    let stubborn = leaf_thread(
        |run| {
            run.ready();
            run.aborting().wait();
        },
        move |process| {
            let tell = tell.lock().unwrap().clone();
            tell.send("stopping").unwrap();
            process.aborting().wait();
            tell.send(if seen.load(Ordering::SeqCst) { "forced" } else { "too early" }).unwrap();
        },
    );
    let app = Process::new();
    let ended = {
        let (app, stubborn) = (app.clone(), stubborn.clone());
        std::thread::spawn(move || block_on(run_in(&app, &stubborn, |_| async {})))
    };
    assert_eq!(told.recv_timeout(LIMIT), Ok("stopping"));
    aborted.store(true, Ordering::SeqCst);
    app.abort();
    assert_eq!(told.recv_timeout(LIMIT), Ok("forced"));
    assert!(ended.join().unwrap().is_err());
}

/// Without a graceful stop, closing aborts the run, and that is no failure.
#[test]
fn a_leaf_without_a_graceful_stop() {
    let task = leaf_without_stop(|run| async move {
        run.ready();
        pending::<()>().await
    });
    let thread = leaf_thread_without_stop(|run| {
        run.ready();
        run.aborting().wait();
    });
    assert_eq!(run(&task), [""; 0]);
    assert_eq!(run(&thread), [""; 0]);
}

/// A panic in any function becomes an error that names the part.
#[test]
fn panics_have_names() {
    let stops = leaf(
        |run| async move {
            run.ready();
            run.closing().await;
        },
        |_| async { panic!("in the stop") },
    );
    assert_eq!(run(&named("server", stops)), ["process `server` panicked: in the stop"]);
    let thread = leaf_thread(|_| panic!("in the run"), |_| ());
    assert_eq!(run(&named("server", thread)), ["process `server` panicked: in the run"]);
    let start = start_stop_thread(|_| panic!("in the start"), || ());
    assert_eq!(run(&named("cache", start)), ["process `cache` panicked: in the start"]);
    let stop = start_stop(|_| async {}, || async { panic!("in the stop") });
    assert_eq!(run(&named("cache", stop)), ["process `cache` panicked: in the stop"]);
}

/// The runnable is ready when `start` has returned, and `stop` runs after the body. If `start` fails, its error is the
/// outcome, and `stop` does not run.
#[test]
fn start_and_stop() {
    for fails in [false, true] {
        let events = Events::default();
        let result = move || if fails { Err("cannot start") } else { Ok(()) };
        let (up, down) = (events.clone(), events.clone());
        let task = start_stop(
            move |_| {
                up.add("start");
                async move { result() }
            },
            move || {
                down.add("stop");
                async {}
            },
        );
        let (up, down) = (events.clone(), events.clone());
        let thread = start_stop_thread(
            move |_| {
                up.add("start");
                result()
            },
            move || down.add("stop"),
        );
        for runnable in [task, thread] {
            let app = Process::new();
            let inside = events.clone();
            let cache = named("cache", runnable);
            let ended = run_in(&app, &cache, |_| async move { inside.add("body") });
            let ended = errors(block_on(ended));
            app.close_blocking().unwrap();
            let expected: &[&str] =
                if fails { &["process `cache` failed: cannot start"] } else { &[] };
            assert_eq!(ended, expected);
        }
        let each: &[&str] = if fails { &["start"] } else { &["start", "body", "stop"] };
        assert_eq!(events.all(), [each, each].concat());
    }
}

/// If `stop` fails, its error is the outcome.
#[test]
fn a_stop_that_fails() {
    let cache = start_stop_thread(|_| (), || Err("cannot stop"));
    assert_eq!(run(&named("cache", cache)), ["process `cache` failed: cannot stop"]);
}

/// `stop` does not run before closing.
#[test]
fn stop_does_not_run_before_closing() {
    let (stopped, told) = mpsc::channel();
    let stopped = std::sync::Mutex::new(stopped);
    let asked = Arc::new(AtomicBool::new(false));
    let seen = asked.clone();
    let tell = Arc::new(move || stopped.lock().unwrap().send(seen.load(Ordering::SeqCst)).unwrap());
    let (task, thread) = (tell.clone(), tell);
    for runnable in [
        start_stop(
            |_| async {},
            move || {
                task();
                async {}
            },
        ),
        start_stop_thread(|_| (), move || thread()),
    ] {
        let service = Service::new(runnable);
        service.start_blocking().unwrap();
        assert!(service.done().wait_timeout(Duration::ZERO).is_none());
        asked.store(true, Ordering::SeqCst);
        service.stop_blocking().unwrap();
        assert_eq!(told.try_recv(), Ok(true));
        assert!(told.try_recv().is_err());
        asked.store(false, Ordering::SeqCst);
    }
}

/// Nested names.
#[test]
fn names() {
    let fails = || leaf_without_stop(|_| async { Err::<(), _>("broken") });
    let inner = named("outer", named("inner", fails()));
    assert_eq!(run(&inner), ["process `outer/inner` failed: broken"]);
    let Err(Error::Failed(failed)) = block_on(run_in(&Process::new(), &inner, |_| async {})) else {
        panic!()
    };
    assert_eq!(failed.get().to_string(), "broken");
    // A part without a name is labelled by the nearest name above it.
    let part = || named("stack", sequential([start_stop(|_| async {}, || async {}), fails()]));
    assert_eq!(run(&part()), ["process `stack` failed: broken"]);
    let group = || concurrent_group([nop(), nop(), fails()]);
    assert_eq!(run(&named("stack", group())), ["process `stack` failed: broken"]);
}
