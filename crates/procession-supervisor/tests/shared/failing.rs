//! Stores that lose answers, factories that fail, and runs that are replaced: no unit is lost or judged by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession_runnable::body;
use procession_supervisor::shared::{
    MemorySharedTable, Session, SharedManager, SharedTable, TableError,
};
use procession_supervisor::{Backoff, Policy, Unit};

use crate::delegate::{Answered, delegate};
use crate::support::{LIMIT, Log, logged, manager, row, started, table_of, wait_for_row};

/// A store that loses its first answer to a claim.
#[derive(Clone)]
struct Loses {
    table: MemorySharedTable,
    has_lost: Arc<AtomicBool>,
}

struct LosesSession(Box<dyn Session>, Arc<AtomicBool>);

impl SharedTable for Loses {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        Ok(Box::new(LosesSession(self.table.open()?, self.has_lost.clone())))
    }
}

impl LosesSession {
    fn inner(&mut self) -> Result<&mut dyn Session, TableError> {
        Ok(&mut *self.0)
    }
}

impl Answered for LosesSession {
    fn answered(&mut self, call: &str) -> Result<(), TableError> {
        if call == "claim" && !self.1.swap(true, Ordering::SeqCst) {
            return Err(TableError::Unavailable("the answer was lost".into()));
        }
        Ok(())
    }
}
delegate!(LosesSession, answered);

#[test]
fn units_run_although_the_answer_to_their_claim_was_lost() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let loses = Loses { table: table.clone(), has_lost: Arc::default() };
    let root = started(&manager(loses.clone(), &log));
    for key in ["a", "b"] {
        wait_for_row(&table, key, |row| row.is_ready && row.token.get() == 2);
    }
    assert!(loses.has_lost.load(Ordering::SeqCst));
    root.close_blocking().unwrap();
    log.check();
}

#[test]
fn a_factory_that_fails_for_a_moment_quarantines_nothing() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let (calls, of_units) = (Arc::new(AtomicUsize::new(0)), log.clone());
    let counted = calls.clone();
    let backoff = Backoff::new(LIMIT, LIMIT).jitter(false);
    let builder = SharedManager::builder(table.clone()).policy(Policy::new().backoff(backoff));
    let manager =
        builder.failure_limit(3).poll_every(Duration::from_millis(10)).build(move |claim| {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Err("the configuration server is restarting".into()),
                _ => Ok(logged(&of_units, claim)),
            }
        });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.failures == 1);
    // Other changes are no reason to try again before the pause is over.
    let mut session = table.open().unwrap();
    for number in 0..10 {
        session.put(&format!("{number}"), "another kind", "").unwrap();
        session.wait_for_change(Duration::from_millis(20)).unwrap();
    }
    let waiting = row(&table, "a");
    assert_eq!((waiting.failures, waiting.is_quarantined), (1, false));
    assert!(waiting.owner.is_some(), "its claim is kept");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    root.close_blocking().unwrap();
    assert_eq!(row(&table, "a").owner, None);
}

#[test]
fn a_run_that_was_replaced_makes_its_successor_neither_ready_nor_steady() {
    let table = table_of(&["a"]);
    let policy = Policy::new().steady_after(Duration::from_millis(300));
    let builder = SharedManager::builder(table.clone()).policy(policy);
    let manager = builder.poll_every(Duration::from_millis(10)).build(|claim| {
        let is_first = claim.spec() == "one";
        Ok(Unit::new(body(move |run| async move {
            if is_first {
                run.ready();
            }
            run.closing().await;
        })))
    });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready && !row.is_steady);
    let mut session = table.open().unwrap();
    let generation = session.put("a", "unit", "two").unwrap();
    let owner = row(&table, "a").owner.unwrap();
    let end = Instant::now() + LIMIT;
    while !session.orders(owner).unwrap().is_empty() {
        assert!(Instant::now() < end, "the order was carried out");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    // Until another unit has become steady, which was ready later than the run that was replaced.
    session.put("b", "unit", "one").unwrap();
    wait_for_row(&table, "b", |row| row.is_steady);
    let replaced = row(&table, "a");
    assert_eq!(
        (replaced.generation, replaced.is_ready, replaced.is_steady),
        (generation, false, false)
    );
    root.abort();
    let _aborted = root.closed().wait();
}
