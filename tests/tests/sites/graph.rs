//! Processes, bodies, conditions, hooks, limiters, periodic processes and scopes.

use std::future::pending;
use std::sync::mpsc;

use futures_lite::future::block_on;
use futures_lite::{StreamExt, stream};
use procession::{Blocker, BlockerKind, Limited, Link, Periodic, Process, Work, ok_with, scope};
use procession_tests::{LIMIT, ends_well};
use tokio_util::sync::CancellationToken;

use super::{LIBRARY, Labels, assert_made_here, stay, stay_blocked, wait_for, wait_until};

#[test]
fn sites_of_children_and_bodies() {
    let _labels = Labels::watch();
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
    let _labels = Labels::watch();
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
    let _labels = Labels::watch();
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

/// Somebody holds a slot without a child, and all ways to wait for that slot are in use.
#[test]
fn sites_of_slots_and_of_those_who_wait_for_one() {
    let _labels = Labels::watch();
    let app = Process::new();
    let limited = Limited::new(&app, 1).unwrap();
    let slot = limited.acquire().wait().unwrap();
    let (made, children) = mpsc::channel();
    let of_task = made.clone();
    let waiting = limited.clone();
    app.spawn_thread(move |_| waiting.acquire().wait().map(drop)).unwrap();
    let waiting = limited.clone();
    let child = move |child: Process| {
        made.send(child.clone()).unwrap();
        child.closing().wait();
    };
    app.spawn_thread(move |_| waiting.spawn_thread(child).map(drop)).unwrap();
    let waiting = limited.clone();
    app.spawn(|_| async move { waiting.acquire().await.map(drop) }).unwrap();
    let child = |child: Process| async move {
        of_task.send(child.clone()).unwrap();
        child.closing().await;
    };
    app.spawn(|_| async move { limited.spawn(child).await.map(drop) }).unwrap();
    let waits = || {
        let snapshot = app.snapshot();
        snapshot.edges().filter(|edge| edge.kind() == Link::SlotWait).count()
    };
    wait_until(&app, || waits() == 2);
    assert_made_here(&app, 6);
    assert!(app.snapshot().processes().any(|process| !process.held_slots().is_empty()));
    drop(slot);
    for _ in 0..2 {
        let child: Process = children.recv_timeout(LIMIT).unwrap();
        assert_eq!(child.site().file(), file!());
        assert_made_here(&app, 3);
        child.close();
    }

    app.close_blocking().unwrap();
}

/// A slot that somebody holds delays the end of those who wait for it, and appears with the line that asked for it.
#[test]
fn site_of_a_slot_that_delays_a_closing() {
    let _labels = Labels::watch();
    let (app, other) = (Process::new(), Process::new());
    let limited = Limited::new(&other, 1).unwrap();
    let slot = limited.try_acquire().unwrap();
    app.spawn_thread(move |_| limited.acquire().wait().map(drop)).unwrap();
    app.close();
    let is_slot = |blocker: &Blocker| blocker.kind == BlockerKind::Slot;
    wait_until(&app, || app.blockers(9).first.iter().any(is_slot));
    assert_made_here(&app, 3);
    drop(slot);
    ends_well(&app);
}

/// The background process is made by the first call that asks for it.
#[test]
fn site_of_the_background_process() {
    let _labels = Labels::watch();
    let background = Process::background();
    assert_eq!(background.site().file(), file!());
    let child = background.child();
    assert_made_here(&child, 1);
    assert!(!format!("{:#}", background.snapshot()).contains(LIBRARY));
    child.close_blocking().unwrap();
}
