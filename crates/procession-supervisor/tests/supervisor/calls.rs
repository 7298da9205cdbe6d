//! `get`, `start`, `stop` and `list` in each state, and at most one run for each key.

use std::thread;

use procession_supervisor::{Manager, ManagerError, State};

use crate::world::{Behaviour, Message, SECOND, World, yielded};

/// The error of a call, as text.
fn refused<T>(result: Result<T, ManagerError>) -> String {
    match result {
        Ok(_) => "it was done".into(),
        Err(error) => error.with_causes().to_string(),
    }
}

#[test]
fn calls_are_refused_while_the_manager_is_not_running() {
    let world = World::new();
    world.insert(["a"]);
    let not_running = "the manager is not running";
    for _ in 0..2 {
        assert_eq!(refused(world.manager.get(&"a")), not_running);
        assert_eq!(refused(yielded(world.start_unit("a"))), not_running);
        assert_eq!(refused(yielded(world.stop_unit("a"))), not_running);
        assert_eq!(refused(world.manager.start_blocking("a")), not_running);
        assert_eq!(refused(world.manager.stop_blocking(&"a")), not_running);
        assert!(world.manager.list().is_empty());
        world.start().close(&world).unwrap();
    }
}

#[test]
fn calls_in_each_state() {
    let mut world = World::new();
    world.insert(["runs", "starts", "waits", "ends"]);
    world.units.set("starts", Behaviour::HangInStart);
    world.units.set("waits", Behaviour::FailToStart);
    let managed = world.start();
    world.units.tell("ends", Message::End);
    world.settle();
    let manager = &world.manager;

    assert_eq!(manager.get(&"runs").unwrap().name().as_deref(), Some("runs"));
    assert_eq!(refused(manager.get(&"starts")), "unit `starts` is still starting");
    assert_eq!(
        refused(manager.get(&"waits")),
        "cannot get unit `waits` while it is waiting for its restart"
    );
    assert_eq!(refused(manager.get(&"ends")), "cannot get unit `ends` while it is ended");
    assert_eq!(refused(manager.get(&"none")), "there is no unit `none`");

    assert_eq!(refused(yielded(world.start_unit("runs"))), "unit `runs` already has a run");
    assert_eq!(refused(yielded(world.start_unit("starts"))), "unit `starts` already has a run");
    assert_eq!(refused(yielded(world.start_unit("none"))), "there is no unit `none`");
    assert_eq!(manager.list().len(), 4);
    let failed = "process `waits` failed: cannot start";
    assert_eq!(refused(yielded(world.start_unit("waits"))), failed);
    yielded(world.start_unit("ends")).unwrap();

    assert_eq!(refused(yielded(world.stop_unit("none"))), "there is no unit `none`");
    for key in ["runs", "starts", "waits"] {
        yielded(world.stop_unit(key)).unwrap();
        assert_eq!((world.state(key), world.units.runs(key)), (Some(State::Stopped), 0));
        let stopped = format!("cannot stop unit `{key}` while it is stopped");
        assert_eq!(refused(yielded(world.stop_unit(key))), stopped);
    }
    // A stopped unit stays stopped through scans, until a call starts it.
    world.advance(SECOND * 100);
    assert_eq!(world.units.starts("runs"), 1);
    yielded(world.start_unit("runs")).unwrap();
    assert_eq!(world.units.starts("runs"), 2);
    managed.close(&world).unwrap();
    // A unit that never had a row is not reported as gone.
    assert!(!world.happened().iter().any(|event| event.starts_with("none")));
}

/// Stopping a unit that waits for its restart takes effect at once, and sends an event.
#[test]
fn stopping_a_waiting_unit() {
    let mut world = World::new();
    world.insert(["a"]);
    let managed = world.start();
    for _ in 0..2 {
        world.units.tell("a", Message::Fail);
        world.settle();
        world.happened();
        yielded(world.stop_unit("a")).unwrap();
        assert_eq!(world.happened(), ["a stopped"]);
        world.advance(SECOND * 60);
        assert_eq!(world.units.runs("a"), 0);
        yielded(world.start_unit("a")).unwrap();
    }
    world.units.tell("a", Message::Fail);
    world.settle();
    world.happened();
    managed.close(&world).unwrap();
    assert_eq!(world.happened(), ["a stopped"]);
}

/// A caller that waits for a start is answered when the unit, or the manager, is stopped.
#[test]
fn a_start_that_is_cut_short() {
    let world = World::new();
    let managed = world.start();
    world.units.set("a", Behaviour::HangInStart);
    world.insert(["a"]);
    world.settle();
    yielded(world.stop_unit("a")).unwrap();
    let starting = world.start_unit("a");
    assert!(!starting.is_finished());
    yielded(world.stop_unit("a")).unwrap();
    assert_eq!(refused(yielded(starting)), "unit `a` was stopped while it started");
    let starting = world.start_unit("a");
    managed.close(&world).unwrap();
    assert_eq!(refused(yielded(starting)), "unit `a` was stopped while it started");
}

/// A manager that is stopping counts as not running.
#[test]
fn calls_are_refused_while_the_manager_stops() {
    let world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::IgnoreClosing);
    let managed = world.start();
    managed.app.close();
    world.settle();
    world.insert(["b"]);
    assert!(matches!(yielded(world.start_unit("b")), Err(ManagerError::NotRunning)));
    assert!(matches!(yielded(world.stop_unit("a")), Err(ManagerError::NotRunning)));
    assert!(matches!(world.manager.get(&"a"), Err(ManagerError::NotRunning)));
    assert_eq!(world.state("a"), Some(State::Stopping));
    world.advance(SECOND * 10);
    assert_eq!(world.units.starts("b"), 0);
    managed.outcome().unwrap();
}

/// A key becomes free when its run is Closed, not when the run is asked to stop.
#[test]
fn a_key_is_free_when_its_run_is_closed() {
    let mut world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::IgnoreClosing);
    let managed = world.start();
    let stopping = world.stop_unit("a");
    let also_stopping = world.stop_unit("a");
    assert_eq!(world.state("a"), Some(State::Stopping));
    assert_eq!(refused(yielded(world.start_unit("a"))), "unit `a` already has a run");
    assert_eq!(refused(world.manager.get(&"a")), "cannot get unit `a` while it is stopping");
    world.table.remove(&"a");
    world.insert(["a"]);
    world.settle();
    assert_eq!(world.units.starts("a"), 1);
    world.units.set("a", Behaviour::Serve);
    world.happened();
    world.advance(SECOND * 10);
    // The unit ignored the request to stop, and was aborted. This does not count as a failure.
    yielded(stopping).unwrap();
    yielded(also_stopping).unwrap();
    assert_eq!(world.happened()[0], "a aborted after 10s");
    managed.close(&world).unwrap();
}

/// If many threads start the same unit, there is only one run.
#[test]
fn many_callers_start_one_run() {
    let world = World::new();
    world.insert(["a"]);
    let managed = world.start();
    for _ in 0..50 {
        yielded(world.stop_unit("a")).unwrap();
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let manager: Manager<_> = world.manager.clone();
                thread::spawn(move || manager.start_blocking("a"))
            })
            .collect();
        world.until(|| callers.iter().all(|caller| caller.is_finished()));
        let started = callers.into_iter().map(|caller| caller.join().unwrap());
        let (good, bad): (Vec<_>, Vec<_>) = started.partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (1, 3));
        assert!(bad.into_iter().all(|bad| matches!(bad, Err(ManagerError::HasRun { .. }))));
        assert_eq!(world.units.runs("a"), 1);
    }
    managed.close(&world).unwrap();
}
