//! The units of the table start, the body runs, and the units stop.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{available_parallelism, current, sleep};
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, poll_once};
use procession::{Error, Job, Process, Smol, Spawn, Threads};
use procession_runnable::{
    Runnable, Start, body, body_thread, named, nop, parallel, run_in, start_stop_thread,
};
use procession_supervisor::{Manager, MemoryTable, Policy, Restart, State, Supervisor, Unit};
use smol::channel::unbounded;

use crate::defects::serve;
use crate::world::{Behaviour, LIMIT, Message, SECOND, World, stubborn, yielded};

#[test]
fn the_body_runs_between_start_and_stop() {
    let mut world = World::new();
    world.insert(["a", "b"]);
    let managed = world.start();
    assert!(managed.body_began());
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (1, 1));
    let mut happened = world.happened();
    happened.sort();
    assert_eq!(happened, ["a ready", "a started", "b ready", "b started"]);
    managed.close(&world).unwrap();
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 0));
    let mut happened = world.happened();
    happened.sort();
    assert_eq!(happened, ["a stopped", "a stopping", "b stopped", "b stopping"]);
    assert!(world.manager.list().is_empty());
}

/// The body waits for slow units up to the start limit. A unit that fails to start does not delay it.
#[test]
fn the_body_waits_for_the_start_limit() {
    let world = World::new();
    world.insert(["good", "bad", "slow"]);
    world.units.set("bad", Behaviour::FailToStart);
    world.units.set("slow", Behaviour::HangInStart);
    let managed = world.start();
    world.advance(SECOND / 2);
    assert!(!managed.body_began());
    world.advance(SECOND / 2);
    assert!(managed.body_began());
    assert_eq!(world.state("slow"), Some(State::Starting));
    managed.close(&world).unwrap();
}

/// The outcome has the body's error. The body runs once, even if the table is empty.
#[test]
fn the_bodys_outcome() {
    let manager = Manager::new(MemoryTable::<u32>::new());
    let error = manager.run_blocking(|_| Err("the body failed")).unwrap_err();
    assert!(error.with_causes().to_string().ends_with("failed: the body failed"), "{error}");
    block_on(manager.run(|_| async {})).unwrap();
}

/// A second run of a manager waits until the first one is over.
#[test]
fn one_run_at_a_time() {
    let world = World::new();
    world.insert(["a"]);
    let first = world.start();
    let second = world.start();
    let third = world.start();
    assert!(first.body_began() && !second.body_began() && !third.body_began());
    // A run that closes while it waits for its turn starts nothing.
    third.close(&world).unwrap();
    first.close(&world).unwrap();
    world.settle();
    assert!(second.body_began());
    assert_eq!(world.units.starts("a"), 2);
    second.close(&world).unwrap();
}

/// Managers work on the common executors, and with threads.
#[test]
fn managers_work_on_common_executors() {
    let table = MemoryTable::new();
    for key in 0..20 {
        table.insert(key, start_stop_thread(|_| (), || ()));
        table.insert(
            100 + key,
            body(|run| async move {
                run.ready();
                run.closing().await;
            }),
        );
    }
    let manager = Manager::new(table);
    let all_run = |manager: &Manager<i32>| {
        let list = manager.list();
        assert_eq!(list.len(), 40);
        assert!(list.iter().all(|status| status.state == State::Running), "{list:?}");
    };
    manager.run_blocking(|_| all_run(&manager)).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        manager.run(|_| async { all_run(&manager) }).await.unwrap();
    });
    let app = Process::builder().spawner(Smol).build().unwrap();
    smol::block_on(run_in(&app, &manager.runnable(), |_| async { all_run(&manager) })).unwrap();
    assert!(manager.list().is_empty());
}

/// A manager can be a unit, and a part of a group.
#[test]
fn managers_nest() {
    let world = World::new();
    let inner = MemoryTable::new();
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    inner.insert(
        "inner",
        body(move |run| {
            tell.lock().unwrap().send("up").unwrap();
            async move {
                run.ready();
                run.closing().await;
            }
        }),
    );
    let inner = Manager::builder(inner).name("inner manager").build();
    world.table.insert("nested", Unit::new(parallel([inner.runnable(), nop()])));
    let managed = world.start();
    assert_eq!(told.try_recv(), Ok("up"));
    assert_eq!(inner.get(&"inner").unwrap().name().as_deref(), Some("inner"));
    managed.close(&world).unwrap();
    assert!(inner.get(&"inner").is_err());
}

/// Waits until other threads have made the condition true.
fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "the condition did not hold within {LIMIT:?}");
        sleep(Duration::from_millis(1));
    }
}

/// An executor drops the manager's body while a helper is starting a run, and then drops its teardown before the end.
/// No run is lost or started twice, and each keeps its key until it has ended.
#[test]
fn an_executor_drops_the_manager_while_a_helper_starts_a_run() {
    const MANY: usize = 256;
    if available_parallelism().map_or(1, NonZeroUsize::get) == 1 {
        // There are no helpers.
        return;
    }
    let (task, task_waits, helper_waits) =
        (current().id(), AtomicBool::new(true), AtomicBool::new(true));
    let (tell_helped, helped) = unbounded();
    let (let_return, may_return) = unbounded::<()>();
    let (let_end, may_end) = unbounded::<()>();
    let starts: Arc<[AtomicUsize]> = (0..MANY).map(|_| AtomicUsize::new(0)).collect();
    let (count, held) = (starts.clone(), Arc::new(AtomicUsize::new(MANY)));
    let tell_held = held.clone();
    let idle = body(|run| async move {
        run.ready();
        run.closing().await;
    });
    let stubborn = body_thread(move |_| may_end.recv_blocking());
    // In the first run of the manager, the task's first start waits until a helper is at work. The helper's first start
    // makes a run that ignores its abort, and then waits for the test.
    let start_run = Arc::new(move |key: usize, start: Start<'_>| {
        count[key].fetch_add(1, Ordering::SeqCst);
        if current().id() == task {
            if task_waits.swap(false, Ordering::SeqCst) {
                helped.recv_blocking().unwrap();
            }
        } else if helper_waits.swap(false, Ordering::SeqCst) {
            tell_held.store(key, Ordering::SeqCst);
            let started = stubborn.start(start);
            tell_helped.try_send(()).unwrap();
            may_return.recv_blocking().unwrap();
            return started;
        }
        idle.start(start)
    });
    let rows = MemoryTable::new();
    for key in 0..MANY {
        let start_run = start_run.clone();
        rows.insert(key, Runnable::new(move |start| start_run(key, start)));
    }
    let manager = Manager::builder(rows).start_limit(Duration::MAX).build();

    let (give, given) = mpsc::channel();
    let has_body = AtomicBool::new(false);
    let spawner = move |job: Job| {
        let is_teardown = format!("{job:?}").starts_with("Job(teardown");
        if is_teardown || !has_body.swap(true, Ordering::SeqCst) {
            give.send(job).unwrap();
        } else {
            Threads.spawn(job);
        }
    };
    let app = Process::builder().spawner(spawner).build().unwrap();
    let (start, _readiness) = Start::under(&app);
    let run = manager.runnable().start(start).unwrap();
    let mut managing = given.try_recv().unwrap();
    assert!(block_on(poll_once(&mut managing)).is_none());
    drop(managing);
    assert!(run.is_closing());
    assert!(given.try_recv().is_err(), "the teardown must wait for the helper");
    let_return.try_send(()).unwrap();
    let mut stopping = given.recv_timeout(LIMIT).unwrap();
    assert!(block_on(poll_once(&mut stopping)).is_none());
    drop(stopping);
    run.closed().wait_timeout(LIMIT).unwrap().unwrap_err();

    let held = held.load(Ordering::SeqCst);
    until(|| manager.list().len() == 1);
    let stuck = &manager.list()[0];
    assert_eq!((stuck.key, stuck.state), (held, State::Stuck));
    let have_started = |key: usize, times| starts[key].load(Ordering::SeqCst) == times;
    assert!((0..MANY).all(|key| have_started(key, 1)));
    let app = Process::new();
    let (start, readiness) = Start::under(&app);
    let _next_run = manager.runnable().start(start).unwrap();
    block_on(readiness).unwrap();
    assert!((0..MANY).all(|key| have_started(key, if key == held { 1 } else { 2 })));
    let_end.try_send(()).unwrap();
    until(|| manager.counts().running == MANY);
    assert!((0..MANY).all(|key| have_started(key, 2)));
    app.close_blocking().unwrap();
}

/// A set that must start as a whole closes for a failure, and not for an error that a run returned while it stopped.
#[test]
fn an_error_in_a_stop_is_no_failed_start() {
    let world = World::new();
    world.units.set("a", Behaviour::StopWhenTold);
    world.units.set("b", Behaviour::HangInStart);
    let set = Supervisor::one_for_one(["a", "b"].map(|key| (key, world.units.unit(key))));
    let set = set.start_together(true).policy(Policy::new().clock(world.clock.clone()));
    let managed = world.run(set.runnable());
    let called = set.clone();
    let restarted = world.spawn(async move { called.restart("a").await });
    world.units.set("a", Behaviour::Serve);
    world.units.tell("a", Message::Fail);
    world.settle();
    yielded(restarted).unwrap();
    world.units.tell("a", Message::End);
    world.settle();
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (2, 0));
    assert!(!managed.has_ended());
    managed.close(&world).unwrap();
}

/// A start that panics or returns an error is a failure like any other: it names the unit, hooks above hear of it once,
/// and it is restarted.
#[test]
fn a_failed_start_is_a_failure_of_the_unit() {
    type StartFails = fn() -> Error;
    let closed = || {
        let other = Process::builder().name("other").build().unwrap();
        other.close_blocking().unwrap();
        other.spawn_thread(|_| {}).unwrap_err()
    };
    let kinds: [(Option<StartFails>, &str); 2] = [
        (None, "app/manager/units/a: process `a` panicked: at start"),
        (
            Some(closed),
            "app/manager/units/a: process `other` accepts no more work: it is closing or closed",
        ),
    ];
    for (fails, expected) in kinds {
        let mut world = World::new();
        let starts = Arc::new(AtomicUsize::new(0));
        let started = starts.clone();
        let unit = Runnable::new(move |start| match started.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(fails.map_or_else(|| panic!("at start"), |fails| fails())),
            _ => serve().start(start),
        });
        world.table.insert("a", Unit::new(unit));
        let app = Process::builder().name("app").spawner(world.executor.clone()).build().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        app.on_failure(move |process, error| {
            tell.lock().unwrap().push(format!("{}: {error}", process.label().path()));
        });
        let (start, _readiness) = Start::under(&app);
        let manager = world.manager.runnable().start(start).unwrap();
        world.settle();
        for _ in 0..2 {
            world.advance(SECOND);
        }
        assert_eq!(*told.lock().unwrap(), [expected; 2]);
        assert_eq!((world.state("a"), starts.load(Ordering::SeqCst)), (Some(State::Running), 3));
        let failed = format!("a failed: {}", expected.split_once(": ").unwrap().1);
        let happened = world.happened();
        assert_eq!(happened.iter().filter(|what| **what == failed).count(), 2, "{happened:#?}");
        app.close();
        world.settle();
        manager.outcome().unwrap().unwrap();
    }
}

/// A hook that is called for a failed start may block on the manager, as any other hook may.
#[test]
fn a_hook_for_a_failed_start_may_wait_for_the_manager() {
    type StartFails = fn() -> Error;
    let fails: [StartFails; 2] =
        [|| Error::failed(Process::new().label(), "no port".into()), || panic!("at start")];
    for fails in fails {
        let table = MemoryTable::new();
        table.insert(
            "a",
            Unit::new(Runnable::new(move |_| Err(fails()))).restart(Restart::Temporary),
        );
        table.insert("b", Unit::new(serve()));
        let manager = Manager::builder(table).build();
        let app = Process::new();
        let (tell, told) = mpsc::channel();
        let called = manager.clone();
        app.on_failure(move |_, _| drop(tell.send(called.stop_blocking(&"b"))));
        let (start, _readiness) = Start::under(&app);
        manager.runnable().start(start).unwrap();
        told.recv_timeout(LIMIT).unwrap().unwrap();
        app.close();
        assert!(app.closed().wait_timeout(LIMIT).is_some());
    }
}

/// A start that fails after it has made its process: the process is closed, and the next run waits for its end, even if
/// that ignores its abort (U1).
#[test]
fn a_start_that_fails_after_it_has_made_its_process() {
    for (panics, is_named) in [(false, false), (true, false), (false, true)] {
        let world = World::new();
        let (thread, release, runs) = stubborn();
        let thread = if is_named { named("part", thread) } else { thread };
        let starts = Arc::new(AtomicUsize::new(0));
        let started = starts.clone();
        let unit = Unit::new(Runnable::new(move |start| {
            let made = thread.start(start)?;
            match started.fetch_add(1, Ordering::SeqCst) {
                0 if panics => panic!("at start"),
                0 => Err(Error::failed(made.label(), "no port".into())),
                _ => Ok(made),
            }
        }));
        world.table.insert("a", unit.grace(SECOND));
        let managed = world.start();
        runs.recv_timeout(LIMIT).unwrap();
        world.until(|| world.state("a") == Some(State::Stopping));
        world.advance(SECOND);
        world.advance(SECOND * 5);
        world.advance(SECOND * 30);
        assert_eq!(world.state("a"), Some(State::Stuck));
        assert_eq!(starts.load(Ordering::SeqCst), 1);
        release.send(()).unwrap();
        world.until(|| world.state("a") == Some(State::Waiting));
        world.advance(SECOND * 30);
        world.until(|| world.state("a") == Some(State::Running));
        runs.recv_timeout(LIMIT).unwrap();
        world.close_with_thread(managed, &release);
    }
}

/// The process is closed, and the unit keeps its key, even if everything is aborted before the failure takes effect.
#[test]
fn a_start_that_fails_after_it_has_made_its_process_while_everything_is_aborted() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let app = world.app();
    let aborted = app.downgrade();
    let unit = Unit::new(Runnable::new(move |start| {
        let made = thread.start(start)?;
        aborted.upgrade().unwrap().abort();
        Err(Error::failed(made.label(), "no port".into()))
    }));
    world.table.insert("a", unit);
    let run = world.manager.runnable().start(Start::under(&app).0).unwrap();
    world.settle();
    runs.recv_timeout(LIMIT).unwrap();
    world.advance(SECOND * 5);
    world.until(|| run.is_closed());
    assert_eq!(world.state("a"), Some(State::Stuck));
    release.send(()).unwrap();
    world.until(|| world.state("a").is_none());
}

/// If that process fails too, its failure is part of that of the unit.
#[test]
fn a_start_that_fails_after_it_has_made_a_process_that_fails() {
    let mut world = World::new();
    let fails = body(|run| async move {
        run.closing().await;
        Err::<(), _>("disk full")
    });
    let unit = Runnable::new(move |start| {
        let made = fails.start(start)?;
        Err(Error::failed(made.label(), "no port".into()))
    });
    world.table.insert("a", Unit::new(unit).restart(Restart::Temporary));
    let managed = world.start();
    let happened = world.happened();
    let failed = happened.iter().find(|what| what.starts_with("a failed")).unwrap();
    assert!(failed.contains("no port") && failed.contains("disk full"), "{failed}");
    managed.close(&world).unwrap();
}
