//! Runnables as programs: [`run_with`] and [`drain`]. Signals belong to the whole test program, so `Main` has none
//! here; `tests/` runs whole programs.

#![cfg(not(loom))]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use procession::{ChildFailure, Error, Main, Process};
use procession_runnable::{
    DrainTooLong, ReadyFlag, Runnable, Start, body, drain, named, run_in, run_with, run_with_async,
    sequential, start_stop,
};

const LIMIT: Duration = Duration::from_secs(60);

fn main() -> Main {
    Main::new().signals([]).no_exit().quiet()
}

fn fails() -> Runnable {
    named("fails", body(|_| async { Err("the disk is gone") }))
}

/// The grace of `Main` also applies to the runnable: after it, the runnable is aborted, and the exit status shows that.
/// No other test of this program uses the signal.
#[test]
#[cfg(unix)]
fn the_grace_of_main_aborts_a_runnable() {
    use rustix::process::{Signal, getpid, kill_process};

    let stuck = named(
        "stuck",
        body(|run| async move {
            run.ready();
            kill_process(getpid(), Signal::USR2)?;
            std::future::pending::<Result<(), std::io::Error>>().await
        }),
    );
    let main = main().signals([procession::signal::SIGUSR2]).grace(Duration::from_millis(10));
    let code = 128 + u8::try_from(procession::signal::SIGUSR2).unwrap();
    assert_eq!(run_with(main.clone(), &stuck).code(), code);
    assert_eq!(block_on(run_with_async(main, &stuck)).code(), code);
}

/// Whatever the setting for failures of children, the failure of the runnable is in the outcome of the program, once.
/// Hooks are called once.
#[test]
fn the_failure_is_the_outcome() {
    let ready_first = body(|run| async move {
        run.ready();
        Err("the disk is gone")
    });
    for reaction in [ChildFailure::Report, ChildFailure::Ignore, ChildFailure::Close] {
        for runnable in [fails(), named("fails", ready_first.clone())] {
            let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
            let names = told.clone();
            let hooked = main().on_child_failure(reaction).on_failure(move |process, _| {
                names.lock().push(process.name().unwrap_or_default().to_string());
            });
            for exit in [
                run_with(hooked.clone(), &runnable),
                block_on(run_with_async(hooked.clone(), &runnable)),
            ] {
                assert_eq!(exit.code(), 1);
                let error = exit.result().unwrap_err().with_causes().to_string();
                assert_eq!(error, "process `fails` failed: the disk is gone");
            }
            // Once for each of the two programs.
            assert_eq!(*told.lock(), ["fails", "fails"], "{reaction:?}");
        }
    }
}

/// If a runnable ends before it is ready, the program has failed.
#[test]
fn a_runnable_that_is_never_ready_fails() {
    let exit = run_with(main(), &named("early", body(|_| async {})));
    assert_eq!(exit.code(), 1);
    let error = exit.result().unwrap_err().with_causes().to_string();
    assert!(error.contains("`early` ended before it was ready"), "{error}");
    let ends = body(|run| async move { run.ready() });
    assert_eq!(run_with(main(), &ends).code(), 0);
}

/// The flag is on between the start of the drain and the beginning of closing, and the parts before the drain keep
/// running for the delay.
#[test]
fn a_drain_keeps_the_servers_running() {
    const DELAY: Duration = Duration::from_millis(50);
    let flag = ReadyFlag::new();
    let closed_after = Arc::new(parking_lot::Mutex::new(None));
    let (began, stopped) = (closed_after.clone(), closed_after.clone());
    let (before, after) = (flag.clone(), flag.clone());
    let server = start_stop(
        move |_| {
            assert!(!before.is_ready(), "the flag is on before the server is ready");
            async {}
        },
        move || {
            assert!(!after.is_ready());
            let mut began = stopped.lock();
            let since: Instant = began.take().expect("the body has ended");
            assert!(since.elapsed() >= DELAY, "{:?}", since.elapsed());
            async {}
        },
    );
    let stack = sequential([named("http", server), named("drain", drain(DELAY, &flag))]);
    let app = Process::new();
    let ready = flag.clone();
    block_on(run_in(&app, &stack, |_| async move {
        assert!(ready.is_ready());
        *began.lock() = Some(Instant::now());
    }))
    .unwrap();
    assert!(closed_after.lock().is_none());
}

/// The flag is off as soon as the drain is asked to stop, and an abort does not wait for the delay.
#[test]
fn an_abort_ends_a_drain() {
    for delay in [LIMIT, Duration::MAX] {
        let flag = ReadyFlag::new();
        let app = Process::new();
        let (start, readiness) = Start::under(&app);
        let draining = drain(delay, &flag).start(start).unwrap();
        block_on(readiness).unwrap();
        assert!(flag.is_ready());
        app.close();
        let end = Instant::now() + LIMIT;
        while flag.is_ready() {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
        assert!(!draining.is_closed());
        app.abort();
        assert!(matches!(draining.closed().wait(), Err(Error::Aborted(_))));
    }
    // A drain that is aborted before it is asked to stop.
    let flag = ReadyFlag::new();
    let app = Process::new();
    let (aborted, ready) = (app.clone(), flag.clone());
    let ended = block_on(run_in(&app, &drain(LIMIT, &flag), |_| async move {
        assert!(ready.is_ready());
        drop(aborted.abort());
    }));
    assert!(matches!(ended, Err(Error::Aborted(_) | Error::Many(_))), "{ended:?}");
    assert!(!flag.is_ready());
}

/// If the drain would not be over when the grace ends, the program does not start.
#[test]
fn a_drain_as_long_as_the_grace_is_refused() {
    let second = Duration::from_secs(1);
    for (delay, is_refused) in [(second, true), (second * 2, true), (second / 100, false)] {
        let stack = sequential([named("drain", drain(delay, &ReadyFlag::new())), fails()]);
        let exit = run_with(main().grace(second), &stack);
        let Err(Error::Failed(failed)) = exit.result() else { panic!("{delay:?}") };
        let refused = failed.get().downcast_ref::<DrainTooLong>();
        let refused = refused.map(|refused| (refused.delay, refused.grace));
        assert_eq!(refused, is_refused.then_some((delay, second)));
    }
    // The grace of another program has no effect.
    let elsewhere = body(move |run| async move {
        run.ready();
        let (app, flag) = (Process::new(), ReadyFlag::new());
        let (aborted, ready) = (app.clone(), flag.clone());
        let started = run_in(&app, &drain(second, &flag), |_| async move {
            assert!(ready.is_ready());
            drop(aborted.abort());
        });
        drop(started.await);
        procession::ok()
    });
    assert_eq!(run_with(main().grace(second), &elsewhere).code(), 0);
}
