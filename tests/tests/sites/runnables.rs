//! Runnables of each kind, and their runs and services.

use std::time::Duration;

use futures_lite::future::block_on;
use procession::Process;
use procession_runnable::{
    ReadyFlag, Run, Runnable, Service, Start, body, body_thread, chain, concurrent,
    concurrent_group, drain, leaf, leaf_thread, leaf_thread_without_stop, leaf_without_stop, named,
    parallel, run_in, run_to_end, sequence, sequential, start_stop, start_stop_thread, task,
    trace_region,
};
use procession_tests::ends_well;

use super::{Labels, assert_made_here, wait_for};

fn stays() -> Runnable {
    body(|run| async move {
        run.ready();
        run.closing().await;
    })
}

/// A runnable of each kind, and the number of processes that it has while it runs.
fn runnables() -> Vec<(Runnable, usize)> {
    let ready = |run: Run| async move {
        run.ready();
        run.closing().await;
    };
    let ready_blocked = |run: Run| {
        run.ready();
        run.closing().wait();
    };
    let one = stays;
    vec![
        (body(ready), 1),
        (body_thread(ready_blocked), 1),
        (leaf(ready, |_| async {}), 2),
        (leaf_thread(ready_blocked, |_| ()), 2),
        (leaf_without_stop(ready), 2),
        (leaf_thread_without_stop(ready_blocked), 2),
        (start_stop(|_| async {}, || async {}), 1),
        (start_stop_thread(|_| (), || ()), 1),
        (named("named", one()), 1),
        (task("task", one()), 2),
        (trace_region("region", one()), 1),
        (drain(Duration::ZERO, &ReadyFlag::new()), 1),
        (parallel([one(), one()]), 3),
        (sequential([one(), one()]), 3),
        (chain([one(), one()]), 3),
        (concurrent([one(), one()]), 3),
        (concurrent_group([one(), one()]), 3),
        (sequence([one(), one()]), 2),
        (Runnable::new(move |start| start.spawn(ready)), 1),
        (Runnable::new(move |start| stays().start(start.named("outer"))), 1),
    ]
}

#[test]
fn sites_of_each_kind_of_runnable() {
    let _labels = Labels::watch();
    let app = Process::new();
    for (runnable, count) in runnables() {
        let (start, _readiness) = Start::under(&app);
        let run = runnable.start(start).unwrap();
        wait_for(&run, count);
        assert_made_here(&run, count);
        run.close_blocking().unwrap();
    }
    app.close_blocking().unwrap();
}

/// A run has the line where the innermost runnable was described.
#[test]
fn a_run_has_the_line_of_the_innermost_description() {
    let _labels = Labels::watch();
    let app = Process::new();
    let line = line!() + 1;
    let described = body(|run| async move { run.closing().await });
    let runnable = named("outer", described);
    let run = runnable.start(Start::under(&app).0).unwrap();
    assert_eq!((run.site().line(), run.site().file()), (line, file!()));
    app.close_blocking().unwrap();
}

/// A stop that hangs appears with the line where its runnable was described.
#[test]
fn site_of_a_stop() {
    let _labels = Labels::watch();
    let app = Process::new();
    let go = Process::new();
    let waits = go.clone();
    let stop = move |_: Process| {
        let closed = waits.closed();
        async move { drop(closed.await) }
    };
    let runnable = leaf(|run: Run| async move { run.closing().await }, stop);
    let run = runnable.start(Start::under(&app).0).unwrap();
    wait_for(&run, 2);
    run.close();
    wait_for(&run, 2);
    assert_made_here(&app, 2);
    go.close();
    app.close_blocking().unwrap();
}

#[test]
fn sites_of_runs_and_services() {
    let _labels = Labels::watch();
    let app = Process::new();
    let runnable = stays();
    block_on(run_in(&app, &runnable, |p| async move {
        assert_made_here(&p, 1);
        p.close();
    }))
    .unwrap();
    let above = app.clone();
    block_on(run_in(&app, &runnable, |_| async move {
        assert_made_here(&above, 5);
        procession::ok()
    }))
    .unwrap();
    let ends = run_to_end(&app, &runnable);
    assert_made_here(&app, 2);
    app.close();
    block_on(ends).unwrap();
    ends_well(&app);

    let app = Process::new();
    let service = Service::under(&app, stays()).unwrap();
    service.start_blocking().unwrap();
    assert_made_here(&app, 3);
    service.stop_blocking().unwrap();
    let alone = Service::new(body(|run| async move {
        assert_made_here(&run, 1);
        run.ready();
        run.closing().await;
    }));
    alone.start_blocking().unwrap();
    alone.stop_blocking().unwrap();
}
