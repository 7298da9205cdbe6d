//! Random tables, units and commands, on a clock that the test advances. The tests check the invariants that hold
//! whenever no task is ready, and those that hold after the next scan.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;

use procession_supervisor::{MemoryTable, Rate, Restart, State};

use crate::faulty::{Answers, Faulty};
use crate::world::{Behaviour, Key, Managed, Message, SECOND, World};

const KEYS: [Key; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Step {
    Insert(Key, Restart),
    Remove(Key),
    Behaviour(Key, Behaviour),
    Tell(Key, Message),
    Start(Key),
    Stop(Key),
    Table(Answers),
    Advance(Duration),
    /// The table works again, and enough time passes for a scan and all graces.
    Scan,
    /// The manager closes, and runs again.
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(&KEYS[..]);
    let restart = prop::sample::select(vec![
        Restart::Permanent,
        Restart::Transient,
        Restart::Transient,
        Restart::Temporary,
    ]);
    let behaviour = prop::sample::select(vec![
        Behaviour::Serve,
        Behaviour::Serve,
        Behaviour::FailToStart,
        Behaviour::EndUnready,
        Behaviour::HangInStart,
        Behaviour::HangForEver,
        Behaviour::IgnoreClosing,
    ]);
    let told = prop::sample::select(vec![Message::Fail, Message::Fail, Message::End]);
    let answers = prop::sample::select(vec![
        Answers::Well,
        Answers::FailHalfWay,
        Answers::FailAtOnce,
        Answers::FailEachRow,
        Answers::Never,
    ]);
    let time = prop::sample::select(vec![20, 100, 250, 1_000, 5_000, 11_000, 60_000]);
    prop_oneof![
        4 => (key(), restart).prop_map(|(key, restart)| Step::Insert(key, restart)),
        2 => key().prop_map(Step::Remove),
        3 => (key(), behaviour).prop_map(|(key, behaviour)| Step::Behaviour(key, behaviour)),
        5 => (key(), told).prop_map(|(key, told)| Step::Tell(key, told)),
        2 => key().prop_map(Step::Start),
        2 => key().prop_map(Step::Stop),
        2 => answers.prop_map(Step::Table),
        5 => time.prop_map(|time| Step::Advance(Duration::from_millis(time))),
        2 => Just(Step::Scan),
        1 => Just(Step::Again),
    ]
}

/// The rows and calls so far.
#[derive(Default)]
struct Model {
    rows: HashMap<Key, Restart>,
    /// Units that may have ended for good: one of their rows since the start of the manager allows it, and an ended
    /// unit stays ended when its row changes.
    relaxed: HashSet<Key>,
    stopped: HashSet<Key>,
}

impl Model {
    fn take(&mut self, step: &Step, world: &World, table: &Faulty, managed: Managed) -> Managed {
        match *step {
            Step::Insert(key, restart) => {
                self.rows.insert(key, restart);
                self.relax();
                world.insert_as(key, restart);
            }
            Step::Remove(key) => {
                self.rows.remove(key);
                world.table.remove(&key);
            }
            Step::Behaviour(key, behaviour) => world.units.set(key, behaviour),
            // Only a running unit gets the message, because the next run would get it otherwise.
            Step::Tell(key, told) if world.state(key) == Some(State::Running) => {
                if world.units.behaviour(key) == Behaviour::Serve {
                    world.units.tell(key, told);
                }
            }
            Step::Tell(..) => {}
            Step::Start(key) => {
                // A unit that is still stopping is refused.
                if world.state(key) != Some(State::Stopping) {
                    self.stopped.remove(key);
                }
                world.start_unit(key).detach();
            }
            Step::Stop(key) => {
                world.stop_unit(key).detach();
                self.stopped.insert(key);
            }
            Step::Table(answers) => table.set(answers),
            Step::Advance(time) => world.advance(time),
            Step::Scan => self.scan(world, table),
            Step::Again => {
                end(world, managed);
                self.stopped.clear();
                self.relaxed.clear();
                self.relax();
                return world.start();
            }
        }
        managed
    }

    fn relax(&mut self) {
        let relaxed = self.rows.iter().filter(|(_, restart)| **restart != Restart::Permanent);
        self.relaxed.extend(relaxed.map(|(key, _)| *key));
    }

    /// After a scan and all graces, no unit without a row has a run. The unit of each row is running, waits for its
    /// restart, was given up or stopped, or has ended as its rules allow.
    fn scan(&mut self, world: &World, table: &Faulty) {
        table.set(Answers::Well);
        // A call of the table that hangs is dropped when the manager closes, at the latest.
        if world.manager.list().iter().any(|unit| unit.state == State::Loading)
            || table.is_hanging()
        {
            return;
        }
        for time in [61, 11, 6] {
            world.advance(SECOND * time);
        }
        for key in KEYS {
            let state = world.state(key);
            if !self.rows.contains_key(key) {
                assert_eq!((state, world.units.runs(key)), (None, 0), "`{key}` has no row");
                continue;
            }
            let state = state.unwrap_or_else(|| panic!("`{key}` has a row and no unit"));
            match state {
                State::Running | State::Starting | State::Waiting | State::GivenUp => {}
                State::Ended => assert!(self.relaxed.contains(key), "`{key}` has ended"),
                State::Stopped => assert!(self.stopped.contains(key), "`{key}` was not stopped"),
                state => panic!("`{key}` is {state}"),
            }
        }
    }
}

/// Checks the invariants that hold whenever no task is ready.
fn check(world: &World) {
    let list = world.manager.list();
    let keys: HashSet<Key> = list.iter().map(|unit| unit.key).collect();
    assert_eq!(keys.len(), list.len(), "a key twice");
    for unit in &list {
        let runs = matches!(unit.state, State::Starting | State::Running | State::Stopping);
        assert_eq!(world.units.runs(unit.key), usize::from(runs), "{unit:?}");
        assert_eq!(unit.next_restart.is_some(), unit.state == State::Waiting, "{unit:?}");
    }
    let running: usize = KEYS.into_iter().map(|key| world.units.runs(key)).sum();
    let known: usize = keys.into_iter().map(|key| world.units.runs(key)).sum();
    assert_eq!(running, known, "a run that is not in the list");
}

/// Closes the manager, and checks that nothing runs any more.
fn end(world: &World, managed: Managed) {
    managed.app.close();
    world.advance(SECOND * 11);
    managed.outcome().unwrap();
    assert!(world.manager.list().is_empty());
    assert_eq!(KEYS.into_iter().map(|key| world.units.runs(key)).sum::<usize>(), 0);
}

fn run(steps: &[Step], tells_changes: bool, intensity: Option<usize>) {
    let rows = MemoryTable::new();
    let table = Faulty::new(rows.clone(), tells_changes);
    let world = World::of(rows, table.clone(), |builder, policy| match intensity {
        Some(count) => builder.policy(policy.intensity(Rate::new(count, SECOND * 30))),
        None => builder.policy(policy),
    });
    let mut model = Model::default();
    let mut managed = world.start();
    for step in steps {
        managed = model.take(step, &world, &table, managed);
        world.settle();
        check(&world);
    }
    model.scan(&world, &table);
    end(&world, managed);
}

proptest! {
    #![proptest_config(Config { cases: 1_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_key_has_one_run_and_every_row_a_unit(
        steps in prop::collection::vec(step(), 1..60),
        tells_changes: bool,
        intensity in prop::option::of(0..4_usize),
    ) {
        run(&steps, tells_changes, intensity);
    }
}
