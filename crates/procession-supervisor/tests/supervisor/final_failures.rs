//! Failures that end a unit or everything for good, as in suture and tokio-graceful-shutdown, and reports of stuck
//! units.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use procession::{BoxError, Process};
use procession_runnable::{Runnable, Start, body};
use procession_supervisor::{
    Backoff, DoNotRestart, EndAll, Manager, ManagerError, MemoryTable, OnFailure, Policy, Restart,
    State, Supervisor, Unit,
};

use crate::peers::{STRATEGIES, Set, cause, policy};
use crate::world::{LIMIT, Message, SECOND, World, stubborn, yielded};

/// A body that is ready, and fails with the error that the test sends it.
fn fails_with(error: fn() -> BoxError) -> (Runnable, smol::channel::Sender<()>) {
    let (tell, told) = smol::channel::unbounded::<()>();
    let fails = body(move |run| {
        let told = told.clone();
        async move {
            run.ready();
            match run.run_until_closing(told.recv()).await {
                Some(_) => Err(error()),
                None => Ok(()),
            }
        }
    });
    (fails, tell)
}

/// suture: `ErrDoNotRestart`: a permanent unit that fails with the counterpart, `DoNotRestart`, is not restarted,
/// neither in a set nor in a manager.
#[test]
fn do_not_restart() {
    for (name, strategy) in STRATEGIES {
        let world = World::new();
        let (unit, tell) = fails_with(|| DoNotRestart::new("wrong password").into());
        let unit = Unit::new(unit).restart(Restart::Permanent);
        world.table.insert("a", unit.clone());
        let set = strategy(vec![("a", unit), ("b", world.units.unit("b"))]).policy(policy(&world));
        let of_manager = world.start();
        let mut set = Set::start(world, set);
        set.happened();
        for _ in 0..2 {
            tell.try_send(()).unwrap();
            set.world.settle();
        }
        set.world.advance(SECOND * 10);
        assert_eq!(
            set.happened(),
            ["a failed: process `a` failed: the unit must not be restarted: wrong password"],
            "{name}"
        );
        assert_eq!(set.state("a"), Some(State::Ended));
        assert_eq!(set.world.state("a"), Some(State::Ended));
        assert_eq!(set.starts(["b"]), [1]);
        of_manager.close(&set.world).unwrap();
        set.close().unwrap();
    }
}

/// What a unit asks for is found in the error types of applications, too, whether or not they add a context.
#[test]
fn requests_inside_anyhow() {
    let errors: [fn() -> BoxError; 4] = [
        || anyhow::Error::from(DoNotRestart::new("wrong password")).into(),
        || anyhow::anyhow!(DoNotRestart::new("wrong password")).context("no login").into(),
        || anyhow::Error::from(EndAll::new("no licence")).into(),
        || anyhow::anyhow!(EndAll::new("no licence")).context("no start").into(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        let world = World::new();
        let (unit, tell) = fails_with(error);
        let units = vec![("a", Unit::new(unit)), ("b", world.units.unit("b"))];
        let set = Supervisor::one_for_one(units).policy(policy(&world));
        let set = Set::start(world, set);
        tell.try_send(()).unwrap();
        set.world.advance(SECOND * 10);
        let ends_all = number >= 2;
        assert_eq!(set.runs(["b"]), [usize::from(!ends_all)], "{number}");
        if ends_all {
            let error = set.managed.outcome().unwrap_err();
            assert!(matches!(cause(&error), ManagerError::ClosedFor { ends_all: true, .. }));
        } else {
            assert_eq!(set.state("a"), Some(State::Ended), "{number}");
            set.close().unwrap();
        }
    }
}

/// A unit that failed with `DoNotRestart` is not restarted together with others either, but a call can start it.
#[test]
fn do_not_restart_with_others() {
    let world = World::new();
    let (unit, tell) = fails_with(|| DoNotRestart::new("wrong password").into());
    let units = vec![("a", Unit::new(unit)), ("b", world.units.unit("b"))];
    let set = Supervisor::one_for_all(units).policy(policy(&world));
    let set = Set::start(world, set);
    tell.try_send(()).unwrap();
    set.world.settle();
    set.tell("b", Message::Fail);
    set.world.advance(SECOND);
    assert_eq!(set.starts(["b"]), [2]);
    assert_eq!(set.state("a"), Some(State::Ended));
    let called = set.set.clone();
    set.world.spawn(async move { called.start("a").await.unwrap() }).detach();
    assert_eq!(set.state("a"), Some(State::Running));
    set.close().unwrap();
}

/// Units that fail one after the other, the last one first, are restarted in one round: each is started once more.
#[test]
fn many_failures_in_one_round() {
    const UNITS: usize = 2_000;
    let world = World::new();
    let starts = Arc::new(AtomicUsize::new(0));
    let gates: Vec<_> = (0..UNITS).map(|_| smol::channel::bounded::<()>(1)).collect();
    let units = gates.iter().enumerate().map(|(number, (_, gate))| {
        let (gate, starts) = (gate.clone(), starts.clone());
        let unit = body(move |run| {
            starts.fetch_add(1, Ordering::SeqCst);
            let gate = gate.clone();
            async move {
                run.ready();
                match run.run_until_closing(gate.recv()).await {
                    Some(_) => Err("broken"),
                    None => Ok(()),
                }
            }
        });
        (number.to_string(), unit)
    });
    let set = Supervisor::rest_for_one(units).policy(policy(&world));
    let managed = world.run(set.runnable());
    assert_eq!(set.counts().running, UNITS);
    // The last one fails first.
    for (tell, _) in gates.iter().rev() {
        tell.try_send(()).unwrap();
        world.settle();
    }
    world.advance(SECOND);
    assert_eq!((set.counts().running, managed.has_ended()), (UNITS, false));
    assert_eq!(starts.load(Ordering::SeqCst), 2 * UNITS);
    managed.close(&world).unwrap();
}

/// suture: `ErrTerminateSupervisorTree`: a unit that fails with the counterpart, `EndAll`, ends the whole tree, through
/// nested sets and managers, and the outcome has its error.
#[test]
fn end_all() {
    let world = World::new();
    let (unit, tell) = fails_with(|| EndAll::new("no licence").into());
    let inner = Supervisor::one_for_one([("a", Unit::new(unit)), ("b", world.units.unit("b"))])
        .policy(policy(&world));
    let table = MemoryTable::new();
    table.insert("inner", Unit::new(inner.runnable()));
    table.insert("c", world.units.unit("c"));
    let manager = Manager::builder(table).policy(policy(&world)).build();
    let outer = Supervisor::one_for_one([
        ("manager", Unit::new(manager.runnable())),
        ("d", world.units.unit("d")),
    ]);
    let set = Set::start(world, outer.clone().policy(policy(&World::new())));
    assert_eq!(set.runs(["b", "c", "d"]), [1; 3]);
    tell.try_send(()).unwrap();
    set.world.settle();
    assert_eq!(set.runs(["b", "c", "d"]), [0; 3]);
    let error = set.managed.outcome().unwrap_err();
    assert!(matches!(cause(&error), ManagerError::ClosedFor { key, .. } if &**key == "manager"));
    let text = error.with_causes().to_string();
    assert!(text.ends_with("process `a` failed: everything must close: no licence"), "{text}");
}

/// A unit whose failure closes its set does not end the sets above: they restart the set.
#[test]
fn close_all_ends_one_set() {
    let world = World::new();
    let unit = world.units.unit("a").on_failure(OnFailure::CloseAll);
    let inner = Supervisor::one_for_one([("a", unit)]).policy(policy(&world));
    let outer = Supervisor::one_for_one([("inner", inner.runnable())]).policy(policy(&world));
    let set = Set::start(world, outer);
    set.tell("a", Message::Fail);
    assert_eq!((set.runs(["a"]), set.state("inner")), ([0], Some(State::Waiting)));
    set.world.advance(SECOND);
    assert_eq!((set.runs(["a"]), set.state("inner")), ([1], Some(State::Running)));
    set.close().unwrap();
}

/// suture: `UnstoppedServiceReport`: a stuck unit is reported with its path through nested sets and managers.
#[test]
fn stuck_units_are_reported_with_their_paths() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    let inner = Supervisor::one_for_one([("thread", thread)]).name("inner set").policy(short);
    let middle = MemoryTable::new();
    middle.insert("inner", inner.runnable());
    middle.insert("fine", world.units.unit("fine"));
    let middle = Manager::builder(middle).policy(policy(&world)).build();
    let outer = Supervisor::one_for_one([("middle", middle.runnable())]);
    let outer = outer.name("outer set").policy(policy(&world));
    let app = world.app();
    let (start, _readiness) = Start::under(&app);
    let process = outer.runnable().start(start).unwrap();
    world.until(|| outer.counts().running == 1);
    runs.recv_timeout(LIMIT).unwrap();
    app.close();
    world.advance(SECOND);
    world.advance(SECOND);
    assert!(app.is_closed());
    let error = process.outcome().unwrap().unwrap_err();
    let ManagerError::Stuck { keys, report, .. } = cause(&error) else { panic!("{error:?}") };
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["middle/inner/thread"]);
    let path = " › outer set › units › middle/manager › units › inner/inner set › units › thread: ";
    assert!(report.contains(path), "{report}");
    assert_eq!(report.lines().count(), 1, "{report}");
    drop(release);
}

/// A set that is stopped alone is stuck as long as its stuck unit has not ended, so the set around it names that unit
/// when it closes.
#[test]
fn a_stuck_unit_of_a_set_that_is_stopped_alone() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    let inner = Supervisor::one_for_one([("thread", thread)]).policy(short);
    let units = vec![("inner", Unit::new(inner.runnable())), ("b", world.units.unit("b"))];
    let set = Set::start(world, Supervisor::one_for_one(units).policy(policy(&World::new())));
    runs.recv_timeout(LIMIT).unwrap();
    let called = set.set.clone();
    let stop = set.world.spawn(async move { called.stop("inner").await });
    set.world.advance(SECOND);
    set.world.advance(SECOND);
    let Err(ManagerError::Stuck { keys, .. }) = yielded(stop) else { panic!("it is stuck") };
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["inner/thread"]);
    assert_eq!(set.state("inner"), Some(State::Stuck));
    let error = set.close().unwrap_err();
    let ManagerError::Stuck { keys, .. } = cause(&error) else { panic!("{error:?}") };
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["inner/thread"]);
    drop(release);
}

/// A unit that failed and did not end is stuck. If it is removed, it does not restart when it ends.
#[test]
fn a_removed_stuck_unit_does_not_restart() {
    let world = World::new();
    let (release, released) = smol::channel::unbounded::<()>();
    let (fail, failing) = smol::channel::unbounded::<()>();
    let unit = body(move |run| {
        let (released, failing) = (released.clone(), failing.clone());
        async move {
            run.set_teardown_async(move || async move { released.recv().await.unwrap_or(()) })?;
            run.ready();
            let _told = failing.recv().await;
            Err::<(), BoxError>("broken".into())
        }
    });
    let set = Supervisor::one_for_one([("a", Unit::new(unit)), ("b", world.units.unit("b"))]);
    let set = set.policy(policy(&world));
    let mut set = Set::start(world, set);
    fail.try_send(()).unwrap();
    set.world.advance(SECOND * 10);
    set.world.advance(SECOND * 5);
    assert_eq!(set.state("a"), Some(State::Stuck));
    let removed = set.call(|set| async move { set.remove("a").await });
    assert!(matches!(removed, Err(ManagerError::Stuck { .. })));
    set.happened();
    release.try_send(()).unwrap();
    set.world.advance(SECOND * 10);
    assert_eq!(set.state("a"), None, "{:#?}", set.happened());
    assert_eq!(set.runs(["b"]), [1]);
    set.close().unwrap();
}

/// tokio-graceful-shutdown: `OnFailure` of each unit decides whether the others continue or everything closes.
#[test]
fn on_failure_of_each_unit() {
    for (name, strategy) in STRATEGIES {
        let rules = |key, unit: Unit| match key {
            "end" => unit.restart(Restart::Permanent).on_failure(OnFailure::End),
            "all" => unit.restart(Restart::Temporary).on_failure(OnFailure::CloseAll),
            _ => unit,
        };
        let set = Set::of(strategy, &["a", "end", "all"], rules);
        set.tell("end", Message::Panic);
        set.world.advance(SECOND);
        assert_eq!(set.starts(["a", "end", "all"]), [1; 3], "{name}");
        assert_eq!(set.state("end"), Some(State::Ended));
        set.tell("all", Message::Panic);
        assert_eq!(set.runs(["a", "end", "all"]), [0; 3], "{name}");
        let error = set.managed.outcome().unwrap_err();
        assert!(matches!(cause(&error), ManagerError::ClosedFor { key, .. } if &**key == "all"));
    }
}

/// tokio-graceful-shutdown: `OnFailure` can change while the unit runs, for the current run of the set.
#[test]
fn on_failure_is_changed_while_it_runs() {
    for restarts in [false, true] {
        for (on_failure, ends) in [(OnFailure::End, false), (OnFailure::CloseAll, true)] {
            let set = Set::of(STRATEGIES[0].1, &["a", "b"], |_, unit| unit);
            set.call(move |set| async move { set.set_on_failure("a", on_failure).await }).unwrap();
            if restarts {
                set.call(|set| async move { set.restart("a").await }).unwrap();
            }
            set.tell("a", Message::Fail);
            set.world.advance(SECOND);
            assert_eq!(set.runs(["a", "b"]), [0, usize::from(!ends)], "{on_failure:?} {restarts}");
            if ends {
                set.managed.outcome().unwrap_err();
            } else {
                set.close().unwrap();
            }
        }
    }
    // In a manager, the change lasts until the unit starts from its row again.
    let world = World::new();
    world.insert(["a"]);
    let managed = world.start();
    let manager = world.manager.clone();
    let changed = async move { manager.set_on_failure(&"a", OnFailure::End).await };
    yielded(world.spawn(changed)).unwrap();
    world.units.tell("a", Message::Fail);
    world.advance(SECOND);
    assert_eq!(world.state("a"), Some(State::Ended));
    managed.close(&world).unwrap();
}

/// An error whose drop asks the set of the unit that returned it, and tells the test.
#[derive(Debug, thiserror::Error)]
#[error("broken")]
struct Asks {
    set: Arc<OnceLock<Supervisor>>,
    answers: mpsc::Sender<usize>,
}

impl Drop for Asks {
    fn drop(&mut self) {
        let counts = self.set.get().map_or(0, |set| set.counts().units);
        let _sent = self.answers.send(counts);
    }
}

/// The drop of an error is foreign code, so no lock is held: not even that of the last error of a unit, which the next
/// one replaces (I10).
#[test]
fn an_error_may_use_its_set_when_it_is_dropped() {
    let set = Arc::new(OnceLock::new());
    let (answers, told) = mpsc::channel();
    let asked = set.clone();
    let fails = body(move |run| {
        let error = Asks { set: asked.clone(), answers: answers.clone() };
        async move {
            run.ready();
            Err(error)
        }
    });
    let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let made = Supervisor::one_for_one([("a", fails)]).policy(Policy::new().backoff(at_once));
    set.set(made.clone()).unwrap();
    let app = Process::new();
    let run = made.runnable().start(Start::under(&app).0).unwrap();
    for _ in 0..5 {
        assert_eq!(told.recv_timeout(LIMIT), Ok(1));
    }
    run.close_blocking().unwrap();
}
