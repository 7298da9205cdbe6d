//! Tests for the defects of earlier versions, and for related ones. Tests of races repeat the race many times on real
//! threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use procession::{BoxError, Error, Process};
use procession_runnable::{Run, Runnable, Start, body, body_thread};
use procession_supervisor::{
    Backoff, Events, Happening, Manager, ManagerError, MemoryTable, OnFailure, Policy, Rate,
    Restart, State, Supervisor, Unit,
};
use smol::channel::{Receiver, Sender, unbounded};

use crate::world::{
    Behaviour, Key, LIMIT, Message, PLAIN, SECOND, World, in_words, stubborn, yielded,
};

type Strategy = fn(Vec<(Key, Unit)>) -> Supervisor;

const STRATEGIES: [Strategy; 3] = [
    |units| Supervisor::one_for_one(units),
    |units| Supervisor::one_for_all(units),
    |units| Supervisor::rest_for_one(units),
];

pub(crate) fn policy(world: &World) -> Policy {
    Policy::new().clock(world.clock.clone()).backoff(PLAIN)
}

/// A body that is ready at once, and ends when it is asked to stop.
pub(crate) fn serve() -> Runnable {
    body(|run| async move {
        run.ready();
        run.closing().await;
    })
}

/// Closes a runnable at a random time after its start, on real threads. Returns its outcome.
fn close_at_random(part: &Runnable) -> Result<(), Error> {
    let app = Process::new();
    let (start, _readiness) = Start::under(&app);
    let process = part.start(start).unwrap();
    let until = Instant::now() + Duration::from_nanos(fastrand::u64(..150_000));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    app.close();
    assert!(app.closed().wait_timeout(LIMIT).is_some());
    process.outcome().unwrap()
}

/// Closes the part at a random time after its start, and checks that no unit counts as failed.
fn closes_well<K: procession_supervisor::Key>(part: &Runnable, events: &mut Events<K>) {
    let outcome = close_at_random(part);
    let happened: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
    let wrong = ["failed", "ended", "restarting", "gave_up"];
    let is_wrong = happened.iter().any(|event| wrong.contains(&event.kind()));
    assert!(!is_wrong, "{:#?}", happened.iter().map(ToString::to_string).collect::<Vec<_>>());
    outcome.unwrap_or_else(|error| panic!("{}", error.with_causes()));
}

/// A unit that is starting or running when its set closes has stopped, not failed. No event or outcome contradicts
/// that, even in sets that would end at the first failure.
#[test]
fn units_do_not_fail_when_their_set_closes() {
    for round in 0..600 {
        let units = ["a", "b", "c", "d"].map(|key| {
            let unit = Unit::new(serve()).restart(Restart::Permanent);
            (key, if round % 2 == 0 { unit.on_failure(OnFailure::CloseAll) } else { unit })
        });
        let none = Rate::new(0, SECOND);
        let set = STRATEGIES[round % 3](units.into())
            .policy(Policy::new().intensity(none).total_intensity(none))
            .start_together(round % 4 < 2);
        let mut events = set.events();
        closes_well(&set.runnable(), &mut events);
    }
}

/// A unit that is starting or running when its manager closes has stopped, not failed.
#[test]
fn units_do_not_fail_when_their_manager_closes() {
    let table = MemoryTable::new();
    for key in ["a", "b", "c", "d"] {
        let unit = Unit::new(serve()).restart(Restart::Permanent);
        table.insert(key, unit.on_failure(OnFailure::CloseAll));
    }
    for _ in 0..300 {
        let manager = Manager::new(table.clone());
        let mut events = manager.events();
        closes_well(&manager.runnable(), &mut events);
    }
}

/// Units whose bodies end only when an abort drops them, and whose teardowns end when the test releases them. The
/// finished teardowns are counted.
struct Slow {
    release: Sender<()>,
    released: Receiver<()>,
    torn: Arc<AtomicUsize>,
}

impl Slow {
    fn new() -> Self {
        let (release, released) = unbounded();
        Self { release, released, torn: Arc::default() }
    }

    fn unit(&self) -> Unit {
        let (released, torn) = (self.released.clone(), self.torn.clone());
        Unit::new(body(move |run| {
            let (released, torn) = (released.clone(), torn.clone());
            async move {
                run.set_teardown_async(move || async move {
                    let _released = released.recv().await;
                    torn.fetch_add(1, Ordering::SeqCst);
                })?;
                run.ready();
                std::future::pending::<()>().await;
                Ok::<(), Error>(())
            }
        }))
    }

    fn torn(&self) -> usize {
        self.torn.load(Ordering::SeqCst)
    }
}

/// Each way to nest the two units, with the runnable to start.
fn nested(world: &World, slow: &Slow) -> Vec<(&'static str, Runnable)> {
    let table = || {
        let table = MemoryTable::new();
        table.insert("a", slow.unit());
        table.insert("b", slow.unit());
        Manager::builder(table).policy(policy(world)).build().runnable()
    };
    let set = || {
        let units = [("a", slow.unit()), ("b", slow.unit())];
        Supervisor::one_for_one(units).policy(policy(world)).runnable()
    };
    let in_set = |inner| Supervisor::rest_for_one([("inner", inner)]).policy(policy(world));
    let in_manager = |inner: Runnable| {
        let table = MemoryTable::new();
        table.insert("inner", inner);
        Manager::builder(table).policy(policy(world)).build().runnable()
    };
    vec![
        ("manager", table()),
        ("set", set()),
        ("set in set", in_set(set()).runnable()),
        ("manager in set", in_set(table()).runnable()),
        ("set in manager", in_manager(set())),
        ("set in set in set", in_set(in_set(set()).runnable()).runnable()),
    ]
}

/// An abort from above waits for the teardowns of the units.
#[test]
fn an_abort_from_above_waits_for_teardowns() {
    for case in 0..6 {
        let (world, slow) = (World::new(), Slow::new());
        let (name, part) = nested(&world, &slow).swap_remove(case);
        let managed = world.run(part);
        assert!(managed.body_began(), "{name}");
        managed.app.abort();
        world.advance(SECOND * 3);
        assert!(!managed.has_ended() && !managed.app.is_closed(), "{name}");
        assert_eq!(slow.torn(), 0, "{name}");
        for _ in 0..2 {
            slow.release.try_send(()).unwrap();
            world.settle();
        }
        assert_eq!(slow.torn(), 2, "{name}");
        assert!(managed.has_ended() && managed.app.is_closed(), "{name}");
    }
}

/// After the abort grace of the units, an abort from above ends and names them. They finish their teardowns later.
#[test]
fn an_abort_from_above_is_bounded() {
    for case in 0..6 {
        let (world, slow) = (World::new(), Slow::new());
        let (name, part) = nested(&world, &slow).swap_remove(case);
        let app = world.app();
        let (start, _readiness) = Start::under(&app);
        let part = part.start(start).unwrap();
        world.settle();
        app.abort();
        // The units of a set stop one after the other, each within its abort grace.
        for _ in 0..4 {
            world.advance(SECOND * 5);
        }
        assert!(app.is_closed(), "{name}");
        let error = part.outcome().unwrap().unwrap_err().with_causes().to_string();
        assert!(error.contains("has not ended: `"), "{name}: {error}");
        assert_eq!(slow.torn(), 0, "{name}");
        slow.release.try_send(()).unwrap();
        slow.release.try_send(()).unwrap();
        world.settle();
        assert_eq!(slow.torn(), 2, "{name}");
    }
}

/// U2: if the last unit of a set never ends, the units before it still stop, whether the set is closed or aborted.
#[test]
fn a_stuck_unit_does_not_prevent_the_others_from_stopping() {
    for by_force in [false, true] {
        for strategy in STRATEGIES {
            let world = World::new();
            let (stubborn, release, runs) = stubborn();
            let units = vec![
                ("a", world.units.unit("a")),
                ("b", world.units.unit("b")),
                ("stubborn", Unit::new(stubborn)),
            ];
            let app = world.app();
            let (start, _readiness) = Start::under(&app);
            let set = strategy(units).policy(policy(&world));
            let process = set.runnable().start(start).unwrap();
            world.until(|| set.counts().running == 3);
            runs.recv_timeout(LIMIT).unwrap();
            let _closed = if by_force { app.abort() } else { app.close() };
            world.advance(SECOND * 10);
            world.advance(SECOND * 5);
            assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 0), "{by_force}");
            assert!(app.is_closed());
            let error = process.outcome().unwrap().unwrap_err().with_causes().to_string();
            assert!(error.contains("has not ended: `stubborn`"), "{error}");
            drop(release);
        }
    }
}

/// A body that fails, or ends before it is ready, and leaves a child that ignores closing. From the second start on, it
/// serves.
fn leaves_something(starts: Arc<AtomicUsize>, fails: bool) -> Runnable {
    body(move |run: Run| {
        let start = starts.fetch_add(1, Ordering::SeqCst);
        async move {
            if start > 0 {
                run.ready();
                run.closing().await;
                return Ok(());
            }
            run.spawn(|_| std::future::pending::<()>()).map_err(BoxError::from)?;
            if fails {
                run.ready();
                return Err(BoxError::from("broken"));
            }
            Ok(())
        }
    })
}

/// A unit that fails, or ends before it is ready, is Stopping until its children have ended. It is aborted after its
/// grace, and then restarted.
#[test]
fn a_failed_unit_is_aborted_after_its_grace_and_restarted() {
    for fails in [true, false] {
        let world = World::with(|builder, policy| builder.policy(policy.backoff(PLAIN)));
        let starts = Arc::new(AtomicUsize::new(0));
        world.table.insert("a", leaves_something(starts.clone(), fails));
        let set_starts = Arc::new(AtomicUsize::new(0));
        let set = Supervisor::one_for_all([("a", leaves_something(set_starts.clone(), fails))])
            .policy(policy(&world));
        let mut events = set.events();
        let (managed, of_set) = (world.start(), world.run(set.runnable()));
        let states = || (world.state("a").unwrap(), set.list()[0].state);
        assert_eq!(states(), (State::Stopping, State::Stopping), "{fails}");
        world.advance(SECOND * 9);
        assert_eq!(states(), (State::Stopping, State::Stopping), "{fails}");
        world.advance(SECOND);
        assert_eq!(states(), (State::Waiting, State::Waiting), "{fails}");
        world.advance(SECOND);
        assert_eq!(states(), (State::Running, State::Running), "{fails}");
        let starts = [starts, set_starts].map(|starts| starts.load(Ordering::SeqCst));
        assert_eq!(starts, [2, 2]);
        let happened: Vec<_> =
            std::iter::from_fn(|| events.try_recv()).map(|event| in_words(&event)).collect();
        let aborted = |event: &String| event == "a aborted after 10s";
        assert_eq!(happened.iter().filter(|event| aborted(event)).count(), 1, "{happened:#?}");
        managed.close(&world).unwrap();
        of_set.close(&world).unwrap();
    }
}

/// A thread in an inner set that ignores its abort has only one run, whatever would restart the inner set. A strategy
/// that would have to restart that set closes its own instead.
#[test]
fn a_stubborn_thread_in_a_set_that_would_be_restarted() {
    for outer_strategy in [1, 2] {
        let world = World::new();
        let (stubborn, release, runs) = stubborn();
        // The inner set ends in time and leaves the thread behind. The outer set would restart the inner one.
        let inner_policy = policy(&world).grace(SECOND).abort_grace(SECOND);
        let inner = Supervisor::one_for_one([("stubborn", stubborn)]).policy(inner_policy);
        let units = vec![("b", world.units.unit("b")), ("inner", Unit::new(inner.runnable()))];
        let outer = STRATEGIES[outer_strategy](units).policy(policy(&world));
        let managed = world.run(outer.runnable());
        runs.recv_timeout(LIMIT).unwrap();
        world.until(|| managed.body_began());
        world.units.tell("b", Message::Fail);
        (0..20).for_each(|_| world.advance(SECOND));
        world.until(|| managed.has_ended());
        assert!(runs.try_recv().is_err(), "two runs");
        assert_eq!((inner.counts().stuck, outer.list()[0].state), (1, State::Stuck));
        let error = managed.outcome().unwrap_err();
        assert!(error.with_causes().to_string().contains("`inner/stubborn`"), "{error:?}");
        release.send(()).unwrap();
        world.until(|| inner.counts().units == 0 && outer.counts().units == 0);
        // Both sets can run again.
        let managed = world.run(outer.runnable());
        runs.recv_timeout(LIMIT).unwrap();
        world.close_with_thread(managed, &release);
    }
}

/// A unit that becomes ready and ends at once was ready. A unit that ends before it is ready has failed.
#[test]
fn a_unit_that_is_ready_and_ends_at_once() {
    let table = MemoryTable::new();
    table.insert("ready", body(|run| async move { run.ready() }));
    table.insert("ready in a thread", body_thread(|run| run.ready()));
    table.insert("unready", body(|_| async {}));
    table.insert("unready in a thread", body_thread(|_| ()));
    let long = Backoff::new(SECOND * 3600, SECOND * 3600).jitter(false);
    let manager = Manager::builder(table)
        .policy(Policy::new().backoff(long))
        .start_limit(Duration::MAX)
        .build();
    let ended = manager.run_blocking(|_| {
        for round in 0..400 {
            for key in ["ready", "ready in a thread"] {
                match manager.start_blocking(key) {
                    Ok(process) => process.closed().wait().unwrap(),
                    // The last run has ended, but the manager has not noticed that yet.
                    Err(ManagerError::HasRun { .. }) => {}
                    Err(error) => panic!("{round} {key}: {error:?}"),
                }
            }
            for key in ["unready", "unready in a thread"] {
                let error = manager.start_blocking(key).unwrap_err();
                assert!(matches!(error, ManagerError::Failed(_)), "{round} {key}: {error:?}");
                let list = manager.list();
                let status = list.iter().find(|status| status.key == key).unwrap();
                assert_eq!(status.state, State::Waiting, "{round} {key}");
            }
        }
    });
    ended.unwrap();
}

/// Temporary units are never restarted, whatever happens to the others.
#[test]
fn temporary_units_are_not_restarted_with_others() {
    for strategy in STRATEGIES {
        let world = World::new();
        let temporary = |key| (key, world.units.unit(key).restart(Restart::Temporary));
        let units = vec![
            temporary("long ago"),
            ("fails", world.units.unit("fails")),
            temporary("ended"),
            temporary("running"),
            ("last", world.units.unit("last")),
        ];
        let set = strategy(units).policy(policy(&world));
        let managed = world.run(set.runnable());
        world.units.tell("long ago", Message::End);
        world.units.tell("ended", Message::Fail);
        world.advance(SECOND);
        for round in 1..3 {
            world.units.tell("fails", Message::Fail);
            world.advance(SECOND);
            assert_eq!(world.units.runs("fails"), 1);
            assert_eq!(world.units.runs("last"), 1);
            for key in ["long ago", "ended", "running"] {
                assert_eq!(world.units.starts(key), 1, "{round} {key}");
            }
        }
        managed.close(&world).unwrap();
    }
}

/// If a stopping unit returns the abort error of another process, the error is kept. The error of its own abort is
/// not.
#[test]
fn the_abort_of_another_process_is_kept() {
    let other = Process::builder().name("other").build().unwrap();
    let aborted = other.spawn(|_| std::future::pending::<()>()).unwrap();
    aborted.abort();
    let error = aborted.closed().wait().unwrap_err();
    assert!(matches!(&error, Error::Aborted(_)));
    let returns = || {
        let error = error.clone();
        body(move |run| {
            let error = error.clone();
            async move {
                run.ready();
                run.closing().await;
                Err::<(), _>(error)
            }
        })
    };
    let world = World::new();
    world.table.insert("a", returns());
    world.insert(["own"]);
    world.units.set("own", Behaviour::IgnoreClosing);
    let set = Supervisor::one_for_one([("a", returns())]).policy(policy(&world));
    let mut events = set.events();
    let (managed, of_set) = (world.start(), world.run(set.runnable()));
    let stopped = yielded(world.stop_unit("a")).unwrap_err();
    assert!(matches!(stopped, ManagerError::Failed(Error::Aborted(_))), "{stopped:?}");
    let own = world.stop_unit("own");
    world.advance(SECOND * 10);
    yielded(own).unwrap();
    managed.close(&world).unwrap();
    of_set.close(&world).unwrap();
    let last = std::iter::from_fn(|| events.try_recv()).last().unwrap();
    assert!(
        matches!(&last.what, Happening::Stopped { error: Some(Error::Aborted(_)), forced: false }),
        "{last:?}"
    );
}

/// Readers see no intermediate state: a unit that will be restarted is never listed as ended.
#[test]
fn the_list_never_shows_a_unit_as_ended_that_will_restart() {
    let table = MemoryTable::new();
    table.insert(
        "a",
        body(|run| async move {
            run.ready();
            Err::<(), _>("broken")
        }),
    );
    let short = Duration::from_micros(50);
    let backoff = Backoff::new(short, short).jitter(false);
    let policy = Policy::new().backoff(backoff);
    let manager = Manager::builder(table)
        .policy(policy.clone())
        .restart_rate(Rate::new(1, Duration::ZERO))
        .build();
    let fails = body(|run| async move {
        run.ready();
        Err::<(), _>("broken")
    });
    let set = Supervisor::one_for_all([("a", Unit::new(serve())), ("b", Unit::new(fails))]);
    let set = set.policy(policy);
    let ended = manager.run_blocking(|process| {
        let (start, _readiness) = Start::under(&process);
        let set_process = set.runnable().start(start).unwrap();
        let began = Instant::now();
        let restarts = |restarts: Option<u64>| restarts.unwrap_or(0) < 300;
        loop {
            let (list, of_set) = (manager.list(), set.list());
            let done = list.first().map(|status| status.restarts);
            let set_done = of_set.last().map(|status| status.restarts);
            let states = list.iter().map(|status| status.state);
            for state in states.chain(of_set.iter().map(|status| status.state)) {
                assert!(
                    !matches!(state, State::Ended | State::GivenUp | State::Stopped),
                    "{state}"
                );
            }
            if !restarts(done) && !restarts(set_done) {
                break;
            }
            assert!(began.elapsed() < LIMIT, "{done:?} {set_done:?}");
        }
        set_process.close();
    });
    ended.unwrap();
}

/// A hook above a set or a manager sees each failure once.
#[test]
fn hooks_see_each_failure_once() {
    let world = World::new();
    let app = world.app();
    let told = Arc::new(Mutex::new(Vec::new()));
    let told_too = told.clone();
    app.on_failure(move |process, error| {
        told_too.lock().unwrap().push(format!("{}: {error}", process.label()));
    });
    let inner = Supervisor::one_for_one([("a", world.units.unit("a"))]).policy(policy(&world));
    let outer = Supervisor::one_for_all([("inner", inner.runnable())]).policy(policy(&world));
    let (start, _readiness) = Start::under(&app);
    outer.runnable().start(start).unwrap();
    world.settle();
    for failures in 1..4 {
        world.units.tell("a", Message::Fail);
        world.until(|| world.units.runs("a") == 0);
        let seen = || told.lock().unwrap().clone();
        world.until(|| seen().len() >= failures);
        world.advance(SECOND);
        assert_eq!(world.units.runs("a"), 1);
        assert_eq!(seen().len(), failures, "{:#?}", seen());
    }
    app.close();
    world.settle();
    assert!(app.is_closed());
    assert_eq!(told.lock().unwrap().len(), 3);
}
