//! Managers get their fair shares of the units.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use procession_runnable::body;
use procession_supervisor::shared::{
    ManagerId, MemorySharedTable, Registration, Session, SharedManager, SharedTable, Wanted,
};
use procession_supervisor::{State, Status, Unit};

use crate::support::*;

#[test]
fn two_managers_share_the_units_and_one_takes_over_from_the_other() {
    let keys: Vec<String> = (0..9).map(|n| format!("unit-{n}")).collect();
    let (table, log) =
        (table_of(&keys.iter().map(|key| &**key).collect::<Vec<_>>()), Log::default());
    let (one, two) = (manager(table.clone(), &log), manager(table.clone(), &log));
    let (first, second) = (started(&one), started(&two));
    let all_run = |entries: &[Entry]| {
        let running =
            |key: &String| entries.iter().rfind(|e| e.key == *key).is_some_and(|e| e.starts);
        keys.iter().all(running)
    };
    log.wait("all units", all_run);
    // ⌈9 ÷ 2⌉
    let end = Instant::now() + LIMIT;
    while one.counts().units.max(two.counts().units) > 5 {
        assert!(Instant::now() < end, "{:?} {:?}", one.counts(), two.counts());
        yield_now();
    }
    log.wait("all units", all_run);
    first.close_blocking().unwrap();
    log.wait("all units", all_run);
    second.close_blocking().unwrap();
    log.check();
}

/// Each manager has a fair share, unless others cannot run theirs.
#[test]
fn units_that_others_have_no_room_for_run_nevertheless() {
    let (table, log) = (table_of(&["a", "b", "c", "d", "e", "f"]), Log::default());
    let of_units = log.clone();
    let builder = SharedManager::builder(table.clone()).poll_every(Duration::from_millis(50));
    let small = builder.capacity(1).build(move |claim| Ok(logged(&of_units, claim)));
    let large = manager(table.clone(), &log);
    let (first, second) = (started(&small), started(&large));
    for key in ["a", "b", "c", "d", "e", "f"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    assert_eq!((small.counts().units, large.counts().units), (1, 5));
    first.close_blocking().unwrap();
    second.close_blocking().unwrap();
    log.check();
}

/// Registers a manager that does only what the test does in its name.
fn register(session: &mut dyn Session) -> ManagerId {
    session.register(&Registration::new("by hand", ["unit"], LIMIT * 10)).unwrap().manager
}

/// Waits until a manager owns this many units.
fn wait_for_units(session: &mut dyn Session, manager: ManagerId, count: usize) {
    let end = Instant::now() + LIMIT;
    while session.share(manager).unwrap().owned != count {
        assert!(Instant::now() < end, "{:?}", session.share(manager));
        yield_now();
    }
}

fn lasting_manager_of(table: impl SharedTable, log: &Log, kinds: &[&str]) -> SharedManager {
    let log = log.clone();
    let builder = SharedManager::builder(table).ttl(LIMIT * 10).kinds(kinds.iter().copied());
    builder.poll_every(Duration::from_millis(50)).build(move |claim| Ok(logged(&log, claim)))
}

/// A manager takes back what it has given up for another one that was too slow to claim it, and gives it up again when
/// that one asks.
#[test]
fn a_manager_that_was_too_slow_gets_its_share_when_it_asks_again() {
    let (table, log) = (table_of(&["a", "b", "c", "d"]), Log::default());
    let mut session = table.open().unwrap();
    let first = started(&lasting_manager(table.clone(), &log));
    let owner = session.managers().unwrap()[0].manager;
    wait_for_units(&mut *session, owner, 4);
    let slow = register(&mut *session);
    session.request_release(slow, Wanted::new(2, true)).unwrap();
    wait_for_units(&mut *session, owner, 2);
    wait_for_units(&mut *session, owner, 4);
    // It has had its share, but the other one has claimed it.
    session.request_release(slow, Wanted::new(2, false)).unwrap();
    wait_for_units(&mut *session, owner, 2);
    assert_eq!(session.claim(slow, 9).unwrap().len(), 2);
    first.close_blocking().unwrap();
    log.check();
}

#[test]
fn a_manager_that_lacks_units_asks_for_them() {
    let (table, log) = (table_of(&["a", "b", "c", "d"]), Log::default());
    let mut session = table.open().unwrap();
    let full = register(&mut *session);
    let claimed = session.claim(full, 9).unwrap();
    let manager = lasting_manager(table.clone(), &log);
    let root = started(&manager);
    let joined = session.managers().unwrap()[1].manager;
    let end = Instant::now() + LIMIT;
    let mut asked = 0;
    // Twice, because the other one does not react.
    for _ in 0..2 {
        while session.share(full).unwrap().last_request == asked {
            assert!(Instant::now() < end, "{:?}", session.share(full));
            yield_now();
        }
        let request = session.requests(full, asked).unwrap().remove(0);
        assert_eq!(request.wanted, Wanted::new(2, true));
        asked = request.number;
    }
    for unit in &claimed[2..] {
        session.release(&unit.key, unit.token).unwrap();
    }
    wait_for_units(&mut *session, joined, 2);
    root.close_blocking().unwrap();
    log.check();
}

/// A store that cannot be reached for a moment makes no share unequal for ever.
#[test]
fn a_manager_that_was_away_while_units_came_gets_its_share() {
    let (table, log) = (MemorySharedTable::new(), Log::default());
    let cut = Cut { table: table.clone(), is_cut: Arc::default() };
    let mut session = table.open().unwrap();
    let first = started(&lasting_manager(table.clone(), &log));
    let second = started(&lasting_manager(cut.clone(), &log));
    let managers = session.managers().unwrap();
    cut.is_cut.store(true, Ordering::SeqCst);
    for number in 0..10 {
        session.put(&format!("unit-{number}"), "unit", "one").unwrap();
    }
    wait_for_units(&mut *session, managers[0].manager, 10);
    cut.is_cut.store(false, Ordering::SeqCst);
    wait_for_units(&mut *session, managers[1].manager, 5);
    wait_for_units(&mut *session, managers[0].manager, 5);
    // What the first one had claimed beyond its share, it does not claim of later units.
    for number in 10..20 {
        session.put(&format!("unit-{number}"), "unit", "one").unwrap();
    }
    wait_for_units(&mut *session, managers[0].manager, 10);
    wait_for_units(&mut *session, managers[1].manager, 10);
    first.close_blocking().unwrap();
    second.close_blocking().unwrap();
    log.check();
}

/// The units of a kind are divided among the managers that can run it, and no other unit moves when one joins.
#[test]
fn units_that_a_new_manager_cannot_run_do_not_move() {
    let (table, log) = (MemorySharedTable::new(), Log::default());
    let mut session = table.open().unwrap();
    let keys = |kind: &'static str, count| (0..count).map(move |number| format!("{kind}{number}"));
    for (kind, count) in [("a", 4), ("b", 20)] {
        keys(kind, count).for_each(|key| assert_eq!(session.put(&key, kind, "").unwrap(), 1));
    }
    let of_both = started(&lasting_manager_of(table.clone(), &log, &["a", "b"]));
    let managers = session.managers().unwrap();
    wait_for_units(&mut *session, managers[0].manager, 24);
    let of_a = started(&lasting_manager_of(table.clone(), &log, &["a"]));
    let joined = session.managers().unwrap()[1].manager;
    wait_for_units(&mut *session, joined, 2);
    wait_for_units(&mut *session, managers[0].manager, 22);
    keys("b", 20).for_each(|key| assert_eq!(log.starts(&key), 1, "{key}"));
    of_a.close_blocking().unwrap();
    wait_for_units(&mut *session, managers[0].manager, 24);
    of_both.close_blocking().unwrap();
    log.check();
}

/// Two managers join while the units that were given up for the first one are stopping.
#[test]
fn a_manager_gives_up_no_more_than_its_surplus() {
    let table = MemorySharedTable::new();
    let mut session = table.open().unwrap();
    for number in 0..12 {
        session.put(&format!("unit-{number}"), "unit", "one").unwrap();
    }
    let (stop, stops) = smol::channel::unbounded::<()>();
    let builder = SharedManager::builder(table.clone()).ttl(LIMIT * 10);
    let manager = builder.poll_every(Duration::from_millis(50)).build(move |_| {
        let stops = stops.clone();
        Ok(Unit::new(body(move |run| {
            let stops = stops.clone();
            async move {
                run.ready();
                run.closing().await;
                let _stopped = stops.recv().await;
            }
        })))
    });
    let root = started(&manager);
    let owner = session.managers().unwrap()[0].manager;
    wait_for_units(&mut *session, owner, 12);
    let stopping = |count| {
        let end = Instant::now() + LIMIT;
        while manager.list().iter().filter(|unit| unit.state == State::Stopping).count() != count {
            assert!(Instant::now() < end, "{:?}", manager.list());
            yield_now();
        }
    };
    let new = register(&mut *session);
    session.request_release(new, Wanted::new(2, true)).unwrap();
    stopping(2);
    // It asks again for the same units, and then another manager asks too.
    session.request_release(new, Wanted::new(2, true)).unwrap();
    let newest = register(&mut *session);
    session.request_release(newest, Wanted::new(3, true)).unwrap();
    stopping(5);
    // An order is carried out after everything before it, so these 5 were all.
    let is_running = |unit: &Status<String>| unit.state == State::Running;
    let key = manager.list().into_iter().find(is_running).unwrap().key;
    session.want_stop(&key).unwrap();
    let end = Instant::now() + LIMIT;
    while manager.list().iter().any(|unit| unit.key == key && is_running(unit)) {
        assert!(Instant::now() < end);
        yield_now();
    }
    assert_eq!(manager.counts().running, 12 - 5 - 1);
    drop(stop);
    root.close_blocking().unwrap();
}
