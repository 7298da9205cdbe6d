//! Ordered sets of units: which units restart together, and in which order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use procession::{Error, Process};
use procession_runnable::{Runnable, body};
use procession_supervisor::{
    Backoff, Events, ManagerError, OnFailure, Policy, Rate, Restart, State, Supervisor, Unit,
};

use crate::world::{Behaviour, Key, LIMIT, Managed, Message, SECOND, World, in_words, stubborn};

const PLAIN: Backoff = Backoff::new(SECOND, SECOND).jitter(false);

type Strategy = fn([(Key, Unit); 3]) -> Supervisor;

const STRATEGIES: [(&str, Strategy); 3] = [
    ("one for one", |units| Supervisor::one_for_one(units)),
    ("one for all", |units| Supervisor::one_for_all(units)),
    ("rest for one", |units| Supervisor::rest_for_one(units)),
];

/// A running set of `a`, `b` and `c`.
struct Running {
    world: World,
    events: Events<Arc<str>>,
    managed: Managed,
}

impl Running {
    fn start(strategy: Strategy, restart: Restart, intensity: Option<Rate>) -> Self {
        Self::of(World::new(), strategy, restart, intensity)
    }

    fn of(world: World, strategy: Strategy, restart: Restart, intensity: Option<Rate>) -> Self {
        let mut policy = Policy::new().clock(world.clock.clone()).backoff(PLAIN);
        if let Some(rate) = intensity {
            policy = policy.intensity(rate);
        }
        let units = ["a", "b", "c"].map(|key| (key, world.units.unit(key).restart(restart)));
        let set = strategy(units).policy(policy).name("set");
        let events = set.events();
        let managed = world.run(set.runnable());
        Self { world, events, managed }
    }

    /// The events since the last call, without the expected `started` and `stopping`.
    fn happened(&mut self) -> Vec<String> {
        self.world.settle();
        let events = std::iter::from_fn(|| self.events.try_recv());
        let words = events.map(|event| in_words(&event));
        words.filter(|event| !event.ends_with("started") && !event.ends_with("stopping")).collect()
    }

    fn runs(&self) -> [usize; 3] {
        ["a", "b", "c"].map(|key| self.world.units.runs(key))
    }
}

/// Units start in order and stop in the reverse order, whatever the strategy.
#[test]
fn units_start_and_stop_in_order() {
    for (name, strategy) in STRATEGIES {
        let mut set = Running::start(strategy, Restart::Transient, None);
        assert!(set.managed.body_began());
        assert_eq!(set.happened(), ["a ready", "b ready", "c ready"], "{name}");
        set.managed.app.close();
        assert_eq!(set.happened(), ["c stopped", "b stopped", "a stopped"], "{name}");
        set.managed.outcome().unwrap();
    }
}

/// A unit that is not ready delays the units after it.
#[test]
fn each_unit_waits_for_the_previous_one() {
    for (name, strategy) in STRATEGIES {
        let world = World::new();
        world.units.set("b", Behaviour::HangInStart);
        let mut set = Running::of(world, strategy, Restart::Transient, None);
        assert_eq!((set.runs(), set.managed.body_began()), ([1, 1, 0], false), "{name}");
        assert_eq!(set.happened(), ["a ready"]);
        let world = set.world;
        set.managed.close(&world).unwrap();
        assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 0));
    }
}

/// Each strategy restarts its units when the middle one fails.
#[test]
fn strategies() {
    for ((name, strategy), stopped, again) in [
        (STRATEGIES[0], &[][..], &["b ready"][..]),
        (STRATEGIES[1], &["c stopped", "a stopped"], &["a ready", "b ready", "c ready"]),
        (STRATEGIES[2], &["c stopped"], &["b ready", "c ready"]),
    ] {
        for told in [Message::Fail, Message::Panic] {
            let mut set = Running::start(strategy, Restart::Transient, None);
            set.happened();
            set.world.units.tell("b", told);
            let happened = set.happened();
            assert!(happened[0].starts_with("b failed: process `b` "), "{name} {happened:?}");
            assert_eq!(happened[1], "b restarting in 1s (1)", "{name}");
            assert_eq!(happened[2..], *stopped, "{name}");
            set.world.advance(SECOND);
            assert_eq!(set.happened(), again, "{name}");
            assert_eq!(set.runs(), [1; 3]);
            assert!(!set.managed.has_ended());
            set.managed.close(&set.world).unwrap();
        }
    }
}

/// Each `Restart` decides whether a unit that has ended restarts.
#[test]
fn restart_rules() {
    for (restart, after_failure, after_end) in [
        (Restart::Permanent, true, true),
        (Restart::Transient, true, false),
        (Restart::Temporary, false, false),
    ] {
        for (told, again) in [(Message::Fail, after_failure), (Message::End, after_end)] {
            for (name, strategy) in STRATEGIES {
                let set = Running::start(strategy, restart, None);
                set.world.units.tell("c", told);
                set.world.advance(SECOND);
                let runs = usize::from(again);
                assert_eq!(set.runs(), [1, 1, runs], "{name} {restart:?} {told:?}");
                set.managed.close(&set.world).unwrap();
            }
        }
    }
}

/// A temporary unit that fails to start delays nothing.
#[test]
fn a_temporary_unit_that_fails_to_start() {
    let world = World::new();
    world.units.set("b", Behaviour::FailToStart);
    let set = Running::of(world, STRATEGIES[0].1, Restart::Temporary, None);
    assert_eq!((set.runs(), set.managed.body_began()), ([1, 0, 1], true));
    set.managed.close(&set.world).unwrap();
}

/// A unit that is restarted too often ends the set, and the outcome has its error. The other units stop.
#[test]
fn too_many_restarts_end_the_set() {
    for (name, strategy) in STRATEGIES {
        let rate = Rate::new(2, SECOND * 60);
        let mut set = Running::start(strategy, Restart::Transient, Some(rate));
        for _ in 0..2 {
            set.world.units.tell("b", Message::Fail);
            set.world.advance(SECOND);
            assert_eq!(set.runs(), [1; 3], "{name}");
        }
        set.happened();
        set.world.units.tell("b", Message::Fail);
        let happened = set.happened();
        assert!(happened.iter().any(|event| event.ends_with("given up")), "{name} {happened:?}");
        assert_eq!(set.runs(), [0; 3], "{name}");
        let error = set.managed.outcome().unwrap_err();
        assert!(
            error
                .with_causes()
                .to_string()
                .ends_with("was restarted too often: process `b` failed: broken")
        );
        let Error::Failed(failed) = error else { panic!("{name}: {error}") };
        assert!(matches!(failed.get().downcast_ref(), Some(ManagerError::GaveUp { .. })));
    }
}

/// Intensity is counted for each unit, so failures of one unit do not count for another.
#[test]
fn intensity_is_counted_for_each_unit() {
    let rate = Rate::new(2, SECOND * 60);
    let set = Running::start(STRATEGIES[0].1, Restart::Transient, Some(rate));
    for key in ["a", "b", "c", "a", "b", "c"] {
        set.world.units.tell(key, Message::Fail);
        set.world.advance(SECOND);
    }
    assert_eq!(set.runs(), [1; 3]);
    set.managed.close(&set.world).unwrap();
}

/// A unit that ignores its closing is aborted after its grace, when its turn comes.
#[test]
fn stopping_is_bounded() {
    for (name, strategy) in STRATEGIES {
        let world = World::new();
        world.units.set("b", Behaviour::IgnoreClosing);
        let mut set = Running::of(world, strategy, Restart::Transient, None);
        set.happened();
        set.managed.app.close();
        assert_eq!(set.happened(), ["c stopped"], "{name}");
        set.world.advance(SECOND * 10);
        let happened = set.happened();
        assert_eq!(happened[0], "b aborted after 10s", "{name}");
        assert_eq!(happened[1], "b stopped by force", "{name}");
        assert_eq!(happened[2], "a stopped", "{name}");
        set.managed.outcome().unwrap();
    }
}

/// After a steady run, the pauses begin from the first again.
#[test]
fn pauses() {
    let world = World::new();
    let backoff = Backoff::new(SECOND, SECOND * 8).jitter(false);
    let policy = Policy::new().clock(world.clock.clone()).backoff(backoff);
    let set = Supervisor::one_for_one([("a", world.units.unit("a"))])
        .policy(policy.steady_after(SECOND * 20));
    let mut events = set.events();
    let managed = world.run(set.runnable());
    let mut pause = || {
        world.units.tell("a", Message::Fail);
        world.settle();
        let last = std::iter::from_fn(|| events.try_recv()).last().unwrap();
        world.advance(SECOND * 8);
        in_words(&last)
    };
    assert_eq!(pause(), "a restarting in 1s (1)");
    assert_eq!(pause(), "a restarting in 2s (2)");
    assert_eq!(pause(), "a restarting in 4s (3)");
    world.advance(SECOND * 20);
    assert_eq!(pause(), "a restarting in 1s (4)");
    // If the set closes during the pause, nothing starts any more.
    world.units.tell("a", Message::Fail);
    world.settle();
    let starts = world.units.starts("a");
    managed.close(&world).unwrap();
    assert_eq!(world.units.starts("a"), starts);
}

/// A unit whose body ends before it is ready, but leaves a child running, is closed together with that child, and
/// restarts.
#[test]
fn a_unit_that_ends_before_it_is_ready_restarts() {
    let world = World::new();
    let starts = Arc::new(AtomicUsize::new(0));
    let count = starts.clone();
    let hasty = body(move |run| {
        let start = count.fetch_add(1, Ordering::SeqCst);
        async move {
            run.spawn(|child| async move { child.closing().await })?;
            if start > 0 {
                run.ready();
                run.closing().await;
            }
            Ok::<(), Error>(())
        }
    });
    let policy = Policy::new().clock(world.clock.clone()).backoff(PLAIN);
    let managed = world.run(Supervisor::one_for_one([("a", hasty)]).policy(policy).runnable());
    assert!(!managed.body_began());
    world.advance(SECOND);
    assert!(managed.body_began());
    assert_eq!(starts.load(Ordering::SeqCst), 2);
    managed.close(&world).unwrap();
}

/// A unit may have a grace of its own.
#[test]
fn a_unit_with_its_own_grace() {
    let world = World::new();
    world.units.set("a", Behaviour::IgnoreClosing);
    let set = Supervisor::one_for_one([("a", world.units.unit("a").grace(SECOND * 3))])
        .policy(Policy::new().clock(world.clock.clone()));
    let managed = world.run(set.runnable());
    managed.app.close();
    world.advance(SECOND * 3);
    managed.outcome().unwrap();
}

/// A set can have many units, with each strategy.
#[test]
fn many_units() {
    for strategy in [Supervisor::one_for_one, Supervisor::one_for_all, Supervisor::rest_for_one] {
        let world = World::new();
        let idle = body(|run| async move {
            run.ready();
            run.closing().await;
        });
        let units: Vec<_> = (0..2_000).map(|number| (number.to_string(), idle.clone())).collect();
        let managed = world.run(strategy(units).runnable());
        assert!(managed.body_began());
        managed.close(&world).unwrap();
    }
}

/// If a thread that ignores its abort must be restarted, the set ends and names it. The thread has only one run at a
/// time, even across the runs of the set.
#[test]
fn a_stuck_unit_is_named_and_not_started_twice() {
    type OfTwo = fn([(Key, Unit); 2]) -> Supervisor;
    let strategies: [OfTwo; 2] =
        [|units| Supervisor::one_for_all(units), |units| Supervisor::rest_for_one(units)];
    for strategy in strategies {
        let world = World::new();
        let (stubborn, release, runs) = stubborn();
        let units = [("b", world.units.unit("b")), ("stubborn", Unit::new(stubborn))];
        let set = strategy(units).policy(Policy::new().clock(world.clock.clone()).backoff(PLAIN));
        let managed = world.run(set.runnable());
        runs.recv_timeout(LIMIT).unwrap();
        world.until(|| managed.body_began());
        // Both must restart, but one does not stop.
        world.units.tell("b", Message::Fail);
        world.advance(SECOND);
        world.advance(SECOND * 9);
        assert!(!managed.has_ended());
        world.advance(SECOND * 5);
        assert_eq!((world.units.runs("b"), set.counts().stuck), (0, 1));
        let error = managed.outcome().unwrap_err().with_causes().to_string();
        assert!(error.ends_with("aborted, and has not ended: `stubborn`"), "{error}");

        // The next run of the set waits for the thread to end.
        let managed = world.run(set.runnable());
        assert!(!managed.body_began() && runs.try_recv().is_err());
        assert_eq!(world.units.runs("b"), 1);
        release.send(()).unwrap();
        world.until(|| managed.body_began());
        runs.recv_timeout(LIMIT).unwrap();
        // A closing set waits for the graces, and then names the thread.
        managed.app.close();
        for time in [10, 5] {
            world.advance(SECOND * time);
        }
        let error = managed.outcome().unwrap_err().with_causes().to_string();
        assert!(error.contains("aborted, and has not ended: `stubborn`"), "{error}");
        drop(release);
    }
}

/// After the decision to close, a set starts none of its units, whether a unit is stuck or could not start.
#[test]
fn nothing_starts_once_the_set_closes() {
    let world = World::new();
    let (stubborn, release, runs) = stubborn();
    let units = [("b", world.units.unit("b")), ("stubborn", Unit::new(stubborn))];
    let policy = Policy::new().clock(world.clock.clone()).backoff(PLAIN);
    let set = Supervisor::one_for_all(units).policy(policy.clone());
    let managed = world.run(set.runnable());
    runs.recv_timeout(LIMIT).unwrap();
    world.until(|| managed.body_began());
    world.units.tell("b", Message::Fail);
    world.advance(SECOND * 10);
    world.advance(SECOND * 5);
    assert!(managed.has_ended());
    assert_eq!(world.units.starts("b"), 1);
    drop(release);

    let cannot_start = Runnable::new(|start| {
        start.spawn(|_| async {})?;
        Err(Error::Aborted(Process::new().label()))
    });
    let closes = Unit::new(cannot_start).on_failure(OnFailure::CloseAll);
    let units = [("a", closes), ("c", world.units.unit("c"))];
    let managed = world.run(Supervisor::one_for_one(units).policy(policy).runnable());
    assert!(managed.has_ended());
    assert_eq!(world.units.starts("c"), 0);
}

/// A set can be a unit. When it ends because it gave up a unit, its own manager restarts it.
#[test]
fn sets_nest() {
    let world = World::new();
    let policy = Policy::new().clock(world.clock.clone()).backoff(PLAIN);
    let inner = Supervisor::one_for_all([("a", world.units.unit("a"))])
        .policy(policy.clone().intensity(Rate::new(0, SECOND)));
    let outer = Supervisor::one_for_one([("inner", inner.runnable())]).policy(policy);
    world.table.insert("outer", outer.runnable());
    let managed = world.start();
    for starts in 1..4 {
        assert_eq!((world.units.runs("a"), world.units.starts("a")), (1, starts));
        world.units.tell("a", Message::Fail);
        world.advance(SECOND);
    }
    assert_eq!(world.state("outer"), Some(State::Running));
    managed.close(&world).unwrap();
    assert_eq!(world.units.runs("a"), 0);
}

/// An empty set is ready, and ends.
#[test]
fn an_empty_set() {
    let world = World::new();
    let none: [(&str, Unit); 0] = [];
    let managed = world.run(Supervisor::rest_for_one(none).runnable());
    assert!(managed.body_began());
    managed.close(&world).unwrap();
}
