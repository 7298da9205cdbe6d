//! Managers give their units away before a deployment.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use procession_runnable::body_thread;
use procession_supervisor::shared::{SharedManager, SharedTable, Units};
use procession_supervisor::{ManagerError, Unit};

use crate::support::{Entry, LIMIT, Log, logged, manager, row, started, table_of, wait_for_row};

/// Hands over on a thread of its own, because a future without a limit could hang the test.
fn hand_over(manager: &SharedManager) -> Result<(), ManagerError> {
    let (manager, (done, result)) = (manager.clone(), mpsc::channel());
    thread::spawn(move || done.send(block_on(manager.hand_over())));
    result.recv_timeout(LIMIT).unwrap()
}

#[test]
fn a_manager_hands_all_units_over_and_claims_none_again() {
    let (table, log) = (table_of(&["a", "b", "c"]), Log::default());
    let old = manager(table.clone(), &log);
    let first = started(&old);
    log.wait("all units", |entries| entries.len() == 3);
    let new = manager(table.clone(), &log);
    let second = started(&new);
    hand_over(&old).unwrap();
    assert_eq!(old.counts().units, 0);
    let all_run = |entries: &[Entry]| entries.iter().filter(|entry| entry.starts).count() >= 6;
    log.wait("all units elsewhere", all_run);
    let rows = table.open().unwrap().managers().unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.is_draining, row.units)).collect();
    assert_eq!(seen, [(true, 0), (false, 3)]);
    // It is done, and may be asked again.
    hand_over(&old).unwrap();
    // It takes units again only when nobody else is there.
    table.open().unwrap().put("d", "unit", "one").unwrap();
    wait_for_row(&table, "d", |row| row.is_ready);
    assert_eq!((old.counts().units, new.counts().units), (0, 4));
    second.close_blocking().unwrap();
    for key in ["a", "b", "c", "d"] {
        wait_for_row(&table, key, |row| row.is_ready && row.owner == Some(rows[0].manager));
    }
    first.close_blocking().unwrap();
    log.check();
    // Another run of the same manager does not hand over.
    let third = started(&old);
    for key in ["a", "b", "c", "d"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    third.close_blocking().unwrap();
    log.check();
}

#[test]
fn a_manager_that_is_alone_keeps_its_units() {
    let (table, log) = (table_of(&["a"]), Log::default());
    // It reads the table now, and not at its next regular time.
    let of_units = log.clone();
    let builder = SharedManager::builder(table.clone()).poll_every(LIMIT * 2);
    let alone = builder.build(move |claim| Ok(logged(&of_units, claim)));
    assert!(matches!(hand_over(&alone), Err(ManagerError::NotRunning)));
    let root = started(&alone);
    assert!(matches!(hand_over(&alone), Err(ManagerError::NoOtherManager)));
    assert!(!table.open().unwrap().managers().unwrap()[0].is_draining);
    // An operator can drain it nevertheless. It goes on until another manager comes.
    let units = Units::new(table.clone());
    let owner = units.managers().wait().unwrap()[0].manager;
    units.hand_over(owner).wait().unwrap();
    // It has the next order carried out under the same token.
    units.put("a", "unit", "two").wait().unwrap();
    log.wait("the new spec", |entries| entries.last().is_some_and(|e| e.starts && e.spec == "two"));
    let row = row(&table, "a");
    assert_eq!((row.owner, row.token.get()), (Some(owner), 1));
    let other = manager(table.clone(), &log);
    let second = started(&other);
    wait_for_row(&table, "a", |row| row.is_ready && row.owner.is_some_and(|now| now != owner));
    second.close_blocking().unwrap();
    root.close_blocking().unwrap();
    log.check();
}

#[test]
fn a_manager_that_loses_its_lease_goes_on_handing_over() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let (old, new) = (manager(table.clone(), &log), manager(table.clone(), &log));
    let (first, second) = (started(&old), started(&new));
    hand_over(&old).unwrap();
    let mut session = table.open().unwrap();
    let draining = session.managers().unwrap().into_iter().find(|row| row.is_draining).unwrap();
    session.expire(draining.manager).unwrap();
    second.close_blocking().unwrap();
    // It has registered again, and is draining again.
    let again = loop {
        let rows = session.managers().unwrap();
        if let Some(row) = rows.into_iter().find(|row| row.manager > draining.manager) {
            break row.manager;
        }
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    };
    let third = started(&manager(table.clone(), &log));
    wait_for_row(&table, "a", |row| row.is_ready && row.owner.is_some_and(|now| now > again));
    wait_for_row(&table, "b", |row| row.is_ready && row.owner.is_some_and(|now| now > again));
    first.close_blocking().unwrap();
    third.close_blocking().unwrap();
    log.check();
}

/// While one unit still stops, the others run elsewhere.
#[test]
fn a_manager_that_stops_gives_its_units_away_one_by_one() {
    let (table, log) = (table_of(&["a", "b", "c", "d"]), Log::default());
    let (of_units, (let_go, gate)) = (log.clone(), mpsc::channel::<()>());
    let gate = Arc::new(Mutex::new(gate));
    let old = SharedManager::builder(table.clone()).build(move |claim| {
        if claim.key() != "a" {
            return Ok(logged(&of_units, claim));
        }
        let gate = gate.clone();
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.closing().wait();
            let _let_go = gate.lock().unwrap().recv();
        })))
    });
    let first = started(&old);
    // It claims no more than its fair share: half of the units, as long as the first manager counts.
    let of_units = log.clone();
    let builder = SharedManager::builder(table.clone()).poll_every(LIMIT);
    let second = started(&builder.build(move |claim| Ok(logged(&of_units, claim))));
    wait_for_row(&table, "d", |row| row.is_ready);
    first.close();
    let owner = row(&table, "a").owner;
    for key in ["b", "c", "d"] {
        wait_for_row(&table, key, |row| row.is_ready && row.owner > owner);
    }
    assert_eq!(row(&table, "a").owner, owner);
    drop(let_go);
    wait_for_row(&table, "a", |row| row.is_ready && row.owner > owner);
    first.close_blocking().unwrap();
    second.close_blocking().unwrap();
    log.check();
}

#[test]
fn the_end_of_the_run_answers_those_who_wait() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let (old, new) = (manager(table.clone(), &log), manager(table.clone(), &log));
    let (first, second) = (started(&old), started(&new));
    // Without room elsewhere, nothing is handed over, so the call is still waiting when the run ends.
    let mut session = table.open().unwrap();
    let old_id = session.managers().unwrap()[0].manager;
    session.drain(old_id).unwrap();
    second.close_blocking().unwrap();
    wait_for_row(&table, "a", |row| row.owner.is_none() || row.owner == Some(old_id));
    let (done, result) = mpsc::channel();
    let waiting = old.clone();
    thread::spawn(move || done.send(block_on(waiting.hand_over())));
    first.close_blocking().unwrap();
    // The answer depends on which came first, but it comes.
    let _answer = result.recv_timeout(LIMIT).unwrap();
    assert!(matches!(hand_over(&old), Err(ManagerError::NotRunning)));
    log.check();
}
