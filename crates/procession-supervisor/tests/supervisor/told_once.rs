//! A failure hook hears of each failure once, however many nested sets and managers end because of it.

use std::sync::{Arc, Mutex};

use procession::{BoxError, Process};
use procession_runnable::{Runnable, Start, body, named, run_in};
use procession_supervisor::{
    EndAll, GiveUp, Manager, MemoryTable, OnFailure, Policy, Rate, Restart, Supervisor, Unit,
};

use crate::peers::policy;
use crate::world::{SECOND, World, stubborn};

/// A set around a manager around a set with this unit, each with a policy that allows no restart.
fn nested(world: &World, unit: Unit) -> Runnable {
    let strict = || policy(world).intensity(Rate::new(0, SECOND * 60));
    let inner = Supervisor::one_for_one([("unit", unit)]).policy(strict());
    let table = MemoryTable::new();
    table.insert("inner", Unit::new(inner.runnable()));
    let manager = Manager::builder(table).policy(strict());
    let manager = manager.give_up(GiveUp::Manager).build();
    Supervisor::one_for_one([("manager", manager.runnable())]).policy(strict()).runnable()
}

/// Runs it in a process with a hook, until it ends. Returns what the hook has heard.
fn heard(world: &World, runnable: &Runnable) -> Vec<String> {
    let app = Process::builder().name("app").spawner(world.executor.clone()).build().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    app.on_failure(move |_, error| {
        tell.lock().unwrap().push(error.with_causes().to_string());
    });
    let (start, _readiness) = Start::under(&app);
    let process = runnable.start(start).unwrap();
    for _ in 0..4 {
        world.advance(SECOND);
    }
    app.close();
    for _ in 0..4 {
        world.advance(SECOND);
    }
    assert!(app.is_closed());
    process.outcome().unwrap().unwrap_err();
    told.lock().unwrap().clone()
}

fn fails(error: fn() -> BoxError) -> Unit {
    Unit::new(body(move |run| async move {
        run.ready();
        Err(error())
    }))
}

#[test]
fn a_failure_that_closes_everything() {
    let broken = || fails(|| "broken".into());
    for (unit, expected) in [
        (fails(|| EndAll::new("broken").into()), "everything must close: broken"),
        (broken().on_failure(OnFailure::CloseAll), "broken"),
        // It may not be restarted even once.
        (broken(), "broken"),
    ] {
        let world = World::new();
        let heard = heard(&world, &nested(&world, unit));
        assert_eq!(heard, [format!("process `unit` failed: {expected}")]);
    }
}

/// A unit that never fails, but ends too often: the first failure is that of its set.
#[test]
fn a_unit_that_is_given_up_without_a_failure() {
    let world = World::new();
    let ends = Unit::new(body(|run| async move { run.ready() })).restart(Restart::Permanent);
    let heard = heard(&world, &nested(&world, ends));
    assert_eq!(heard, ["process `inner/supervisor` failed: unit `unit` was restarted too often"]);
}

/// Even if user code takes the error of the set.
#[test]
fn a_unit_that_is_stuck() {
    for is_taken in [false, true] {
        let world = World::new();
        let (thread, release, _runs) = stubborn();
        let short = |policy: Policy| policy.grace(SECOND).abort_grace(SECOND);
        let inner = Supervisor::one_for_one([("thread", thread)]).policy(short(policy(&world)));
        let inner = named("inner", inner.runnable());
        let taking = {
            let inner = inner.clone();
            body(move |run| {
                let inner = inner.clone();
                async move {
                    run.ready();
                    let body = |p: Process| async move { p.closing().await };
                    let _taken = run_in(&run, &inner, body).await;
                }
            })
        };
        let middle = [("unit", if is_taken { taking } else { inner })];
        let middle = Supervisor::one_for_one(middle).policy(policy(&world));
        let outer = Supervisor::one_for_one([("middle", middle.runnable())]).policy(policy(&world));
        let heard = heard(&world, &outer.runnable());
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].ends_with(" failed: aborted, and has not ended: `thread`"), "{heard:?}");
        drop(release);
    }
}
