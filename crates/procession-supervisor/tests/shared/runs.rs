//! Two things at once: runs of one manager, a surplus unit with an order, and calls that hand over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, zip};
use procession::Process;
use procession_runnable::{Start, body, body_thread, run_in};
use procession_supervisor::shared::{SharedManager, SharedTable, Token};
use procession_supervisor::{Backoff, Policy, Rate, Supervisor, Unit};

use crate::failing::counting_orders;
use crate::support::{LIMIT, Log, lasting_manager, row, started, table_of, wait_for_row};

#[test]
fn two_runs_of_one_manager_take_turns() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let manager = lasting_manager(table.clone(), &log);
    let first = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready);
    let owner = row(&table, "a").owner;
    let second = Process::new();
    let (start, readiness) = Start::under(&second);
    drop(manager.runnable().start(start).unwrap());
    // The first run goes on, and nobody else registers.
    let mut session = table.open().unwrap();
    for key in ["b", "c", "d"] {
        session.put(key, "unit", "one").unwrap();
        wait_for_row(&table, key, |row| row.is_ready && row.owner == owner);
    }
    assert_eq!(session.managers().unwrap().len(), 1);
    assert_eq!(row(&table, "a").token, Token::new(1));
    first.close_blocking().unwrap();
    block_on(readiness).unwrap();
    wait_for_row(&table, "a", |row| row.is_ready && row.owner > owner);
    second.close_blocking().unwrap();
    assert_eq!(session.managers().unwrap(), []);
    log.check();
}

/// A unit that stops because another manager should run it gets a new spec: it starts there, and not here again.
#[test]
fn a_surplus_unit_with_a_new_spec_starts_elsewhere() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let (reads, (tell, stopping)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel());
    let (let_go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let builder = SharedManager::builder(counting_orders(&table, &reads)).ttl(LIMIT * 10);
    // It leaves what it has released to the other one for twice as long.
    let old = builder.poll_every(Duration::from_secs(3)).build(move |claim| {
        let (tell, gate, key) = (tell.clone(), gate.clone(), claim.key().to_owned());
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.closing().wait();
            let _sent = tell.send(key.clone());
            let _let_go = gate.lock().unwrap().recv();
        })))
    });
    let first = started(&old);
    for key in ["a", "b"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    let second = started(&lasting_manager(table.clone(), &log));
    let key = stopping.recv_timeout(LIMIT).unwrap();
    let before = row(&table, &key);
    let mut session = table.open().unwrap();
    session.put(&key, "unit", "two").unwrap();
    // The order is read at once, and a second time when it still stands after a while.
    let end = Instant::now() + LIMIT;
    while reads.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < end, "the order is read");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    drop(let_go);
    wait_for_row(&table, &key, |row| row.is_ready && row.owner > before.owner);
    log.wait("the new spec", |entries| entries.last().is_some_and(|entry| entry.spec == "two"));
    assert_eq!(row(&table, &key).token, Token::new(2), "it was released as it was");
    first.close_blocking().unwrap();
    second.close_blocking().unwrap();
}

/// The failures of an old spec do not count against a new one.
#[test]
fn a_new_spec_forgives_earlier_restarts() {
    let table = table_of(&["a"]);
    let pause = Duration::from_millis(1);
    let backoff = Backoff::new(pause, pause).jitter(false);
    let policy = Policy::new().backoff(backoff).intensity(Rate::new(1, LIMIT * 100));
    let failed = Arc::new(Mutex::new(Vec::new()));
    let builder = SharedManager::builder(table.clone()).policy(policy).ttl(LIMIT * 10);
    let manager = builder.poll_every(Duration::from_millis(10)).build(move |claim| {
        let (spec, failed) = (claim.spec().to_owned(), failed.clone());
        Ok(Unit::new(body(move |run| {
            let (spec, failed) = (spec.clone(), failed.clone());
            async move {
                // The first run of each spec fails, which is the only failure that is permitted.
                if !failed.lock().unwrap().contains(&spec) {
                    failed.lock().unwrap().push(spec);
                    return Err("it is the first run");
                }
                run.ready();
                run.closing().await;
                Ok(())
            }
        })))
    });
    let root = started(&manager);
    let mut session = table.open().unwrap();
    for (failures, spec) in [(1, "one"), (1, "two"), (1, "three")] {
        session.put("a", "unit", spec).unwrap();
        wait_for_row(&table, "a", |row| {
            assert!(!row.is_quarantined, "{row:?}");
            row.is_ready && row.spec == spec && row.failures == failures
        });
    }
    assert_eq!(row(&table, "a").token, Token::new(1));
    root.close_blocking().unwrap();
}

#[test]
fn two_calls_that_hand_over_are_both_answered() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let (old, new) = (lasting_manager(table.clone(), &log), lasting_manager(table.clone(), &log));
    let (first, second) = (started(&old), started(&new));
    let (done, results) = mpsc::channel();
    let asked = old.clone();
    std::thread::spawn(move || done.send(block_on(zip(asked.hand_over(), asked.hand_over()))));
    let (one, other) = results.recv_timeout(LIMIT).unwrap();
    one.and(other).unwrap();
    assert_eq!(old.counts().units, 0);
    for key in ["a", "b"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    first.close_blocking().unwrap();
    second.close_blocking().unwrap();
    log.check();
}

/// A manager runs again while a unit of its last run is stuck. The lease of that run goes on, so no other manager runs the
/// unit.
#[test]
fn a_manager_that_runs_again_keeps_the_lease_of_a_stuck_unit() {
    let table = table_of(&["stuck"]);
    let (let_go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let (tell, started_units) = mpsc::channel();
    let policy = Policy::new().grace(Duration::ZERO).abort_grace(Duration::ZERO);
    let builder = SharedManager::builder(table.clone()).ttl(LIMIT * 10).policy(policy);
    let manager = builder.build(move |_| {
        let (tell, gate) = (tell.clone(), gate.clone());
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            let _sent = tell.send(());
            let _let_go = gate.lock().unwrap().recv();
        })))
    });
    let first = started(&manager);
    started_units.recv_timeout(LIMIT).unwrap();
    first.close();
    assert!(first.closed().wait_timeout(LIMIT).is_some());
    let owner = row(&table, "stuck").owner;
    assert!(owner.is_some());
    let second = started(&manager);
    let log = Log::default();
    let other = started(&lasting_manager(table.clone(), &log));
    // Both can claim units by now.
    table.open().unwrap().put("new", "unit", "one").unwrap();
    wait_for_row(&table, "new", |row| row.owner.is_some());
    assert_eq!((row(&table, "stuck").owner, log.starts("stuck")), (owner, 0));
    drop(let_go);
    for root in [second, other] {
        root.close();
        assert!(root.closed().wait_timeout(LIMIT).is_some());
    }
}

/// A unit that has ended well is recorded as done at once. If it has left a stuck unit of a nested set behind, its claim
/// is held until that has ended.
#[test]
fn a_claim_is_held_until_everything_below_has_ended() {
    let table = table_of(&["a"]);
    let (let_go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let short = Policy::new().grace(Duration::ZERO).abort_grace(Duration::ZERO);
    let manager = SharedManager::builder(table.clone()).ttl(LIMIT * 10).build(move |_| {
        let gate = gate.clone();
        let thread = body_thread(move |run| {
            run.ready();
            let _let_go = gate.lock().unwrap().recv();
        });
        let set = Supervisor::one_for_one([("thread", thread)]).policy(short.clone()).runnable();
        Ok(Unit::new(body(move |run| {
            let set = set.clone();
            async move {
                run.ready();
                // The error of the set is ignored.
                let _ended = run_in(&run, &set, |_| async {}).await;
            }
        })))
    });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_done);
    let end = Instant::now() + LIMIT;
    while manager.counts().stuck == 0 {
        assert!(Instant::now() < end, "the unit is stuck");
        table.open().unwrap().wait_for_change(Duration::from_millis(10)).unwrap();
    }
    assert!(row(&table, "a").owner.is_some());
    drop(let_go);
    wait_for_row(&table, "a", |row| row.owner.is_none() && row.is_done);
    assert_eq!(row(&table, "a").starts, 1);
    root.close_blocking().unwrap();
}
