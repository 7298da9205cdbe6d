//! Leases last as long as the clock says.

use std::time::Duration;

use procession::{ManualClock, Process};
use procession_runnable::{Start, body, body_thread};
use procession_supervisor::shared::{MemorySharedTable, SharedManager, SharedTable};
use procession_supervisor::{Policy, Unit};

use crate::support::{Log, logged, row, started, wait_for_row};

const TTL: Duration = Duration::from_secs(3600);

#[test]
fn a_lease_ends_by_the_clock_and_the_units_come_back() {
    let (clock, log) = (ManualClock::new(), Log::default());
    let table = MemorySharedTable::with_clock(clock.clone());
    table.open().unwrap().put("a", "unit", "one").unwrap();
    let (of_units, policy) = (log.clone(), Policy::new().clock(clock.clone()));
    let builder = SharedManager::builder(table.clone()).ttl(TTL).policy(policy);
    let builder = builder.poll_every(Duration::from_millis(20));
    let root = started(&builder.build(move |claim| Ok(logged(&of_units, claim))));
    let before = row(&table, "a");
    // As long as no time passes, the lease does not end, although nothing renews it for a long time.
    let rows = table.open().unwrap().managers().unwrap();
    assert_eq!(rows[0].remaining, Some(TTL));
    clock.advance(TTL * 2);
    log.wait("the end and the new start", |entries| {
        entries.iter().filter(|entry| entry.starts).count() == 2
    });
    wait_for_row(&table, "a", |row| row.owner > before.owner && row.token > before.token);
    // Its program has registered again, so the unit has not crashed.
    assert_eq!(row(&table, "a").crashes, 0);
    root.close_blocking().unwrap();
    log.check();
}

#[test]
fn units_close_when_a_third_of_the_lease_is_left() {
    let clock = ManualClock::new();
    let table = MemorySharedTable::with_clock(clock.clone());
    table.open().unwrap().put("a", "unit", "one").unwrap();
    let (told, closing) = std::sync::mpsc::channel();
    let policy = Policy::new().clock(clock.clone());
    let manager = SharedManager::builder(table).ttl(TTL).policy(policy).build(move |claim| {
        let (told, lease) = (told.clone(), claim.lease().clone());
        Ok(Unit::new(body(move |run| {
            let (told, lease) = (told.clone(), lease.clone());
            async move {
                run.ready();
                run.closing().await;
                let _sent = told.send((lease.is_valid(), run.is_aborting()));
            }
        })))
    });
    let root = started(&manager);
    // The lease lasts for a second less than its time to live.
    clock.advance((TTL - Duration::from_secs(1)) * 2 / 3 - Duration::from_secs(1));
    assert!(closing.recv_timeout(Duration::from_millis(300)).is_err());
    clock.advance(Duration::from_secs(2));
    let (is_valid, is_aborting) = closing.recv_timeout(crate::support::LIMIT).unwrap();
    assert!(is_valid && !is_aborting, "the unit has time to stop");
    drop(manager);
    root.close_blocking().unwrap();
}

/// The lease ends while the manager closes and a unit takes its time: the unit is aborted, as at the end of its grace.
#[test]
fn a_lease_that_ends_while_the_manager_closes_is_no_failure() {
    let clock = ManualClock::new();
    let table = MemorySharedTable::with_clock(clock.clone());
    table.open().unwrap().put("a", "unit", "one").unwrap();
    let (told, closing) = std::sync::mpsc::channel();
    let policy = Policy::new().clock(clock.clone()).grace(TTL * 10);
    let manager = SharedManager::builder(table).ttl(TTL).policy(policy).build(move |_| {
        let told = told.clone();
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.closing().wait();
            let _sent = told.send(());
            run.aborting().wait();
        })))
    });
    let root = started(&manager);
    let closed = root.close();
    closing.recv_timeout(crate::support::LIMIT).unwrap();
    clock.advance(TTL);
    let outcome = closed.wait_timeout(crate::support::LIMIT);
    assert!(matches!(outcome, Some(Ok(()))), "{outcome:?}");
}

/// The same if the end of the lease comes first, and the manager is asked to close before its unit has ended.
#[test]
fn a_lease_that_ends_just_before_the_manager_closes_is_no_failure() {
    let clock = ManualClock::new();
    let table = MemorySharedTable::with_clock(clock.clone());
    table.open().unwrap().put("a", "unit", "one").unwrap();
    let app = Process::new();
    let policy = Policy::new().clock(clock.clone()).grace(TTL * 10);
    let above = app.clone();
    let manager = SharedManager::builder(table).ttl(TTL).policy(policy).build(move |_| {
        let above = above.clone();
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.aborting().wait();
            above.close();
        })))
    });
    let (start, readiness) = Start::under(&app);
    let run = manager.runnable().start(start).unwrap();
    futures_lite::future::block_on(readiness).unwrap();
    clock.advance(TTL);
    let outcome = run.closed().wait_timeout(crate::support::LIMIT);
    assert!(matches!(outcome, Some(Ok(()))), "{outcome:?}");
}
