//! Managers get their fair shares of the units.

use std::thread::yield_now;
use std::time::{Duration, Instant};

use procession_supervisor::shared::{ManagerId, Registration, Session, SharedManager, SharedTable};

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
    wait_for_units(&mut *session, owner, 2);
    wait_for_units(&mut *session, owner, 4);
    session.request_release(slow).unwrap();
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
    // Its registration was the first request.
    let end = Instant::now() + LIMIT;
    while session.share(full).unwrap().last_request == joined.get() {
        assert!(Instant::now() < end, "{:?}", session.share(full));
        yield_now();
    }
    for unit in &claimed[2..] {
        session.release(&unit.key, unit.token).unwrap();
    }
    wait_for_units(&mut *session, joined, 2);
    root.close_blocking().unwrap();
    log.check();
}
