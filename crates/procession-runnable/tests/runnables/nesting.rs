//! Nothing recurses over nested runnables: each combinator, 10,000 deep, on a small stack.

use std::sync::mpsc;
use std::thread;

use futures_lite::future::block_on;
use procession::Process;
use procession_runnable::{
    Runnable, body, chain, concurrent, concurrent_group, named, nop, parallel, run_in, run_to_end,
    sequence, sequential, task, trace_region,
};

use crate::common::Events;

const DEPTH: usize = 10_000;

type Wrap = fn(Runnable) -> Runnable;

const WRAPS: [(&str, Wrap); 12] = [
    ("named", |inner| named("x", inner)),
    ("trace_region", |inner| trace_region("x", inner)),
    ("named and regions", |inner| named("x", trace_region("x", inner))),
    ("parallel of one", |inner| parallel([inner])),
    ("parallel", |inner| parallel([nop(), inner])),
    ("sequential", |inner| sequential([nop(), inner])),
    ("chain", |inner| chain([nop(), inner])),
    ("concurrent", |inner| concurrent([nop(), inner])),
    ("concurrent_group", |inner| concurrent_group([nop(), inner])),
    ("sequence", |inner| sequence([nop(), inner])),
    ("task", |inner| task("x", inner)),
    ("all", |inner| named("x", task("x", sequential([nop(), parallel([nop(), inner])])))),
];

fn nested(wrap: Wrap, depth: usize, mut inner: Runnable) -> Runnable {
    for _ in 0..depth {
        inner = wrap(inner);
    }
    inner
}

/// Calls `run` on a thread with 256 KiB of stack.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap();
    thread.join().unwrap();
}

/// Deeply nested runnables start, run, stop and are dropped.
#[test]
fn deep_nesting() {
    for (name, wrap) in WRAPS {
        on_a_small_stack(move || {
            let depth = if name == "all" { DEPTH / 3 } else { DEPTH };
            let events = Events::default();
            let (up, down) = (events.clone(), events.clone());
            let core = body(move |run| {
                let (up, down) = (up.clone(), down.clone());
                async move {
                    up.add("up");
                    run.ready();
                    run.closing().await;
                    down.add("down");
                }
            });
            let runnable = nested(wrap, depth, core);
            let app = Process::new();
            let inside = events.clone();
            block_on(run_in(&app, &runnable, |_| async move { inside.add("body") })).unwrap();
            app.close_blocking().unwrap();
            assert_eq!(events.all(), ["up", "body", "down"], "{name}");
        });
    }
}

/// Deeply nested runnables fail: the error reaches the caller, and can be printed and dropped.
#[test]
fn deep_failures() {
    for (name, wrap) in WRAPS {
        on_a_small_stack(move || {
            let depth = if name == "all" { DEPTH / 3 } else { DEPTH };
            let runnable = nested(wrap, depth, body(|_| async { Err("broken") }));
            let app = Process::new();
            let error = block_on(run_to_end(&app, &runnable)).unwrap_err();
            app.close_blocking().unwrap();
            assert!(error.with_causes().to_string().ends_with("broken"), "{name}");
            assert!(format!("{error:?}").len() < 10_000_000, "{name}");
        });
    }
}

/// Nested names are joined completely.
#[test]
fn deep_names() {
    let (tell, told) = mpsc::sync_channel(1);
    let tells = body(move |run| {
        tell.send(run.name()).unwrap();
        async {}
    });
    let app = Process::new();
    block_on(run_to_end(&app, &nested(|inner| named("ab", inner), DEPTH, tells))).unwrap();
    let name = told.recv().unwrap().unwrap();
    assert_eq!(name.len(), 3 * DEPTH - 1);
    assert!(name.split('/').all(|part| part == "ab"));
    app.close_blocking().unwrap();
}

/// Two threads drop the last handles to the same nested parts at once.
#[test]
fn two_threads_drop_the_last_two_clones() {
    for round in 0..60 {
        let (_, wrap) = WRAPS[round % WRAPS.len()];
        let mut inner = nop();
        let mut clones = Vec::new();
        for _ in 0..DEPTH / 10 {
            inner = wrap(inner);
            clones.push(inner.clone());
        }
        let (start, started) = mpsc::sync_channel::<()>(0);
        let other = thread::Builder::new().stack_size(256 << 10).spawn(move || {
            started.recv().unwrap();
            drop(clones);
        });
        let this = thread::Builder::new().stack_size(256 << 10).spawn(move || {
            start.send(()).unwrap();
            drop(inner);
        });
        other.unwrap().join().unwrap();
        this.unwrap().join().unwrap();
    }
}
