//! What a manager shows of its units.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use procession::Process;
use procession_runnable::{Start, body};
use procession_supervisor::{HasUnits, Manager, MemoryTable, Restart, State, Supervisor, Unit};

use crate::world::{Behaviour, LIMIT, Message, World};

#[test]
fn units_that_need_attention_come_first() {
    let world = World::new();
    world.insert(["a", "b", "c", "d"]);
    world.insert_as("over", Restart::Temporary);
    world.units.set("c", Behaviour::HangInStart);
    let managed = world.start();
    world.units.tell("b", Message::Fail);
    world.units.tell("over", Message::End);
    world.settle();
    let overview = world.manager.overview(10);
    let states: Vec<(String, State)> =
        overview.units.iter().map(|unit| (unit.key.to_string(), unit.state)).collect();
    let expected = [
        ("b", State::Waiting),
        ("c", State::Starting),
        ("a", State::Running),
        ("d", State::Running),
        ("over", State::Ended),
    ];
    assert_eq!(states, expected.map(|(key, state)| (key.to_owned(), state)));
    let failed = &overview.units[0];
    assert_eq!((failed.restarts, failed.token), (1, None));
    assert!(failed.restarts_in().is_some() && failed.last_error.is_some());
    assert_eq!((overview.counts.units, overview.counts.running), (5, 2));
    assert_eq!(overview.owner, None);
    // Only some.
    let first = world.manager.overview(2);
    assert_eq!((first.units.len(), first.counts.units), (2, 5));
    assert!(first.units[0].state == State::Waiting && first.units[1].state == State::Starting);
    assert!(world.manager.overview(0).units.is_empty());
    managed.close(&world).unwrap();
    assert!(world.manager.overview(10).units.is_empty());
}

/// More units than are looked at under one lock, and keys whose `Display` calls the manager.
#[test]
fn names_are_made_without_a_lock() {
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Key(u32);
    static MANAGER: std::sync::OnceLock<Manager<Key>> = std::sync::OnceLock::new();
    static NAMED: AtomicUsize = AtomicUsize::new(0);
    impl fmt::Display for Key {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // A deadlock, if the units were locked.
            if let Some(manager) = MANAGER.get() {
                assert!(manager.counts().units > 0);
                NAMED.fetch_add(1, Ordering::Relaxed);
            }
            write!(f, "unit {}", self.0)
        }
    }
    let table = MemoryTable::new();
    for key in 0..1_000 {
        let unit = body(|run| async move {
            run.ready();
            run.closing().await;
        });
        table.insert(Key(key), Unit::new(unit));
    }
    let manager = Manager::new(table);
    let app = Process::new();
    let (start, readiness) = Start::under(&app);
    let managed = manager.runnable().start(start).unwrap();
    smol::block_on(readiness).unwrap();
    assert!(MANAGER.set(manager.clone()).is_ok());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(manager.overview(600)).unwrap());
    let overview = receiver.recv_timeout(LIMIT).expect("no deadlock");
    assert_eq!((overview.units.len(), overview.counts.units), (600, 1_000));
    assert_eq!(NAMED.load(Ordering::Relaxed), 600);
    drop(managed);
    app.close_blocking().unwrap();
}

#[test]
fn a_set_has_an_overview() {
    let unit = || {
        body(|run| async move {
            run.ready();
            run.closing().await;
        })
    };
    let set = Supervisor::one_for_all([("two", unit()), ("one", unit())]).name("workers");
    let shown: Arc<dyn HasUnits> = Arc::new(set.clone());
    let app = Process::new();
    let (start, readiness) = Start::under(&app);
    let run = set.runnable().start(start).unwrap();
    smol::block_on(readiness).unwrap();
    let overview = shown.overview(10);
    assert_eq!((&*overview.name, overview.counts.running), ("workers", 2));
    assert_eq!(&*overview.units[0].key, "one");
    drop(run);
    app.close_blocking().unwrap();
}
