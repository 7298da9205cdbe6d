//! Whether and when units restart: rules, pauses, intensity, rate.

use std::fmt::{Debug, Display};
use std::time::Duration;

use procession::Reason;
use procession_supervisor::{
    Events, GiveUp, Happening, Key, ManagerError, Policy, Rate, Restart, State, Supervisor,
};

use crate::peers::cause;
use crate::world::{Behaviour, Managed, Message, PLAIN, SECOND, World, in_words, yielded};

#[test]
fn restart_rules() {
    for (restart, after_failure, after_end) in [
        (Restart::Permanent, true, true),
        (Restart::Transient, true, false),
        (Restart::Temporary, false, false),
    ] {
        let world = World::new();
        world.insert_as("a", restart);
        let managed = world.start();
        for (told, again) in [
            (Message::Fail, after_failure),
            (Message::Panic, after_failure),
            (Message::End, after_end),
        ] {
            if world.state("a") == Some(State::Ended) {
                yielded(world.start_unit("a")).unwrap();
            }
            let starts = world.units.starts("a");
            world.units.tell("a", told);
            world.settle();
            assert_eq!(world.units.runs("a"), 0);
            let state = if again { State::Waiting } else { State::Ended };
            assert_eq!(world.state("a"), Some(state), "{restart:?} {told:?}");
            world.advance(SECOND * 60);
            assert_eq!(world.units.starts("a"), starts + usize::from(again));
        }
        managed.close(&world).unwrap();
    }
}

/// An end before readiness counts as a failure, and so does a panic.
#[test]
fn failures_before_readiness() {
    for (behaviour, error) in [
        (Behaviour::EndUnready, "failed: process `a` ended before it was ready"),
        (Behaviour::FailToStart, "failed: cannot start"),
        (Behaviour::Panic, "panicked: at start"),
    ] {
        let mut world = World::with(|builder, policy| builder.policy(policy.backoff(PLAIN)));
        world.insert(["a"]);
        world.units.set("a", behaviour);
        let managed = world.start();
        assert_eq!(
            world.happened(),
            [
                "a started".to_owned(),
                format!("a failed: process `a` {error}"),
                "a restarting in 100ms (1)".to_owned(),
            ]
        );
        let list = world.manager.list();
        let last_error = list[0].last_error.as_ref().unwrap();
        assert!(last_error.with_causes().to_string().ends_with(error), "{last_error}");
        assert!(matches!(last_error, ManagerError::Failed(_)));
        assert_eq!((list[0].state, list[0].restarts), (State::Waiting, 1));
        assert!(list[0].next_restart.is_some());
        managed.close(&world).unwrap();
    }
}

/// The pauses double. After a steady run, they begin from the first again.
#[test]
fn pauses() {
    let mut world = World::with(|builder, policy| {
        builder.policy(policy.backoff(PLAIN).steady_after(SECOND * 10))
    });
    world.insert(["a"]);
    let managed = world.start();
    for pause in [100, 200, 400, 800] {
        world.units.tell("a", Message::Fail);
        world.settle();
        let pause = Duration::from_millis(pause);
        let starts = world.units.starts("a");
        world.advance(pause - Duration::from_millis(1));
        assert_eq!(world.units.starts("a"), starts);
        world.advance(Duration::from_millis(1));
        assert_eq!(world.units.starts("a"), starts + 1, "{:?}", world.happened());
    }
    world.happened();
    world.advance(SECOND * 10);
    world.units.tell("a", Message::Fail);
    let happened = world.happened();
    assert_eq!(happened.last().unwrap(), "a restarting in 100ms (5)");
    managed.close(&world).unwrap();
}

/// A unit that restarts too often is given up, but no other unit is. A call starts it again.
#[test]
fn intensity_is_counted_for_each_unit() {
    let mut world = World::with(|builder, policy| {
        builder.policy(policy.backoff(PLAIN).intensity(Rate::new(3, SECOND * 60)))
    });
    world.insert(["a", "b"]);
    let managed = world.start();
    for _ in 0..3 {
        for key in ["a", "b"] {
            world.units.tell(key, Message::Fail);
        }
        world.advance(SECOND);
    }
    // The restarts of `b` leave the period in time; those of `a` are too many.
    world.units.tell("a", Message::Fail);
    world.settle();
    assert_eq!(world.state("a"), Some(State::GivenUp));
    assert_eq!(world.happened().last().unwrap(), "a given up");
    world.advance(SECOND * 60);
    world.units.tell("b", Message::Fail);
    world.advance(SECOND);
    assert_eq!(world.state("b"), Some(State::Running));
    assert_eq!((world.units.runs("a"), world.state("a")), (0, Some(State::GivenUp)));
    yielded(world.start_unit("a")).unwrap();
    world.units.tell("a", Message::Fail);
    world.settle();
    assert_eq!(world.state("a"), Some(State::Waiting));
    managed.close(&world).unwrap();
}

/// A call that starts a waiting unit ends its pause.
#[test]
fn a_call_ends_a_pause() {
    let mut world = World::with(|builder, policy| builder.policy(policy.backoff(PLAIN)));
    world.insert(["a"]);
    let managed = world.start();
    world.units.tell("a", Message::Fail);
    world.settle();
    yielded(world.start_unit("a")).unwrap();
    world.advance(SECOND);
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (2, 1));
    assert_eq!(world.happened().last().unwrap(), "a ready");
    managed.close(&world).unwrap();
}

/// A start by a call resets the pauses and the intensity of a unit.
#[test]
fn a_call_forgives() {
    let mut world = World::with(|builder, policy| {
        builder.policy(policy.backoff(PLAIN).intensity(Rate::new(2, SECOND * 60)))
    });
    world.insert(["a"]);
    let managed = world.start();
    for _ in 0..3 {
        world.units.tell("a", Message::Fail);
        world.advance(SECOND);
    }
    assert_eq!(world.state("a"), Some(State::GivenUp));
    yielded(world.start_unit("a")).unwrap();
    world.units.tell("a", Message::Fail);
    assert_eq!(world.happened().last().unwrap(), "a restarting in 100ms (3)");
    managed.close(&world).unwrap();
}

/// A rate without a count or a period does not block restarts.
#[test]
fn a_restart_rate_of_zero() {
    for rate in [Rate::new(0, Duration::ZERO), Rate::new(0, SECOND), Rate::new(1, Duration::ZERO)] {
        let world =
            World::with(|builder, policy| builder.policy(policy.backoff(PLAIN)).restart_rate(rate));
        world.insert(["a", "b"]);
        let managed = world.start();
        world.units.tell("a", Message::Fail);
        world.units.tell("b", Message::Fail);
        world.advance(SECOND);
        world.advance(SECOND);
        assert_eq!((world.units.runs("a"), world.units.runs("b")), (1, 1), "{rate:?}");
        managed.close(&world).unwrap();
    }
}

/// Whatever `world` runs has two units, and closes at the second restart.
fn closes_at_the_second_restart<K: Key + Debug + Display>(
    world: &World,
    managed: Managed,
    mut events: Events<K>,
) {
    world.units.tell("a", Message::Fail);
    world.advance(SECOND);
    assert_eq!(world.units.starts("a"), 2);
    world.units.tell("b", Message::Fail);
    world.settle();
    let happened = std::iter::from_fn(|| events.try_recv()).map(|event| in_words(&event));
    let happened: Vec<String> = happened.filter(|what| what.starts_with("b ")).collect();
    let failed = "b failed: process `b` failed: broken";
    assert_eq!(happened, ["b started", "b ready", failed, "b given up"]);
    let error = managed.outcome().unwrap_err();
    assert!(
        matches!(cause(&error), ManagerError::GaveUp { key, source: Some(_) } if &**key == "b"),
        "{error:?}"
    );
}

/// A restart that the intensity of all units together refuses is announced to nobody: readers are told that the unit is
/// given up, as the outcome says.
#[test]
fn a_refused_restart_is_not_announced() {
    let limit = |policy: Policy| policy.backoff(PLAIN).total_intensity(Rate::new(1, SECOND * 10));
    let world = World::with(|builder, policy| builder.policy(limit(policy)));
    world.insert(["a", "b"]);
    let events = world.manager.events();
    closes_at_the_second_restart(&world, world.start(), events);

    let world = World::new();
    let set = Supervisor::one_for_one(["a", "b"].map(|key| (key, world.units.unit(key))));
    let set = set.policy(limit(Policy::new().clock(world.clock.clone())));
    let events = set.events();
    closes_at_the_second_restart(&world, world.run(set.runnable()), events);
}

/// The failures of the old row do not count for the new one.
#[test]
fn a_changed_row_of_a_unit_that_was_given_up_begins_anew() {
    let world = World::with(|builder, policy| {
        builder.policy(policy.backoff(PLAIN).intensity(Rate::new(1, SECOND * 1000)))
    });
    world.insert(["a"]);
    let managed = world.start();
    for row in 0..3 {
        world.units.tell("a", Message::Fail);
        world.advance(SECOND);
        assert_eq!(world.state("a"), Some(State::Running), "row {row}");
        world.units.tell("a", Message::Fail);
        world.settle();
        assert_eq!(world.state("a"), Some(State::GivenUp), "row {row}");
        world.insert(["a"]);
        world.settle();
        assert_eq!(world.state("a"), Some(State::Running), "row {row}");
    }
    managed.close(&world).unwrap();
}

/// With `GiveUp::Manager`, the manager closes when it gives up a unit: its body closes, and its outcome names the unit
/// and the error.
#[test]
fn giving_up_can_close_the_manager() {
    let world = World::with(|builder, policy| {
        let policy = policy.intensity(Rate::new(0, SECOND));
        builder.policy(policy).give_up(GiveUp::Manager).name("workers")
    });
    world.insert(["a", "b"]);
    let managed = world.start();
    world.units.tell("a", Message::Fail);
    world.settle();
    assert!(managed.has_ended());
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 0));
    let error = managed.outcome().unwrap_err();
    assert_eq!(
        error.with_causes().to_string(),
        "process `workers` failed: unit `a` was restarted too often: process `a` failed: broken"
    );
    let procession::Error::Failed(failed) = error else { panic!() };
    assert!(matches!(failed.get().downcast_ref(), Some(ManagerError::GaveUp { .. })));
}

/// Many units that failed together do not restart in one burst.
#[test]
fn restarts_are_paced() {
    const KEYS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let world = World::with(|builder, policy| {
        builder.policy(policy.backoff(PLAIN)).restart_rate(Rate::new(3, SECOND))
    });
    world.insert(KEYS);
    let managed = world.start();
    KEYS.into_iter().for_each(|key| world.units.tell(key, Message::Fail));
    world.advance(PLAIN.first);
    let running = || KEYS.into_iter().map(|key| world.units.runs(key)).sum::<usize>();
    assert_eq!(running(), 3);
    for expected in [6, 9, 10] {
        world.advance(SECOND);
        assert_eq!(running(), expected);
    }
    managed.close(&world).unwrap();
}

/// A unit that deletes its row before it fails is not restarted.
#[test]
fn a_unit_that_removes_its_row_ends_for_good() {
    let mut world = World::new();
    world.insert(["a"]);
    let managed = world.start();
    world.units.tell("a", Message::Fail);
    // Its row is gone before the manager sees the failure.
    world.table.remove(&"a");
    world.advance(SECOND * 100);
    assert_eq!(world.state("a"), None);
    assert_eq!(world.units.starts("a"), 1);
    let happened = world.happened();
    let ends = ["a gone", "a stopped: process `a` failed: broken", "a stopped"];
    assert!(ends.contains(&&**happened.last().unwrap()), "{happened:?}");
    managed.close(&world).unwrap();
}

/// A slow reader is given the number of events that it has missed.
#[test]
fn a_slow_reader_is_given_the_number_of_missed_events() {
    let mut world = World::with(|builder, policy| builder.policy(policy).event_capacity(4));
    world.insert(["a", "b", "c", "d"]);
    let managed = world.start();
    let happened = world.happened();
    assert_eq!(happened.len(), 5);
    assert_eq!(happened[0], "missed 4");
    managed.close(&world).unwrap();
    drop(world.manager);
    let rest = std::iter::from_fn(|| smol::block_on(world.events.recv()));
    let next = rest.fuse().next().unwrap();
    assert!(matches!(next.what, Happening::Missed { count: 4 }), "{next}");
}

/// The hooks of processes above the manager see the failures of its units.
#[test]
fn hooks_see_failures_of_units() {
    let world = World::new();
    world.insert(["a"]);
    let managed = world.start();
    let process = world.manager.get(&"a").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    managed.app.on_failure(move |p, _| tell.lock().unwrap().send(p.label()).unwrap());
    world.units.tell("a", Message::Fail);
    world.settle();
    assert_eq!(told.try_recv(), Ok(process.label()));
    assert_eq!(process.reason(), Some(Reason::BodyFailed));
    managed.close(&world).unwrap();
}
