//! Failures: hooks above are called once for each, and none is lost or invented.

use std::sync::{Arc, Mutex};

use futures_lite::future::{block_on, pending};
use procession::{BoxError, Error, Process};
use procession_runnable::{
    Runnable, Service, TaskError, body, body_thread, chain, concurrent, concurrent_group, leaf,
    leaf_thread_without_stop, leaf_without_stop, named, nop, parallel, run_in, run_to_end,
    sequence, sequential, start_stop, start_stop_thread, task, trace_region,
};

use crate::common::errors;

/// The errors for which a hook of this process is called.
fn record_failures(app: &Process) -> Arc<Mutex<Vec<String>>> {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let all = told.clone();
    app.on_failure(move |_, error| all.lock().unwrap().push(error.with_causes().to_string()));
    told
}

fn fails() -> Runnable {
    let fails = body(|run| async move {
        run.ready();
        Err("broken")
    });
    named("part", fails)
}

fn fails_on_thread() -> Runnable {
    named("part", body_thread(|_| Err("broken")))
}

/// Every combinator around a part that fails.
fn combinators() -> Vec<(&'static str, Runnable)> {
    let serves = || {
        body(|run| async move {
            run.ready();
            run.closing().await;
        })
    };
    let broken = || -> Result<(), &str> { Err("broken") };
    let leaves = || named("part", leaf(move |_| async move { broken() }, |_| async {}));
    vec![
        ("body", fails()),
        ("body_thread", fails_on_thread()),
        ("leaf", leaves()),
        ("leaf_without_stop", named("part", leaf_without_stop(move |_| async move { broken() }))),
        ("leaf_thread_without_stop", named("part", leaf_thread_without_stop(move |_| broken()))),
        ("start_stop", named("part", start_stop(move |_| async move { broken() }, || async {}))),
        ("start_stop_thread", named("part", start_stop_thread(move |_| broken(), || ()))),
        ("parallel", parallel([serves(), fails()])),
        ("sequential", sequential([nop(), fails()])),
        ("chain", chain([nop(), fails()])),
        ("concurrent", concurrent([nop(), fails()])),
        ("concurrent_group", concurrent_group([serves(), fails()])),
        ("sequence", sequence([nop(), fails(), nop()])),
        ("task", task("import", fails())),
        ("trace_region", trace_region("import", fails())),
        (
            "nested",
            sequence([nop(), concurrent([nop(), task("import", sequential([nop(), leaves()]))])]),
        ),
    ]
}

/// However the run is started, a hook above it is called once.
#[test]
fn hooks_are_called_once() {
    for (name, runnable) in combinators() {
        let app = Process::new();
        let all = record_failures(&app);
        assert_eq!(errors(block_on(run_to_end(&app, &runnable))).len(), 1, "{name}");
        app.close_blocking().unwrap();
        let all = std::mem::take(&mut *all.lock().unwrap());
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        assert!(
            all[0].contains("process `part`") && all[0].ends_with(": broken"),
            "{name}: {all:?}"
        );

        let app = Process::new();
        let all = record_failures(&app);
        let ended = run_in(&app, &runnable, |p| async move { p.closing().await });
        assert_eq!(errors(block_on(ended)).len(), 1, "{name}");
        app.close_blocking().unwrap();
        assert_eq!(all.lock().unwrap().len(), 1, "{name}: {all:?}");

        let app = Process::new();
        let all = record_failures(&app);
        let service = Service::under(&app, runnable).unwrap();
        let _started_or_failed = service.start_blocking();
        assert_eq!(errors(service.done().wait()).len(), 1, "{name}");
        app.close_blocking().unwrap();
        assert_eq!(all.lock().unwrap().len(), 1, "{name}: {all:?}");
    }
}

/// Hooks are also called once for the failure of a body, and for a part that ends too early.
#[test]
fn hooks_are_called_for_bodies_and_early_ends() {
    let app = Process::new();
    let all = record_failures(&app);
    let stops = start_stop(|_| async {}, || async { Err("cannot stop") });
    let ended = run_in(&app, &stops, |_| async { Err("no body") });
    let ended = errors(block_on(ended));
    app.close_blocking().unwrap();
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!(all.lock().unwrap().len(), 2, "{all:?}");

    for early in [body(|_| async {}), parallel([nop(), body(|_| async {})])] {
        let app = Process::new();
        let all = record_failures(&app);
        let ended = errors(block_on(run_in(&app, &early, |_| async {})));
        app.close_blocking().unwrap();
        assert_eq!(ended.len(), 1, "{ended:?}");
        let all = all.lock().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].ends_with("ended before it was ready"), "{all:?}");
    }
}

/// A part that closing aborts has not failed, so no hook is called.
#[test]
fn an_abort_by_closing_is_no_failure() {
    let task = leaf_without_stop(|run| async move {
        run.ready();
        pending::<()>().await;
    });
    let thread = leaf_thread_without_stop(|run| {
        run.ready();
        run.aborting().wait();
    });
    for leaf in [task, thread] {
        let app = Process::new();
        let all = record_failures(&app);
        let service = Service::under(&app, leaf).unwrap();
        service.start_blocking().unwrap();
        service.stop_blocking().unwrap();
        app.close_blocking().unwrap();
        assert!(all.lock().unwrap().is_empty(), "{all:?}");
    }
}

/// Closing a leaf without a graceful stop aborts the processes below it.
#[test]
fn an_abort_by_closing_reaches_below() {
    let (tell, given) = smol::channel::bounded(1);
    let leaf = leaf_without_stop(move |run| {
        let tell = tell.clone();
        async move {
            tell.send(run.spawn(|_| pending::<()>())?).await?;
            run.ready();
            pending::<Result<(), BoxError>>().await
        }
    });
    let service = Service::new(leaf);
    service.start_blocking().unwrap();
    let below = given.recv_blocking().unwrap();
    service.stop_blocking().unwrap();
    assert!(matches!(below.outcome(), Some(Err(Error::Aborted(_)))));
}

/// The abort of another process, returned by a leaf that stops, is an error like any other.
#[test]
fn the_abort_of_another_process_is_an_error() {
    let other = Process::builder().name("other").build().unwrap();
    let job = other.spawn(|_| pending::<()>()).unwrap();
    other.abort().wait().unwrap();
    let aborted = job.closed().wait().unwrap_err();
    assert!(matches!(aborted, Error::Aborted(_)));
    let leaf = leaf(
        move |run| {
            let aborted = aborted.clone();
            async move {
                run.ready();
                run.closing().await;
                Err(aborted)
            }
        },
        |_| async {},
    );
    let ended = block_on(run_in(&Process::new(), &leaf, |_| async {}));
    let Err(Error::Aborted(label)) = ended else { panic!("{ended:?}") };
    assert_eq!(label, job.label());
}

/// If the function that starts a run panics, the error has its message, in whatever way the runnable is run.
#[test]
fn the_message_of_a_start_that_panics() {
    let panics = || Runnable::new(|_| panic!("no more runs"));
    let serves = || body(|run| async move { run.closing().await });
    for (place, runnable) in [
        panics(),
        parallel([serves(), panics()]),
        sequential([nop(), panics()]),
        concurrent([nop(), panics()]),
        sequence([nop(), panics()]),
        task("around", panics()),
    ]
    .into_iter()
    .enumerate()
    {
        let app = Process::new();
        let all = record_failures(&app);
        let ended = errors(block_on(run_in(&app, &runnable, |_| async {})));
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert!(ended[0].ends_with("panicked: no more runs"), "{ended:?}");
        assert_eq!(all.lock().unwrap().len(), 1, "{place}: {ended:?}");
        app.close_blocking().unwrap();
    }
}

/// Names with control characters are escaped in messages, and causes are printed once.
#[test]
fn messages_are_safe_and_short() {
    let app = Process::new();
    let ended = block_on(run_to_end(&app, &task("a\n\u{1b}[2J", fails()))).unwrap_err();
    let Error::Failed(failed) = &ended else { panic!("{ended}") };
    let error = failed.get().downcast_ref::<TaskError>().unwrap();
    assert_eq!(error.to_string(), "task `a\\u{a}\\u{1b}[2J` failed");
    let text = ended.with_causes().to_string();
    assert_eq!(text.matches("broken").count(), 1, "{text}");
    assert!(text.chars().all(|character| !character.is_control()), "{text}");
    let service = Service::new(named("a\nb", fails()));
    let _started_or_failed = service.start_blocking();
    let text = service.done().wait().unwrap_err().with_causes().to_string();
    assert_eq!(text, "process `a\\u{a}b/part` failed: broken");
}

/// A captured value whose drop panics does not unwind out of the drop of the runnable, and the others are dropped.
#[test]
fn a_captured_value_whose_drop_panics() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }

    let kept = std::sync::Arc::new(());
    let part = || {
        let held = (Panics, kept.clone());
        body(move |_| {
            let _held = &held;
            async {}
        })
    };
    drop(named("outer", parallel([part(), part(), part()])));
    assert_eq!(std::sync::Arc::strong_count(&kept), 1);
}
