//! Each process records the line of user code that made or described it, never a line of the library.

use std::future::pending;
use std::sync::mpsc;
use std::thread;

use futures_lite::future::block_on;
use futures_lite::{StreamExt, stream};
use procession::{Limited, Periodic, Process, Work, main, ok_with, scope};
use procession_runnable::{
    Runnable, Service, Start, body, body_thread, chain, concurrent, concurrent_group, leaf,
    leaf_thread, leaf_thread_without_stop, leaf_without_stop, named, parallel, run_in, run_to_end,
    sequence, sequential, start_stop, start_stop_thread,
};
use procession_supervisor::{Manager, MemoryTable, Supervisor, Unit};
use procession_tests::{LIMIT, ends_well};
use tokio_util::sync::CancellationToken;

/// Checks that every process below this one, itself included, was made in this file. There must be at least `count` of
/// them.
#[track_caller]
fn assert_made_here(process: &Process, count: usize) {
    let snapshot = process.snapshot();
    let all = snapshot.processes();
    assert!(all.len() >= count, "{} of {count}:\n{snapshot:#}", all.len());
    let sites = all.map(|process| process.site());
    let foreign: Vec<_> = sites.filter(|site| site.file() != file!()).collect();
    assert!(foreign.is_empty(), "{foreign:?} in\n{snapshot:#}");
    assert!(!snapshot.to_string().contains("crates/procession"), "{snapshot}");
}

/// Waits until at least `count` processes are below this one, itself included.
#[track_caller]
fn wait_for(process: &Process, count: usize) {
    let begin = std::time::Instant::now();
    while process.snapshot().processes().len() < count {
        assert!(begin.elapsed() < LIMIT, "{:#}", process.snapshot());
        thread::yield_now();
    }
}

async fn stay(process: Process) {
    process.closing().await;
}

fn stay_blocked(process: Process) {
    process.closing().wait();
}

#[test]
fn sites_of_children_and_bodies() {
    for app in [Process::new(), Process::with_teardown(|| ()), Process::default()] {
        let _child = app.child();
        let builder = || Process::builder().parent(&app);
        let _built = builder().build().unwrap();
        builder().spawn(stay).unwrap();
        builder().spawn_thread(stay_blocked).unwrap();
        let _tasks = [
            app.spawn_task(|p| async move { ok_with(p.closing().timeout(LIMIT).await) }).unwrap(),
            app.spawn_task_thread(|p| ok_with(p.closing().wait_timeout(LIMIT))).unwrap(),
            builder()
                .spawn_task(|p| async move { ok_with(p.closing().timeout(LIMIT).await) })
                .unwrap(),
            builder().spawn_task_thread(|p| ok_with(p.closing().wait_timeout(LIMIT))).unwrap(),
        ];
        app.spawn(stay).unwrap();
        app.spawn_thread(stay_blocked).unwrap();
        let _run = app.run(stay);
        assert_made_here(&app, 11);
        drop(_run);
        app.close_blocking().unwrap();
    }
}

#[test]
fn sites_of_conditions_and_hooks() {
    let app = Process::new();
    let token = CancellationToken::new();
    app.close_when(pending::<()>()).unwrap();
    app.close_when_cancelled(&token).unwrap();
    app.wait_for_future(pending::<()>()).unwrap();
    app.wait_for_cancelled(&token).unwrap();
    let (started, start) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let hook = app.on_closing(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    hook.unwrap().detach();
    assert_made_here(&app, 5);
    app.close();
    start.recv_timeout(LIMIT).unwrap();
    assert_made_here(&app, 4);
    assert!(app.snapshot().processes().any(|process| process.work() == Work::Hook));
    drop(go);
    app.abort();
    ends_well(&app);
}

#[test]
fn sites_of_limiters_periodic_processes_and_scopes() {
    let app = Process::new();
    let limited = Limited::new(&app, 6).unwrap();
    block_on(limited.spawn(stay)).unwrap();
    limited.spawn_thread(stay_blocked).unwrap();
    limited.try_spawn(stay).unwrap();
    limited.try_spawn_thread(stay_blocked).unwrap();
    limited.try_acquire().unwrap().spawn(stay).unwrap();
    limited.try_acquire().unwrap().spawn_thread(stay_blocked).unwrap();
    let ticks = || stream::once(()).chain(stream::pending());
    Periodic::on(ticks()).spawn(&app, stay).unwrap();
    Periodic::on(ticks()).spawn_thread(&app, stay_blocked).unwrap();
    Periodic::on(ticks()).overlapping().spawn(&app, stay).unwrap();
    Periodic::on(ticks()).overlapping().spawn_thread(&app, stay_blocked).unwrap();
    wait_for(&app, 16);
    assert_made_here(&app, 16);
    scope(|scope| {
        scope.spawn_thread(stay_blocked)?;
        assert_made_here(&scope, 2);
        scope.close();
        procession::ok()
    })
    .unwrap();
    app.close_blocking().unwrap();
}

#[test]
fn site_of_a_program() {
    let _exit = main(|p| {
        p.spawn_thread(stay_blocked)?;
        assert_made_here(&p, 2);
        p.close();
        procession::ok()
    });
}

fn stays() -> Runnable {
    body(|run| async move {
        run.ready();
        run.closing().await;
    })
}

/// A runnable of each kind, and the number of processes that it has while it runs.
fn runnables() -> Vec<(Runnable, usize)> {
    let ready = |run: procession_runnable::Run| async move {
        run.ready();
        run.closing().await;
    };
    let ready_blocked = |run: procession_runnable::Run| {
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
    let app = Process::new();
    let go = Process::new();
    let waits = go.clone();
    let stop = move |_: Process| {
        let closed = waits.closed();
        async move { drop(closed.await) }
    };
    let runnable = leaf(|run: procession_runnable::Run| async move { run.closing().await }, stop);
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

#[test]
fn sites_of_managers_and_sets() {
    let table = MemoryTable::new();
    table.insert("unit", Unit::new(stays()));
    let manager = Manager::new(table);
    let app = Process::new();
    let run = manager.runnable().start(Start::under(&app).0).unwrap();
    wait_for(&app, 4);
    assert_made_here(&app, 4);
    run.close_blocking().unwrap();
    let of_body = |p: &Process| assert_made_here(p, 1);
    manager
        .run_blocking(|p| {
            of_body(&p);
            assert_made_here(&manager.get(&"unit").unwrap(), 1);
        })
        .unwrap();

    let units = || [("one", stays()), ("other", stays())];
    let sets = [
        Supervisor::one_for_one(units()),
        Supervisor::one_for_all(units()),
        Supervisor::rest_for_one(units()),
    ];
    for set in sets {
        let above = app.clone();
        block_on(run_in(&app, &set.runnable(), |_| async move {
            assert_made_here(&above, 9);
            procession::ok()
        }))
        .unwrap();
    }
    app.close_blocking().unwrap();
}
