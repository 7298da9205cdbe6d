//! Behaviours of comparable libraries: OTP's `supervisor_SUITE`, suture, and tokio-graceful-shutdown.

use std::sync::Arc;
use std::time::Duration;

use procession::{Error, Process};
use procession_runnable::{Start, body};
use procession_supervisor::{
    AutoShutdown, Backoff, Events, Happening, ManagerError, Policy, Rate, Restart, State,
    Supervisor, Unit,
};
use smol::Task;

use crate::world::{Behaviour, Key, LIMIT, Managed, Message, SECOND, World, in_words, yielded};

pub(crate) const AT_ONCE: Backoff = Backoff::new(SECOND, SECOND).jitter(false);

pub(crate) type Strategy = fn(Vec<(Key, Unit)>) -> Supervisor;

pub(crate) const STRATEGIES: [(&str, Strategy); 3] = [
    ("one for one", |units| Supervisor::one_for_one(units)),
    ("one for all", |units| Supervisor::one_for_all(units)),
    ("rest for one", |units| Supervisor::rest_for_one(units)),
];

pub(crate) fn policy(world: &World) -> Policy {
    Policy::new().clock(world.clock.clone()).backoff(AT_ONCE)
}

/// A running set, in a world of its own.
pub(crate) struct Set {
    pub(crate) world: World,
    pub(crate) set: Supervisor,
    pub(crate) events: Events<Arc<str>>,
    pub(crate) managed: Managed,
}

impl Set {
    pub(crate) fn start(world: World, set: Supervisor) -> Self {
        let events = set.events();
        let managed = world.run(set.runnable());
        Self { world, set, events, managed }
    }

    /// Makes a set of units with rules.
    pub(crate) fn of(strategy: Strategy, units: &[Key], rules: impl Fn(Key, Unit) -> Unit) -> Self {
        let world = World::new();
        let units = units.iter().map(|key| (*key, rules(key, world.units.unit(key)))).collect();
        let set = strategy(units).policy(policy(&world));
        Self::start(world, set)
    }

    pub(crate) fn tell(&self, key: Key, told: Message) {
        self.world.units.tell(key, told);
        self.world.settle();
    }

    pub(crate) fn runs<const N: usize>(&self, keys: [Key; N]) -> [usize; N] {
        keys.map(|key| self.world.units.runs(key))
    }

    pub(crate) fn starts<const N: usize>(&self, keys: [Key; N]) -> [usize; N] {
        keys.map(|key| self.world.units.starts(key))
    }

    pub(crate) fn state(&self, key: Key) -> Option<State> {
        let list = self.set.list();
        list.into_iter().find(|status| &*status.key == key).map(|status| status.state)
    }

    /// The events since the last call.
    pub(crate) fn happened(&mut self) -> Vec<String> {
        self.world.settle();
        std::iter::from_fn(|| self.events.try_recv()).map(|event| in_words(&event)).collect()
    }

    /// Makes a call, which must be answered before the clock moves.
    #[track_caller]
    pub(crate) fn call<T, F>(&self, call: impl FnOnce(Supervisor) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        yielded(self.begin(call))
    }

    pub(crate) fn begin<T, F>(&self, call: impl FnOnce(Supervisor) -> F) -> Task<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.world.spawn(call(self.set.clone()))
    }

    #[track_caller]
    pub(crate) fn close(self) -> Result<(), Error> {
        self.managed.close(&self.world)
    }
}

/// The engine's error in the outcome.
pub(crate) fn cause(error: &Error) -> &ManagerError {
    let Error::Failed(failed) = error else { panic!("{error:?}") };
    failed.get().downcast_ref().unwrap_or_else(|| panic!("{error:?}"))
}

/// OTP: children start from left to right, each when the one before it has started, and stop from right to left, each
/// when the one after it has ended.
#[test]
fn start_order_and_stop_order() {
    for (name, strategy) in STRATEGIES {
        let world = World::new();
        world.units.set("b", Behaviour::StopWhenTold);
        let units = ["a", "b", "c"].map(|key| (key, world.units.unit(key)));
        let mut set = Set::start(world, strategy(units.into()));
        assert_eq!(
            set.happened(),
            ["a started", "a ready", "b started", "b ready", "c started", "c ready"],
            "{name}"
        );
        set.managed.app.close();
        set.world.settle();
        assert_eq!(set.runs(["a", "b", "c"]), [1, 1, 0], "{name}");
        assert_eq!(set.state("a"), Some(State::Running), "{name}");
        set.tell("b", Message::End);
        assert_eq!(
            set.happened(),
            ["c stopping", "c stopped", "b stopping", "b stopped", "a stopping", "a stopped"],
            "{name}"
        );
        set.managed.outcome().unwrap();
    }
}

/// OTP: `child_adm`, `child_specs`: names are unique, unknown ones are refused, and calls fit the state.
#[test]
fn calls_by_name() {
    let set = Set::of(STRATEGIES[0].1, &["a", "b"], |_, unit| unit);
    let not_found = |error| matches!(error, ManagerError::NotFound { .. });
    assert!(not_found(set.set.get("z").unwrap_err()));
    assert!(not_found(set.call(|set| async move { set.start("z").await.unwrap_err() })));
    assert!(not_found(set.call(|set| async move { set.stop("z").await.unwrap_err() })));
    assert!(not_found(set.call(|set| async move { set.restart("z").await.unwrap_err() })));
    assert!(not_found(set.call(|set| async move { set.remove("z").await.unwrap_err() })));
    let unit = set.world.units.unit("a");
    let exists = set.call(|set| async move { set.add("a", unit).await.unwrap_err() });
    assert!(matches!(exists, ManagerError::Exists { .. }));
    let has_run = set.call(|set| async move { set.start("a").await.unwrap_err() });
    assert!(matches!(has_run, ManagerError::HasRun { .. }));
    // OTP: terminate_child, twice; restart_child.
    set.call(|set| async move { set.stop("a").await }).unwrap();
    assert_eq!((set.state("a"), set.runs(["a", "b"])), (Some(State::Stopped), [0, 1]));
    let again = set.call(|set| async move { set.stop("a").await.unwrap_err() });
    assert!(matches!(again, ManagerError::InvalidState { .. }));
    let process = set.call(|set| async move { set.start("a").await }).unwrap();
    assert_eq!(set.set.get("a").unwrap(), process);
    let restarted = set.call(|set| async move { set.restart("a").await }).unwrap();
    assert!(process.is_closed() && restarted != process);
    assert_eq!((set.starts(["a", "b"]), set.runs(["a", "b"])), ([3, 1], [1, 1]));
    // OTP: delete_child.
    set.call(|set| async move { set.remove("a").await }).unwrap();
    assert_eq!((set.state("a"), set.set.counts().units), (None, 1));
    set.close().unwrap();
}

/// A set with two units of the same name fails to start. Later calls fail because it is not running.
#[test]
fn two_units_with_one_name() {
    let world = World::new();
    let set = Supervisor::one_for_one(["a", "b", "a"].map(|key| (key, world.units.unit(key))));
    for _ in 0..2 {
        let app = world.app();
        let (start, _readiness) = Start::under(&app);
        let process = set.runnable().start(start).unwrap();
        world.settle();
        let error = process.outcome().unwrap().unwrap_err();
        assert!(
            matches!(cause(&error), ManagerError::Exists { key } if &**key == "a"),
            "{error:?}"
        );
        assert_eq!((set.list().len(), set.counts().units), (0, 0));
        assert!(matches!(set.get("a"), Err(ManagerError::NotRunning)));
        let called = set.clone();
        let called = world.spawn(async move { called.start("a").await });
        assert!(matches!(yielded(called), Err(ManagerError::NotRunning)));
    }
    assert_eq!(world.units.starts("a"), 0);
}

/// OTP: start_child and delete_child while the set runs. The new unit is the last to start and the first to stop, and
/// takes part in the strategies. The next run of the set has only the units of its description.
#[test]
fn units_come_and_go() {
    for (name, strategy) in STRATEGIES {
        let mut set = Set::of(strategy, &["a", "b"], |_, unit| unit);
        let unit = set.world.units.unit("c");
        set.call(|set| async move { set.add("c", unit).await }).unwrap();
        set.world.settle();
        assert_eq!(set.runs(["a", "b", "c"]), [1; 3], "{name}");
        set.tell("b", Message::Fail);
        set.world.advance(SECOND);
        let starts = match name {
            "one for one" => [1, 2, 1],
            "one for all" => [2, 2, 2],
            _ => [1, 2, 2],
        };
        assert_eq!(set.starts(["a", "b", "c"]), starts, "{name}");
        set.call(|set| async move { set.remove("a").await }).unwrap();
        set.tell("c", Message::Fail);
        set.world.advance(SECOND);
        assert_eq!(set.runs(["a", "b", "c"]), [0, 1, 1], "{name}");
        // A free name can be used again.
        let unit = set.world.units.unit("a");
        set.call(|set| async move { set.add("a", unit).await }).unwrap();
        set.happened();
        set.managed.app.close();
        let stopped = set.happened();
        let stopped: Vec<_> = stopped.iter().filter(|event| event.ends_with("stopped")).collect();
        assert_eq!(stopped, ["a stopped", "c stopped", "b stopped"], "{name}");
        set.managed.outcome().unwrap();
        let managed = set.world.run(set.set.runnable());
        assert_eq!((set.set.counts().units, set.world.units.runs("c")), (2, 0));
        managed.close(&set.world).unwrap();
    }
}

/// OTP: `simple_one_for_one`: many units that come and go leave nothing behind.
#[test]
fn many_units_come_and_go() {
    let set = Set::of(STRATEGIES[2].1, &["a", "b"], |_, unit| unit);
    for _ in 0..200 {
        for key in ["c", "d", "e"] {
            let unit = set.world.units.unit(key);
            set.call(|set| async move { set.add(key, unit).await }).unwrap();
        }
        for key in ["d", "c", "e"] {
            set.call(|set| async move { set.remove(key).await }).unwrap();
        }
    }
    assert_eq!((set.set.counts().units, set.set.counts().running), (2, 2));
    set.tell("a", Message::Fail);
    set.world.advance(SECOND);
    assert_eq!(set.starts(["a", "b", "c"]), [2, 2, 200]);
    set.close().unwrap();
}

/// OTP: which permanent, transient and temporary children restart after an end with or without an error, in each
/// strategy.
#[test]
fn restart_types_in_each_strategy() {
    for (name, strategy) in STRATEGIES {
        for (restart, told, again) in [
            (Restart::Permanent, Message::End, true),
            (Restart::Permanent, Message::Fail, true),
            (Restart::Permanent, Message::Panic, true),
            (Restart::Transient, Message::End, false),
            (Restart::Transient, Message::Fail, true),
            (Restart::Temporary, Message::End, false),
            (Restart::Temporary, Message::Fail, false),
            (Restart::Temporary, Message::Panic, false),
        ] {
            let rules = |key, unit: Unit| if key == "b" { unit.restart(restart) } else { unit };
            let set = Set::of(strategy, &["a", "b", "c"], rules);
            set.tell("b", told);
            set.world.advance(SECOND);
            let starts = match (again, name) {
                (false, _) => [1, 1, 1],
                (true, "one for one") => [1, 2, 1],
                (true, "one for all") => [2, 2, 2],
                (true, _) => [1, 2, 2],
            };
            assert_eq!(set.starts(["a", "b", "c"]), starts, "{name} {restart:?} {told:?}");
            assert_eq!(set.runs(["a", "b", "c"]), [1, usize::from(again), 1]);
            set.close().unwrap();
        }
    }
}

/// OTP: `one_for_all_other_child_fails_restart`, `rest_for_one_other_child_fails_restart`: another unit that fails
/// during the restart makes it begin again, and nothing runs twice.
#[test]
fn another_unit_fails_during_a_restart() {
    for (name, strategy) in &STRATEGIES[1..] {
        let set = Set::of(*strategy, &["a", "b", "c", "d"], |_, unit| unit);
        set.tell("c", Message::Fail);
        assert_eq!(set.state("c"), Some(State::Waiting));
        set.world.units.set("d", Behaviour::FailToStart);
        set.world.advance(SECOND);
        assert_eq!(set.runs(["c", "d"]), if *name == "one for all" { [0, 0] } else { [1, 0] });
        set.world.units.set("d", Behaviour::Serve);
        set.world.advance(SECOND);
        assert_eq!(set.runs(["a", "b", "c", "d"]), [1; 4], "{name}");
        set.close().unwrap();
    }
}

/// If a unit before the waiting ones also fails, it has a pause of its own, which is not cut short.
#[test]
fn an_earlier_unit_fails_during_a_restart() {
    let set = Set::of(STRATEGIES[2].1, &["a", "b", "c"], |_, unit| unit);
    set.tell("c", Message::Fail);
    set.world.advance(Duration::from_millis(900));
    set.tell("a", Message::Fail);
    assert_eq!(set.runs(["a", "b", "c"]), [0; 3]);
    set.world.advance(Duration::from_millis(100));
    assert_eq!(set.runs(["a", "b", "c"]), [0; 3], "its pause of a second is not over");
    set.world.advance(Duration::from_millis(900));
    assert_eq!(set.runs(["a", "b", "c"]), [1; 3]);
    set.close().unwrap();
}

/// OTP: `multiple_restarts`, intensity: more restarts of all children together than allowed in the period end the set.
#[test]
fn intensity_of_a_set() {
    for (name, strategy) in STRATEGIES {
        let world = World::new();
        let units = ["a", "b", "c"].map(|key| (key, world.units.unit(key)));
        let rate = Rate::new(2, SECOND * 10);
        let set = strategy(units.into()).policy(policy(&world).total_intensity(rate));
        let set = Set::start(world, set);
        for key in ["a", "b"] {
            set.tell(key, Message::Fail);
            set.world.advance(SECOND);
        }
        // Two of them are outside the period.
        set.world.advance(SECOND * 10);
        for key in ["c", "a"] {
            set.tell(key, Message::Fail);
            set.world.advance(SECOND);
            assert_eq!(set.runs(["a", "b", "c"]), [1; 3], "{name}");
        }
        set.tell("b", Message::Fail);
        assert_eq!(set.runs(["a", "b", "c"]), [0; 3], "{name}");
        let error = set.managed.outcome().unwrap_err();
        assert!(
            matches!(cause(&error), ManagerError::GaveUp { key, source: Some(_) } if &**key == "b"),
            "{name} {error:?}"
        );
    }
}

/// OTP: intensity 0: the first failure ends the set.
#[test]
fn intensity_of_zero() {
    let world = World::new();
    let none = Rate::new(0, SECOND);
    let set = Supervisor::one_for_one(["a", "b"].map(|key| (key, world.units.unit(key))));
    let set = Set::start(world, set.keep_open(true).policy(Policy::new().total_intensity(none)));
    set.tell("a", Message::Fail);
    assert_eq!(set.runs(["a", "b"]), [0, 0]);
    assert!(matches!(cause(&set.managed.outcome().unwrap_err()), ManagerError::GaveUp { .. }));
}

/// OTP: `significant_*`, auto_shutdown any and all. A unit that is restarted, or that a call has stopped, does not
/// count as ended.
#[test]
fn auto_shutdown() {
    let rules = |key, unit: Unit| {
        let unit = unit.significant(key != "c");
        if key == "b" { unit.restart(Restart::Temporary) } else { unit }
    };
    // With other strategies, the temporary unit would end with the first failure.
    let (name, strategy) = STRATEGIES[0];
    for (auto, ends, closes) in [
        (AutoShutdown::Never, &["a", "b"][..], false),
        (AutoShutdown::AnySignificant, &["a"], true),
        (AutoShutdown::AnySignificant, &["b"], true),
        (AutoShutdown::AnySignificant, &["c"], false),
        (AutoShutdown::AllSignificant, &["a"], false),
        (AutoShutdown::AllSignificant, &["b", "c"], false),
        (AutoShutdown::AllSignificant, &["b", "a"], true),
    ] {
        let world = World::new();
        let units = ["a", "b", "c"].map(|key| (key, rules(key, world.units.unit(key))));
        let set = strategy(units.into()).policy(policy(&world)).auto_shutdown(auto);
        let set = Set::start(world, set.keep_open(true));
        // The unit is restarted.
        set.tell("a", Message::Fail);
        set.world.advance(SECOND);
        assert_eq!(set.set.counts().running, 3, "{name} {auto:?}");
        set.call(|set| async move { set.stop("a").await }).unwrap();
        assert_eq!(set.set.counts().running, 2, "{name} {auto:?}");
        set.call(|set| async move { set.start("a").await }).unwrap();
        for key in ends {
            set.tell(key, Message::End);
        }
        assert_eq!(set.set.counts().units == 0, closes, "{name} {auto:?} {ends:?}");
        if closes {
            assert_eq!(set.runs(["a", "b", "c"]), [0; 3]);
        }
        set.close().unwrap();
    }
}

/// OTP: `all_significant` looks at the units that are alive: a unit that ended and was restarted together with others
/// is open again, and a unit that a call has stopped, or is stopping, is not.
#[test]
fn auto_shutdown_looks_at_the_units_that_are_open() {
    let all = |strategy: Strategy| {
        let world = World::new();
        world.units.set("c", Behaviour::StopWhenTold);
        let units = ["a", "b", "c", "d"].map(|key| {
            let unit = world.units.unit(key).significant(key != "d").grace(SECOND * 10);
            (key, if key == "d" { unit.restart(Restart::Permanent) } else { unit })
        });
        let set = strategy(units.into()).policy(policy(&world));
        let set = set.auto_shutdown(AutoShutdown::AllSignificant).keep_open(true);
        Set::start(world, set)
    };
    for (name, strategy) in &STRATEGIES[1..] {
        let set = all(*strategy);
        for key in ["b", "c"] {
            set.world.units.set(key, Behaviour::Serve);
        }
        set.tell("b", Message::End);
        set.tell("a", Message::Fail);
        set.tell("c", Message::End);
        set.world.advance(SECOND);
        assert_eq!(set.runs(["a", "b", "c", "d"]), [1; 4], "{name}");
        for key in ["a", "c"] {
            set.tell(key, Message::End);
        }
        assert_eq!((set.runs(["b", "d"]), set.managed.has_ended()), ([1, 1], false), "{name}");
        set.tell("b", Message::End);
        assert_eq!(set.runs(["a", "b", "c", "d"]), [0; 4], "{name}");
        set.close().unwrap();
    }
    let set = all(STRATEGIES[0].1);
    set.call(|set| async move { set.stop("a").await }).unwrap();
    let called = set.set.clone();
    let stopping = set.world.spawn(async move { called.stop("c").await });
    assert_eq!(set.state("c"), Some(State::Stopping));
    set.tell("b", Message::End);
    assert_eq!((set.runs(["d"]), set.state("d")), ([0], None), "the set closes");
    set.tell("c", Message::End);
    yielded(stopping).unwrap();
    set.close().unwrap();
}

/// A significant temporary unit that fails counts as ended. The set that closes because of it has not failed, so its
/// outer set does not restart it.
#[test]
fn auto_shutdown_in_a_set() {
    let world = World::new();
    let unit = world.units.unit("a").restart(Restart::Temporary).significant(true);
    let inner = Supervisor::one_for_one([("a", unit), ("b", world.units.unit("b"))])
        .auto_shutdown(AutoShutdown::AnySignificant)
        .policy(policy(&world));
    let outer = Supervisor::one_for_one([("inner", inner.runnable())]).policy(policy(&world));
    let set = Set::start(world, outer.keep_open(true));
    set.tell("a", Message::Fail);
    set.world.advance(SECOND);
    assert_eq!((set.runs(["a", "b"]), set.state("inner")), ([0, 0], Some(State::Ended)));
    set.close().unwrap();
}

/// OTP: a supervisor without children keeps running. Here, it does so with `keep_open`.
#[test]
fn keep_open() {
    for keep_open in [true, false] {
        let world = World::new();
        let set = Supervisor::one_for_one([("a", world.units.unit("a"))]).keep_open(keep_open);
        let set = Set::start(world, set);
        set.tell("a", Message::End);
        assert!(set.managed.body_began());
        if keep_open {
            let unit = set.world.units.unit("b");
            set.call(|set| async move { set.add("b", unit).await }).unwrap();
            set.world.settle();
            assert_eq!(set.runs(["a", "b"]), [0, 1]);
            set.close().unwrap();
        } else {
            assert_eq!(set.set.counts().units, 0);
            let called = set.call(|set| async move { set.start("a").await });
            assert!(matches!(called, Err(ManagerError::NotRunning)));
            set.close().unwrap();
        }
    }
}

/// OTP: `brutal_kill`: a grace of zero aborts at once; `infinity`: a maximal grace waits for ever.
#[test]
fn brutal_kill_and_infinity() {
    let world = World::new();
    for key in ["brutal", "infinite", "stops"] {
        world.units.set(key, Behaviour::IgnoreClosing);
    }
    world.units.set("stops", Behaviour::Serve);
    let grace = |key, grace| (key, world.units.unit(key).grace(grace));
    let set = Supervisor::one_for_one([
        grace("infinite", Duration::MAX),
        grace("stops", Duration::MAX),
        grace("brutal", Duration::ZERO),
    ]);
    let set = set.policy(policy(&world));
    let mut set = Set::start(world, set);
    set.happened();
    set.managed.app.close();
    let mut happened = set.happened();
    // The process graph may be faster than the set.
    happened[..2].sort();
    assert_eq!(
        happened,
        [
            "brutal aborted after 0ns",
            "brutal stopping",
            "brutal stopped by force",
            "stops stopping",
            "stops stopped",
            "infinite stopping",
        ]
    );
    set.world.advance(SECOND * 1_000_000);
    assert!(!set.managed.has_ended());
    set.managed.app.abort();
    set.world.settle();
    assert_eq!(set.runs(["infinite"]), [0]);
    assert!(set.managed.has_ended());
}

/// OTP: `brutal_kill` and `infinity` with the system's clock, whose graces are also deadlines of the core.
#[test]
fn brutal_kill_and_infinity_by_the_systems_clock() {
    let ignores = || {
        body(|run| async move {
            run.ready();
            std::future::pending::<()>().await;
        })
    };
    let waits = body(|run| async move {
        run.ready();
        run.closing().await;
    });
    let set = Supervisor::one_for_one([
        ("brutal", Unit::new(ignores()).grace(Duration::ZERO)),
        ("infinite", Unit::new(waits).grace(Duration::MAX)),
        ("short", Unit::new(ignores()).grace(Duration::from_millis(5))),
    ]);
    let mut events = set.events();
    let app = Process::new();
    let (start, _readiness) = Start::under(&app);
    let process = set.runnable().start(start).unwrap();
    while events.recv_blocking().unwrap().key().map(|key| &**key) != Some("short") {}
    app.close();
    assert!(app.closed().wait_timeout(LIMIT).is_some());
    process.outcome().unwrap().unwrap();
    let events: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
    let forced =
        |what: &Happening| matches!(what, Happening::Stopped { error: None, forced: true });
    let forced: Vec<_> = events.iter().filter(|event| forced(&event.what)).collect();
    let keys: Vec<_> = forced.iter().map(|event| &**event.key().unwrap()).collect();
    assert_eq!(keys, ["short", "brutal"], "{events:#?}");
}

/// OTP: `sup_start_fail`, `start_child_fail`: with `start_together`, a unit that cannot start ends the set, after those
/// before it were stopped; without, it is started again. After the start, it makes no difference.
#[test]
fn start_together() {
    for behaviour in [Behaviour::FailToStart, Behaviour::EndUnready, Behaviour::Panic] {
        for together in [true, false] {
            let world = World::new();
            world.units.set("b", behaviour);
            let units = ["a", "b", "c"].map(|key| (key, world.units.unit(key)));
            let set = Supervisor::rest_for_one(units).policy(policy(&world));
            let mut set = Set::start(world, set.start_together(together));
            assert!(!set.managed.body_began());
            assert_eq!(set.starts(["a", "b", "c"]), [1, 1, 0]);
            if together {
                let last = set.happened().pop().unwrap();
                assert_eq!((set.runs(["a"]), &*last), ([0], "a stopped"));
                let error = set.managed.outcome().unwrap_err();
                let cause = cause(&error);
                assert!(matches!(cause, ManagerError::ClosedFor { key, .. } if &**key == "b"));
                continue;
            }
            set.world.units.set("b", Behaviour::Serve);
            set.world.advance(SECOND);
            assert!(set.managed.body_began());
            set.close().unwrap();
        }
    }
    let world = World::new();
    let set = Supervisor::one_for_one([("a", world.units.unit("a"))]).policy(policy(&world));
    let set = Set::start(world, set.start_together(true));
    set.tell("a", Message::Fail);
    set.world.advance(SECOND);
    assert_eq!((set.starts(["a"]), set.runs(["a"])), ([2], [1]));
    set.close().unwrap();
}
