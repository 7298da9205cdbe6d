//! The units of the table start, the body runs, and the units stop.

use std::sync::mpsc;

use futures_lite::future::block_on;
use procession::{Process, Smol};
use procession_runnable::{body, nop, parallel, run_in, start_stop_thread};
use procession_supervisor::{Manager, MemoryTable, State, Unit};

use crate::world::{Does, SECOND, World};

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
    world.units.set("bad", Does::FailToStart);
    world.units.set("slow", Does::HangInStart);
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

/// A second run at the same time waits its turn.
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
