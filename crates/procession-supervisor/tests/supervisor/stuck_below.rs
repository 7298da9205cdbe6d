//! Nested sets that end while a unit of theirs is stuck. Each run of such a set is a new set, which knows nothing of
//! earlier runs, so the manager around it must not start the next one before that unit has ended (U1).

use std::sync::mpsc;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use procession::support::was_reported;
use procession::{BoxError, Error, Process, WeakProcess};
use procession_runnable::{Runnable, Start, body, concurrent, sequential};
use procession_supervisor::{
    AutoShutdown, EndAll, Events, Happening, Manager, ManagerError, MemoryTable, OnFailure, Policy,
    Rate, Restart, State, Supervisor, Unit,
};
use smol::channel::{Receiver, Sender, unbounded};

use crate::defects::serve;
use crate::peers::{STRATEGIES, Set, Strategy, cause, policy};
use crate::world::{Behaviour, LIMIT, Managed, Message, SECOND, World, stubborn, yielded};

/// A world with the unit `inner`: a new set in each run, of a thread that ignores its abort and a unit that fails when
/// it is told to, which closes the set.
struct Nested {
    world: World,
    /// Tells the other unit to fail.
    fail: Sender<()>,
    /// Lets the thread end.
    release: mpsc::Sender<()>,
    /// Receives a message for each run of the thread.
    runs: mpsc::Receiver<()>,
}

impl Nested {
    fn unit(
        world: &World,
        error: fn() -> BoxError,
        wrap: fn(Runnable) -> Runnable,
    ) -> (Unit, Sender<()>, Stubborn) {
        let (fail, failing) = unbounded::<()>();
        let (thread, release, runs) = stubborn();
        let short = policy(world).grace(SECOND).abort_grace(SECOND);
        let new_set = move || wrap(new_set(thread.clone(), failing.clone(), error, short.clone()));
        (Unit::new(Runnable::new(move |start| new_set().start(start))), fail, (release, runs))
    }

    fn new() -> Self {
        Self::with(|unit| unit, |set| set)
    }

    fn with(rules: fn(Unit) -> Unit, wrap: fn(Runnable) -> Runnable) -> Self {
        let world = World::new();
        let (unit, fail, (release, runs)) = Self::unit(&world, || "broken".into(), wrap);
        world.table.insert("inner", rules(unit));
        Self { world, fail, release, runs }
    }

    fn start(&self) -> Managed {
        let managed = self.world.start();
        self.world.until(|| self.state() == Some(State::Running));
        self.runs.recv_timeout(LIMIT).unwrap();
        managed
    }

    fn state(&self) -> Option<State> {
        self.world.state("inner")
    }

    fn has_started(&self) -> bool {
        self.runs.try_recv().is_ok()
    }

    /// The unit fails, and its set ends without its thread.
    fn fail(&self) {
        self.fail.try_send(()).unwrap();
        self.world.settle();
        self.seconds(2);
    }

    fn seconds(&self, count: usize) {
        (0..count).for_each(|_| self.world.advance(SECOND));
    }

    /// Closes the manager, and lets the thread end in time.
    fn close(&self, managed: Managed) {
        self.world.close_with_thread(managed, &self.release);
    }

    /// The thread ends, and the next run of the set starts.
    fn starts_again(&self) {
        assert!(!self.has_started());
        assert_eq!(self.state(), Some(State::Stuck));
        self.release.send(()).unwrap();
        self.world.until(|| self.state() != Some(State::Stuck));
        self.seconds(1);
        self.world.until(|| self.state() == Some(State::Running));
        self.runs.recv_timeout(LIMIT).unwrap();
    }
}

type Stubborn = (mpsc::Sender<()>, mpsc::Receiver<()>);

fn new_set(
    thread: Runnable,
    failing: Receiver<()>,
    error: fn() -> BoxError,
    policy: Policy,
) -> Runnable {
    let fails = body(move |run| {
        let failing = failing.clone();
        async move {
            run.ready();
            match run.run_until_closing(failing.recv()).await {
                Some(_) => Err(error()),
                None => Ok(()),
            }
        }
    });
    let fails = Unit::new(fails).on_failure(OnFailure::CloseAll);
    let units = [("thread", Unit::new(thread)), ("fails", fails)];
    Supervisor::one_for_one(units).policy(policy).runnable()
}

fn stuck_keys(error: &Error) -> Vec<String> {
    let ManagerError::Stuck { keys, .. } = cause(error) else { panic!("{error:?}") };
    keys.iter().map(|key| key.to_string()).collect()
}

/// The set may also be a part of a combinator, whose outcome has its error.
#[test]
fn a_set_that_fails_starts_again_when_its_stuck_unit_has_ended() {
    let wraps: [fn(Runnable) -> Runnable; 3] =
        [|set| set, |set| concurrent([set, serve()]), |set| sequential([serve(), set])];
    for (number, wrap) in wraps.into_iter().enumerate() {
        let nested = Nested::with(|unit| unit, wrap);
        let managed = nested.start();
        nested.fail();
        if number == 1 {
            // The other part of `concurrent` has not ended.
            let manager = nested.world.manager.clone();
            nested.world.spawn(async move { manager.restart("inner").await }).detach();
        }
        nested.seconds(100);
        nested.starts_again();
        nested.close(managed);
    }
}

/// Calls that need the end of the unit are answered that it is stuck.
#[test]
fn a_set_that_is_stopped_by_a_call() {
    let mut nested = Nested::new();
    let managed = nested.start();
    let stop = nested.world.stop_unit("inner");
    nested.seconds(2);
    let Err(ManagerError::Stuck { keys, .. }) = yielded(stop) else { panic!("it is stuck") };
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["inner/thread"]);
    assert!(matches!(yielded(nested.world.start_unit("inner")), Err(ManagerError::HasRun { .. })));
    assert_eq!(nested.state(), Some(State::Stuck));
    nested.release.send(()).unwrap();
    nested.world.until(|| nested.state() == Some(State::Stopped));
    let happened = nested.world.happened();
    assert!(happened.contains(&"inner stuck".to_owned()), "{happened:#?}");
    managed.close(&nested.world).unwrap();
}

/// The key stays taken in the next run of the manager, and the outcome of the first run names the unit.
#[test]
fn across_runs_of_the_manager() {
    for fails in [true, false] {
        let nested = Nested::new();
        let managed = nested.start();
        if fails {
            nested.fail();
        }
        managed.app.close();
        nested.seconds(2);
        assert_eq!(stuck_keys(&managed.outcome().unwrap_err()), ["inner/thread"], "{fails}");
        assert_eq!(nested.state(), Some(State::Stuck));
        let managed = nested.world.start();
        nested.seconds(100);
        nested.starts_again();
        nested.close(managed);
    }
}

/// The manager ends before the set does, which then ends without its thread.
#[test]
fn a_set_that_outlives_its_manager() {
    for restarts in [true, false] {
        let nested = Nested::with(|unit| unit.grace(Duration::ZERO), |set| set);
        let policy = policy(&nested.world).abort_grace(Duration::ZERO);
        let manager = procession_supervisor::Manager::builder(nested.world.table.clone());
        let manager = manager.policy(policy).build();
        let state = || manager.list().first().map(|status| status.state);
        let managed = nested.world.run(manager.runnable());
        nested.world.until(|| state() == Some(State::Running));
        nested.runs.recv_timeout(LIMIT).unwrap();
        managed.app.close();
        nested.world.settle();
        nested.world.until(|| managed.has_ended());
        assert_eq!(stuck_keys(&managed.outcome().unwrap_err()), ["inner"]);
        // The set ends.
        nested.seconds(2);
        assert_eq!(state(), Some(State::Stuck));
        let managed = restarts.then(|| nested.world.run(manager.runnable()));
        nested.seconds(2);
        assert_eq!((state(), nested.has_started()), (Some(State::Stuck), false));
        nested.release.send(()).unwrap();
        nested.world.until(|| state() == restarts.then_some(State::Running));
        if let Some(managed) = managed {
            nested.runs.recv_timeout(LIMIT).unwrap();
            nested.release.send(()).unwrap();
            managed.app.close();
            nested.world.until(|| managed.has_ended());
        }
    }
}

/// An error that closes everything does so at once, and the key stays taken nevertheless.
#[test]
fn an_error_that_closes_everything() {
    let world = World::new();
    let error = || EndAll::new("no licence").into();
    let (unit, fail, (release, runs)) = Nested::unit(&world, error, |set| set);
    let outer = Supervisor::one_for_one([("inner", unit), ("b", world.units.unit("b"))]);
    let outer = outer.policy(policy(&world));
    let mut set = Set::start(world, outer);
    set.world.until(|| set.set.counts().running == 2);
    runs.recv_timeout(LIMIT).unwrap();
    fail.try_send(()).unwrap();
    set.world.settle();
    set.world.advance(SECOND);
    set.world.advance(SECOND);
    assert_eq!(set.runs(["b"]), [0]);
    assert!(set.managed.has_ended());
    assert_eq!(set.state("inner"), Some(State::Stuck));
    let told = std::iter::from_fn(|| set.events.try_recv());
    let failures = told.filter(|event| matches!(event.what, Happening::Failed { .. }));
    assert_eq!(failures.count(), 1);
    let Error::Many(errors) = set.managed.outcome().unwrap_err() else { panic!() };
    let [closed, stuck] = &errors.iter().collect::<Vec<_>>()[..] else { panic!("{errors:?}") };
    assert!(matches!(cause(closed), ManagerError::ClosedFor { ends_all: true, .. }));
    assert_eq!(stuck_keys(stuck), ["inner/thread"]);
    drop(release);
}

/// A set in the middle stops waiting before the set below it does. The unit still waits for what that one leaves behind.
#[test]
fn a_set_in_the_middle_stops_waiting_first() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = |seconds| policy(&world).grace(SECOND).abort_grace(SECOND * seconds);
    let (inner, middle) = (short(5), short(1));
    let (made, processes) = unbounded();
    let new_sets = move || {
        let set = Supervisor::one_for_one([("thread", Unit::new(thread.clone()))]);
        let (set, made) = (set.policy(inner.clone()).runnable(), made.clone());
        let set = Runnable::new(move |start| {
            let process = set.start(start)?;
            made.try_send(process.downgrade()).unwrap();
            Ok(process)
        });
        let set = Unit::new(set).grace(SECOND);
        Supervisor::one_for_one([("set", set)]).policy(middle.clone()).runnable()
    };
    let unit = Unit::new(Runnable::new(move |start| new_sets().start(start)));
    world.table.insert("inner", unit.grace(SECOND * 30));
    let managed = world.start();
    runs.recv_timeout(LIMIT).unwrap();
    world.until(|| world.state("inner") == Some(State::Running));
    let manager = world.manager.clone();
    let restarted = world.spawn(async move { manager.restart("inner").await });
    world.settle();
    (0..12).for_each(|_| world.advance(SECOND));
    let set: WeakProcess = processes.try_recv().unwrap();
    world.until(|| set.upgrade().is_none_or(|set| set.is_closed()));
    world.settle_pool();
    assert_eq!(world.state("inner"), Some(State::Stuck));
    assert!(runs.try_recv().is_err());
    release.send(()).unwrap();
    world.until(|| world.state("inner") != Some(State::Stuck));
    runs.recv_timeout(LIMIT).unwrap();
    drop(restarted);
    world.close_with_thread(managed, &release);
}

/// A unit is stopped while it waits for what its run has left behind: it does not start again.
#[test]
fn a_stop_is_remembered_while_units_are_stuck_below() {
    let nested = Nested::new();
    let managed = nested.start();
    nested.fail();
    assert_eq!(nested.state(), Some(State::Stuck));
    let stopped = nested.world.stop_unit("inner");
    assert!(matches!(yielded(stopped), Err(ManagerError::Stuck { .. })));
    nested.release.send(()).unwrap();
    nested.world.until(|| nested.state() == Some(State::Stopped));
    nested.seconds(30);
    assert!(!nested.has_started());
    managed.close(&nested.world).unwrap();
}

/// The failure of a set that leaves a stuck unit behind is told at once: to the readers of events, or else in a report
/// (I17). The restart, which handles other failures, may never come.
#[test]
fn the_failure_of_the_set_is_told_at_once() {
    for has_reader in [true, false] {
        let world = World::new();
        let (unit, fail, (release, runs)) = Nested::unit(&world, || "broken".into(), |set| set);
        let table = MemoryTable::new();
        table.insert("inner", unit);
        let manager = Manager::builder(table).policy(policy(&world)).build();
        let mut events = has_reader.then(|| manager.events());
        let managed = world.run(manager.runnable());
        runs.recv_timeout(LIMIT).unwrap();
        world.until(|| manager.get(&"inner").is_ok());
        let process = manager.get(&"inner").unwrap();
        fail.try_send(()).unwrap();
        world.settle();
        (0..2).for_each(|_| world.advance(SECOND));
        world.until(|| manager.list()[0].state == State::Stuck);
        let status = &manager.list()[0];
        assert_eq!(status.restarts, 1, "it will be restarted");
        let last_error = status.last_error.as_ref().unwrap().with_causes().to_string();
        assert!(last_error.contains("broken"), "{last_error}");
        assert_eq!(was_reported(&process.outcome().unwrap().unwrap_err()), !has_reader);
        let starting = manager.clone();
        let started = yielded(world.spawn(async move { starting.start("inner").await }));
        assert!(matches!(started, Err(ManagerError::HasRun { .. })));
        if let Some(events) = &mut events {
            let kinds: Vec<_> =
                std::iter::from_fn(|| events.try_recv()).map(|event| event.kind()).collect();
            assert_eq!(kinds, ["started", "ready", "failed", "restarting", "stuck"]);
        }
        release.send(()).unwrap();
        world.until(|| manager.list()[0].state != State::Stuck);
        world.advance(SECOND);
        runs.recv_timeout(LIMIT).unwrap();
        if let Some(events) = &mut events {
            assert_eq!(events.try_recv().unwrap().kind(), "freed");
        }
        world.close_with_thread(managed, &release);
    }
}

/// A set of the unit `inner`, as in [`Nested`], and a unit `b`.
struct Pair {
    set: Set,
    fail: Sender<()>,
    release: mpsc::Sender<()>,
    runs: mpsc::Receiver<()>,
}

impl Pair {
    fn new(
        strategy: Strategy,
        rules: fn(Unit) -> Unit,
        settings: fn(Supervisor, Policy) -> Supervisor,
        other: Behaviour,
    ) -> Self {
        let world = World::new();
        let (unit, fail, (release, runs)) = Nested::unit(&world, || "broken".into(), |set| set);
        world.units.set("b", other);
        let set = strategy(vec![("inner", rules(unit)), ("b", world.units.unit("b"))]);
        let set = settings(set, policy(&world));
        let set = Set::start(world, set);
        runs.recv_timeout(LIMIT).unwrap();
        Self { set, fail, release, runs }
    }

    /// The inner set fails, and leaves its thread behind. The outer set closes because of that. Its outcome has an
    /// expected error, and names the thread.
    fn fail(self, is_expected: fn(&ManagerError) -> bool) {
        self.fail.try_send(()).unwrap();
        self.set.world.settle();
        (0..3).for_each(|_| self.set.world.advance(SECOND));
        self.set.world.until(|| self.set.state("b").is_none());
        assert_eq!(self.set.state("inner"), Some(State::Stuck));
        // A set that closes without a failure does not end the body around it.
        self.set.managed.app.close();
        self.set.world.until(|| self.set.managed.has_ended());
        assert!(self.runs.try_recv().is_err(), "two runs");
        let error = self.set.managed.outcome().unwrap_err();
        let errors: Vec<Error> = match &error {
            Error::Many(errors) => errors.iter().cloned().collect(),
            error => vec![error.clone()],
        };
        assert!(errors.iter().any(|error| is_expected(cause(error))), "{errors:?}");
        let last = errors.last().unwrap();
        assert_eq!(stuck_keys(last), ["inner/thread"]);
        drop(self.release);
    }
}

fn is_stuck(error: &ManagerError) -> bool {
    matches!(error, ManagerError::Stuck { .. })
}

/// A strategy that would have to restart the set closes instead (U1).
#[test]
fn a_strategy_that_would_have_to_restart_the_set() {
    for (_, strategy) in &STRATEGIES[1..] {
        let pair = Pair::new(*strategy, |unit| unit, Supervisor::policy, Behaviour::Serve);
        pair.fail(is_stuck);
    }
}

/// A set that must start together does not wait for the restart of the unit.
#[test]
fn a_set_that_fails_while_its_own_set_starts_together() {
    let together = |set: Supervisor, policy| set.policy(policy).start_together(true);
    for (_, strategy) in STRATEGIES {
        let pair = Pair::new(strategy, |unit| unit, together, Behaviour::HangInStart);
        pair.fail(|error| matches!(error, ManagerError::ClosedFor { .. }));
    }
}

/// The end of a significant unit counts at once.
#[test]
fn a_significant_set() {
    let significant = |unit: Unit| unit.significant(true).restart(Restart::Temporary);
    let settings: [fn(Supervisor, Policy) -> Supervisor; 2] = [
        |set, policy| set.policy(policy).auto_shutdown(AutoShutdown::AnySignificant),
        |set, policy| set.policy(policy).auto_shutdown(AutoShutdown::AllSignificant),
    ];
    for settings in settings {
        Pair::new(STRATEGIES[0].1, significant, settings, Behaviour::Serve).fail(is_stuck);
    }
}

/// The failure counts towards the intensity at once.
#[test]
fn a_set_that_fails_too_often() {
    let no_restart =
        |set: Supervisor, policy: Policy| set.policy(policy.intensity(Rate::new(0, SECOND * 60)));
    for (_, strategy) in STRATEGIES {
        let pair = Pair::new(strategy, |unit| unit, no_restart, Behaviour::Serve);
        pair.fail(|error| matches!(error, ManagerError::GaveUp { .. }));
    }
}

/// A run of the manager that ends while a unit waits for what it has left behind passes that on to the next run, or
/// forgets the unit when it is free.
#[test]
fn a_unit_that_is_left_by_two_runs_of_the_manager() {
    let nested = Nested::new();
    let managed = nested.start();
    nested.fail();
    managed.app.close();
    nested.world.settle();
    stuck_keys(&managed.outcome().unwrap_err());
    let managed = nested.world.start();
    nested.seconds(2);
    managed.app.close();
    nested.world.settle();
    assert_eq!(stuck_keys(&managed.outcome().unwrap_err()), ["inner/thread"]);
    assert_eq!(nested.state(), Some(State::Stuck));
    nested.release.send(()).unwrap();
    nested.world.until(|| nested.state().is_none());
}

/// Runs tasks until there is an event of this kind.
fn wait_for(world: &World, events: &mut Events<&'static str>, kind: &str) {
    let end = Instant::now() + LIMIT;
    while events.try_recv().is_none_or(|event| event.kind() != kind) {
        assert!(Instant::now() < end, "there is no event of the kind `{kind}`");
        world.settle();
        yield_now();
    }
}

/// The first run of the manager leaves the set, and the next one sees how that ends and leaves its thread.
#[test]
fn a_set_that_ends_in_the_next_run_of_the_manager() {
    let nested = Nested::with(|unit| unit.grace(Duration::ZERO), |set| set);
    let policy = policy(&nested.world).abort_grace(Duration::ZERO);
    let manager = Manager::builder(nested.world.table.clone()).policy(policy).build();
    let mut events = manager.events();
    let managed = nested.world.run(manager.runnable());
    nested.runs.recv_timeout(LIMIT).unwrap();
    managed.app.close();
    nested.world.until(|| managed.has_ended());
    let managed = nested.world.run(manager.runnable());
    nested.seconds(2);
    // The end of the set has been handled.
    wait_for(&nested.world, &mut events, "stopped");
    managed.app.close();
    nested.world.until(|| managed.has_ended());
    managed.outcome().unwrap_err();
    assert_eq!(manager.list()[0].state, State::Stuck);
    // Nobody looks at the units meanwhile.
    nested.release.send(()).unwrap();
    wait_for(&nested.world, &mut events, "freed");
    assert!(manager.list().is_empty());
}

/// A set that was left with a stuck unit by a run of its own is a unit of another set in its next run.
#[test]
fn a_set_that_has_left_a_unit_behind_before() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    let inner = Supervisor::one_for_one([("thread", thread)]).policy(short);
    let alone = world.run(inner.runnable());
    runs.recv_timeout(LIMIT).unwrap();
    alone.app.close();
    (0..2).for_each(|_| world.advance(SECOND));
    world.until(|| alone.has_ended());
    world.table.insert("inner", inner.runnable());
    let managed = world.start();
    assert_eq!(inner.counts().stuck, 1);
    let stop = world.stop_unit("inner");
    world.until(|| stop.is_finished());
    let Err(ManagerError::Stuck { keys, .. }) = yielded(stop) else { panic!("it is stuck") };
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["inner/thread"]);
    assert_eq!(world.state("inner"), Some(State::Stuck));
    release.send(()).unwrap();
    world.until(|| world.state("inner") == Some(State::Stopped));
    managed.close(&world).unwrap();
}

/// A round does not wait for a unit that it would not restart, and does not close the set because of it.
#[test]
fn a_stuck_unit_that_no_strategy_restarts() {
    for (name, strategy) in &STRATEGIES[1..] {
        let world = World::new();
        let (thread, release, runs) = stubborn();
        let (unit, fail, (release_below, _runs)) =
            Nested::unit(&world, || "broken".into(), |set| set);
        let temporary = |unit: Unit| unit.restart(Restart::Temporary).grace(SECOND);
        let units = vec![
            ("a", world.units.unit("a")),
            ("thread", temporary(Unit::new(thread))),
            ("set", temporary(unit).grace(SECOND * 10)),
            ("b", world.units.unit("b")),
        ];
        let set = strategy(units).policy(policy(&world).abort_grace(SECOND));
        let set = Set::start(world, set);
        runs.recv_timeout(LIMIT).unwrap();
        set.world.until(|| set.set.counts().running == 4);
        fail.try_send(()).unwrap();
        set.world.settle();
        (0..3).for_each(|_| set.world.advance(SECOND));
        assert_eq!(set.state("set"), Some(State::Stuck), "{name}");
        set.tell("a", Message::Fail);
        (0..4).for_each(|_| set.world.advance(SECOND));
        assert_eq!(set.state("thread"), Some(State::Stuck), "{name}");
        assert_eq!((set.starts(["a", "b"]), set.runs(["a", "b"])), ([2; 2], [1; 2]), "{name}");
        drop((release, release_below));
        set.world.until(|| set.set.counts().ended == 2);
        set.close().unwrap();
    }
}

/// A set and the set inside it stop waiting for a thread at the same moment, again and again.
#[test]
fn two_sets_that_stop_waiting_together() {
    let sets = |thread: Runnable, extra: u64| {
        let ms = Duration::from_millis;
        let inner = Supervisor::one_for_one([("thread", Unit::new(thread))]);
        let inner = inner.policy(Policy::new().grace(ms(0)).abort_grace(ms(2)));
        let outer = Supervisor::one_for_one([("inner", inner.runnable())]);
        let late = Duration::from_micros(extra * 4);
        outer.policy(Policy::new().grace(ms(0)).abort_grace(ms(2) + late)).runnable()
    };
    let check = || {
        for extra in 0..100 {
            let (thread, release, runs) = stubborn();
            let set = Runnable::new(move |start| sets(thread.clone(), extra).start(start));
            let app = Process::new();
            let start = |runnable: Runnable| runnable.start(Start::under(&app).0).unwrap();
            let run = if extra % 2 == 0 {
                let table = MemoryTable::new();
                table.insert("unit", set);
                let manager = Manager::new(table);
                let run = start(manager.runnable());
                runs.recv_timeout(LIMIT).unwrap();
                let stopped = manager.stop_blocking(&"unit");
                assert!(matches!(stopped, Err(ManagerError::Stuck { .. })), "{stopped:?}");
                assert_eq!(manager.list()[0].state, State::Stuck);
                run
            } else {
                let run = start(set);
                runs.recv_timeout(LIMIT).unwrap();
                let outcome = run.close().wait_timeout(LIMIT).unwrap();
                assert!(matches!(cause(&outcome.unwrap_err()), ManagerError::Stuck { .. }));
                run
            };
            release.send(()).unwrap();
            // The thread may end after its manager.
            run.close();
            assert!(run.closed().wait_timeout(LIMIT).is_some());
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(check))));
}
