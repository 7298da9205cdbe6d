//! Work that runs to its end: `concurrent`, `concurrent_group`, `sequence`; and tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::future::{block_on, yield_now};
use procession::{Error, Process};
use procession_runnable::{
    Runnable, TaskError, body, concurrent, concurrent_group, named, nop, run_in, run_to_end,
    sequence, task, trace_region,
};

use crate::common::{Behaviour, BodyKind, Events, Executor, errors, everywhere, part};

fn run(executor: Executor, runnable: &Runnable) -> Vec<String> {
    let app = executor.app();
    let ended = errors(block_on(run_to_end(&app, runnable)));
    app.close_blocking().unwrap();
    ended
}

/// All parts run to their end, even if some fail; all errors are in the outcome, in the order of the parts.
#[test]
fn concurrent_runs_all_to_the_end() {
    for (executor, kind) in everywhere() {
        let events = Events::default();
        let ended = Arc::new(AtomicUsize::new(0));
        let counter = ended.clone();
        let slow = body(move |run| {
            let ended = counter.clone();
            async move {
                for _ in 0..1_000 {
                    yield_now().await;
                }
                assert!(!run.is_closing());
                ended.fetch_add(1, Ordering::SeqCst);
            }
        });
        let all = concurrent([
            part("a", Behaviour::FailLater, &events, kind),
            slow,
            part("b", Behaviour::PanicAtStart, &events, kind),
            part("c", Behaviour::EndUnready, &events, kind),
            part("d", Behaviour::FailToStart, &events, kind),
        ]);
        assert_eq!(
            run(executor, &all),
            [
                "process `a` failed: broken",
                "process `b` panicked: at start",
                "process `d` failed: cannot start"
            ]
        );
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    }
}

/// The first error closes the other parts, and the group waits for them. It is the only error, because the others stop
/// without one.
#[test]
fn a_concurrent_group_closes_with_the_first_error() {
    for (executor, kind) in everywhere() {
        for way in [Behaviour::FailLater, Behaviour::PanicAtStart, Behaviour::FailToStart] {
            let events = Events::default();
            let group = concurrent_group([
                part("a", Behaviour::Serve, &events, kind),
                part("b", Behaviour::Hang, &events, kind),
                part("c", way, &events, kind),
            ]);
            let ended = run(executor, &group);
            assert_eq!(ended.len(), 1, "{ended:?}");
            assert!(ended[0].starts_with("process `c` "));
            let all = events.all();
            for part in ["a", "b"] {
                let up = all.contains(&format!("{part} up"));
                assert_eq!(all.contains(&format!("{part} down")), up, "{all:?}");
            }
        }
    }
    let events = Events::default();
    let well = [("a", Behaviour::EndLater), ("b", Behaviour::EndUnready)];
    let well = well.map(|(name, behaviour)| part(name, behaviour, &events, BodyKind::Task));
    assert_eq!(run(Executor::Shared, &concurrent_group(well)), [""; 0]);
}

/// The parts run one after the other. The first error ends the sequence, and the remaining parts are not started.
#[test]
fn a_sequence_ends_with_the_first_error() {
    for (executor, kind) in everywhere() {
        let events = Events::default();
        let steps = sequence([
            part("a", Behaviour::EndLater, &events, kind),
            part("b", Behaviour::EndUnready, &events, kind),
            part("c", Behaviour::FailLater, &events, kind),
            part("d", Behaviour::EndLater, &events, kind),
        ]);
        assert_eq!(run(executor, &steps), ["process `c` failed: broken"]);
        assert_eq!(events.all(), ["a up", "b up", "c up"]);
    }
}

/// Closing ends each combination: the parts that run are closed, and the others are not started.
#[test]
fn closing_ends_them() {
    let combine: [fn(Vec<Runnable>) -> Runnable; 3] =
        [|parts| concurrent(parts), |parts| concurrent_group(parts), |parts| sequence(parts)];
    for combine in combine {
        let events = Events::default();
        let parts = ["a", "b"].map(|name| part(name, Behaviour::Serve, &events, BodyKind::Task));
        let app = Process::new();
        let ended = run_to_end(&app, &combine(parts.to_vec()));
        while !events.all().contains(&"a up".to_owned()) {
            std::thread::yield_now();
        }
        app.close();
        block_on(ended).unwrap();
        app.closed().wait().unwrap();
        let all = events.all();
        let count = |end: &str| all.iter().filter(|event| event.ends_with(end)).count();
        assert_eq!(count("up"), count("down"), "{all:?}");
    }
}

/// Combinations are ready when all their parts are, so that they can be parts of groups that serve.
#[test]
fn combinations_become_ready() {
    let combine: [fn(Vec<Runnable>) -> Runnable; 2] =
        [|parts| concurrent(parts), |parts| concurrent_group(parts)];
    for combine in combine {
        let events = Events::default();
        let parts = ["a", "b"].map(|name| part(name, Behaviour::Serve, &events, BodyKind::Task));
        let inside = events.clone();
        let app = Process::new();
        let ended = run_in(&app, &combine(parts.to_vec()), |_| async move {
            inside.add("body");
        });
        assert_eq!(errors(block_on(ended)), [""; 0]);
        assert_eq!(events.all()[2], "body");
    }
}

/// A combination of no parts is `nop`, one of a single part is that part, and combinations nest.
#[test]
fn none_and_one_and_nested() {
    for combine in [
        |parts| concurrent(parts),
        |parts| concurrent_group(parts),
        |parts: Vec<_>| sequence(parts),
    ] {
        assert_eq!(run(Executor::Shared, &combine(Vec::new())), [""; 0]);
        assert_eq!(run(Executor::Shared, &combine(vec![combine(Vec::new()), nop()])), [""; 0]);
        let fails = named("a", body(|_| async { Err("broken") }));
        assert_eq!(
            run(Executor::Shared, &combine(vec![fails.clone()])),
            ["process `a` failed: broken"]
        );
        let mut nested = fails;
        for _ in 0..300 {
            nested = combine(vec![nop(), nested]);
        }
        assert_eq!(run(Executor::Shared, &nested), ["process `a` failed: broken"]);
    }
}

/// The error of a task has the kind of the task and the error of the runnable; a region does not change the error.
#[test]
fn tasks_and_regions() {
    let fails = || named("import", body(|_| async { Err(std::io::Error::other("disk")) }));
    let app = Process::new();
    let error = block_on(run_to_end(&app, &task("nightly", fails()))).unwrap_err();
    let Error::Failed(failed) = &error else { panic!("{error}") };
    let failed = failed.get().downcast_ref::<TaskError>().unwrap();
    assert_eq!(failed.task(), "nightly");
    assert_eq!(failed.to_string(), "task `nightly` failed");
    let mut source = std::error::Error::source(&error);
    let mut chain = Vec::new();
    while let Some(error) = source {
        chain.push(error.is::<std::io::Error>());
        source = error.source();
    }
    assert_eq!(chain.last(), Some(&true));
    assert_eq!(
        run(Executor::Shared, &trace_region("nightly", fails())),
        ["process `import` failed: disk"]
    );
    assert_eq!(run(Executor::Shared, &task("nightly", nop())), [""; 0]);
}
