//! Stores that lose answers, factories that fail, and runs that are replaced: no unit is lost or judged by them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use procession::Process;
use procession_runnable::{Start, body, body_thread};
use procession_supervisor::shared::{
    ManagerId, MemorySharedTable, SharedManager, SharedTable, TableError, Write,
};
use procession_supervisor::{Backoff, Policy, Unit};

use crate::delegate::{Answered, Between, Held};
use crate::support::{
    LIMIT, Log, lasting_manager, logged, manager, row, started, table_of, wait_for_row,
};

/// The error of a call whose answer is lost.
fn lost() -> TableError {
    TableError::Unavailable("the answer was lost".into())
}

#[test]
fn units_run_although_the_answer_to_their_claim_was_lost() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let has_lost = Arc::new(AtomicBool::new(false));
    let loses = has_lost.clone();
    let store = Between::new(&table, move |call: &str| {
        let is_first_claim = call == "claim" && !loses.swap(true, Ordering::SeqCst);
        if is_first_claim { Err(lost()) } else { Ok(()) }
    });
    let root = started(&manager(store, &log));
    for key in ["a", "b"] {
        wait_for_row(&table, key, |row| row.is_ready && row.token.get() == 2);
    }
    assert!(has_lost.load(Ordering::SeqCst));
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

fn quick() -> Policy {
    let pause = Duration::from_millis(1);
    Policy::new().backoff(Backoff::new(pause, pause).jitter(false))
}

#[test]
fn a_failure_counts_once_although_the_answer_to_its_record_was_lost() {
    let (table, writes) = (table_of(&["a"]), Arc::new(AtomicUsize::new(0)));
    let counted = writes.clone();
    // The store performs each write, and loses the answer to every second one, beginning with the first.
    let store = Between::new(&table, move |call: &str| {
        let is_lost = call == "write" && counted.fetch_add(1, Ordering::SeqCst) % 2 == 0;
        if is_lost { Err(lost()) } else { Ok(()) }
    });
    let runs = AtomicUsize::new(0);
    let builder = SharedManager::builder(store).policy(quick());
    let manager = builder.poll_every(Duration::from_millis(10)).build(move |_| {
        let fails = runs.fetch_add(1, Ordering::SeqCst) < 3;
        Ok(Unit::new(body(move |run| async move {
            if fails {
                return Err("no disk");
            }
            run.ready();
            run.closing().await;
            Ok(())
        })))
    });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready);
    assert_eq!(row(&table, "a").failures, 3);
    root.close_blocking().unwrap();
    assert!(writes.load(Ordering::SeqCst) >= 2, "answers were lost");
    assert_eq!((row(&table, "a").owner, row(&table, "a").failures), (None, 3));
}

/// While one unit is held, the others become ready and stop, and the manager ends. What happened to the held unit is
/// written when it is released.
#[test]
fn a_unit_that_is_held_delays_no_other() {
    let (table, held) = (table_of(&["held", "a", "b"]), Held::default());
    held.hold("held");
    let has_failed = AtomicBool::new(false);
    let store = Between::new(&table, held.clone());
    let builder = SharedManager::builder(store).policy(quick()).ttl(LIMIT * 10);
    let manager = builder.capacity(3).poll_every(Duration::from_millis(10)).build(move |claim| {
        let fails = claim.key() == "held" && !has_failed.swap(true, Ordering::SeqCst);
        Ok(Unit::new(body(move |run| async move {
            if fails {
                return Err("no disk");
            }
            run.ready();
            run.closing().await;
            Ok(())
        })))
    });
    let root = started(&manager);
    for key in ["a", "b"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    let mut session = table.open().unwrap();
    for _ in 0..3 {
        session.want_stop("a").unwrap();
        wait_for_row(&table, "a", |row| row.owner.is_none());
        session.want_run("a").unwrap();
        wait_for_row(&table, "a", |row| row.is_ready);
    }
    let seen = row(&table, "held");
    assert_eq!((seen.is_ready, seen.failures), (false, 0));
    let owner = seen.owner.unwrap();
    // It stops here, and stays in the table.
    session.want_stop("held").unwrap();
    let end = Instant::now() + LIMIT;
    while manager.counts().units > 2 {
        assert!(Instant::now() < end);
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    // So there is room for another one.
    session.put("c", "unit", "one").unwrap();
    wait_for_row(&table, "c", |row| row.is_ready);
    root.close();
    // Much less than the time to live, which the manager would wait for at most.
    assert!(root.closed().wait_timeout(LIMIT).is_some(), "the manager ends");
    assert_eq!(row(&table, "b").owner, None);
    let seen = row(&table, "held");
    assert_eq!((seen.owner, seen.failures), (Some(owner), 0));
    assert_eq!(session.managers().unwrap().len(), 1, "its lease goes on");
    held.release("held");
    wait_for_row(&table, "held", |row| row.owner.is_none());
    let seen = row(&table, "held");
    assert_eq!((seen.failures, seen.last_error.is_some()), (1, true), "the failure came first");
    while !session.managers().unwrap().is_empty() {
        assert!(Instant::now() < end + LIMIT, "the manager leaves");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
}

/// The store fails to perform calls with writes about one of these units.
struct Rejects(Arc<Mutex<HashSet<String>>>);

impl Answered for Rejects {
    fn cannot_perform(&self, writes: &[Write]) -> Option<TableError> {
        let rejected = self.0.lock().unwrap();
        let is_bad = writes.iter().any(|write| rejected.contains(&write.key));
        is_bad.then(|| TableError::Unusable("a constraint is violated".into()))
    }
}

#[test]
fn a_write_that_the_store_cannot_perform_delays_no_other_unit() {
    let (table, rejected) = (table_of(&["a", "b", "bad"]), Arc::new(Mutex::new(HashSet::new())));
    rejected.lock().unwrap().insert("bad".to_owned());
    let store = Between::new(&table, Rejects(rejected.clone()));
    let (has_failed, log) = (AtomicBool::new(false), Log::default());
    let of_units = log.clone();
    let builder = SharedManager::builder(store).policy(quick()).ttl(LIMIT * 10);
    let manager = builder.poll_every(Duration::from_millis(10)).build(move |claim| {
        // A failure, a new start, and a unit that is ready: three writes in their order.
        if claim.key() == "bad" && !has_failed.swap(true, Ordering::SeqCst) {
            return Err("no disk".into());
        }
        Ok(logged(&of_units, claim))
    });
    let mut events = manager.events();
    let root = started(&manager);
    let mut session = table.open().unwrap();
    for _ in 0..3 {
        for key in ["a", "b"] {
            wait_for_row(&table, key, |row| row.is_ready);
            session.want_stop(key).unwrap();
            wait_for_row(&table, key, |row| row.owner.is_none());
            session.want_run(key).unwrap();
        }
    }
    log.wait("a run of the unit", |entries| entries.iter().any(|entry| entry.key == "bad"));
    let seen = row(&table, "bad");
    assert_eq!((seen.is_ready, seen.failures, seen.owner.is_some()), (false, 0, true));
    // Somebody is told of it.
    let is_told = |event: procession_supervisor::Event<String>| {
        event.kind() == "table_failed" && event.to_string().contains("a constraint is violated")
    };
    while !is_told(events.recv_blocking().unwrap()) {}
    root.close();
    assert!(root.closed().wait_timeout(LIMIT).is_some(), "the manager ends");
    for key in ["a", "b"] {
        assert_eq!(row(&table, key).owner, None);
    }
    // The lease goes on until its last write was performed.
    assert_eq!(session.managers().unwrap().len(), 1);
    rejected.lock().unwrap().clear();
    let end = Instant::now() + LIMIT * 3;
    while !session.managers().unwrap().is_empty() {
        assert!(Instant::now() < end, "the manager leaves");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    let seen = row(&table, "bad");
    assert_eq!((seen.failures, seen.owner), (1, None), "its writes came in their order");
    log.check();
}

/// With the default back-off, whose pauses soon exceed those between two attempts to write about a unit.
#[test]
fn several_writes_that_the_store_cannot_perform_delay_no_other_unit() {
    let bad = ["bad-0", "bad-1", "bad-2"];
    let (table, rejected) = (table_of(&bad), Arc::new(Mutex::new(HashSet::new())));
    rejected.lock().unwrap().extend(bad.map(str::to_owned));
    let log = Log::default();
    let manager = lasting_manager(Between::new(&table, Rejects(rejected.clone())), &log);
    let root = started(&manager);
    let mut session = table.open().unwrap();
    let begun = Instant::now();
    // Until the store was asked again to write about the bad ones, at least twice. Each other unit is new, so the
    // manager must look at the table.
    for number in 0.. {
        let key = format!("good-{number}");
        session.put(&key, "unit", "one").unwrap();
        wait_for_row(&table, &key, |row| row.is_ready);
        session.remove(&key).unwrap();
        while session.get(&key).unwrap().is_some() {
            assert!(begun.elapsed() < LIMIT, "the unit is released");
            session.wait_for_change(Duration::from_millis(10)).unwrap();
        }
        if begun.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    for key in bad {
        log.wait("a run", |entries| entries.iter().any(|entry| entry.key == key));
        assert!(!row(&table, key).is_ready);
    }
    root.close();
    assert!(root.closed().wait_timeout(LIMIT).is_some(), "the manager ends");
    rejected.lock().unwrap().clear();
    let end = Instant::now() + LIMIT * 3;
    while !session.managers().unwrap().is_empty() {
        assert!(Instant::now() < end, "the manager leaves");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    for key in bad {
        assert_eq!(row(&table, key).owner, None);
    }
    log.check();
}

/// A store that panics once, in this call.
fn panicking(table: &MemorySharedTable, in_call: &'static str) -> Between {
    let has_panicked = AtomicBool::new(false);
    Between::new(table, move |call: &str| {
        let panics = call == in_call && !has_panicked.swap(true, Ordering::SeqCst);
        assert!(!panics, "the store has a defect");
        Ok(())
    })
}

#[test]
fn the_message_of_a_store_that_panics_is_an_event_and_the_manager_goes_on() {
    for call in ["renew", "share", "claim", "write"] {
        let (table, log) = (table_of(&["a"]), Log::default());
        let manager = manager(panicking(&table, call), &log);
        let mut events = manager.events();
        let root = Process::new();
        let (start, readiness) = Start::under(&root);
        drop((manager.runnable().start(start).unwrap(), readiness));
        let event = loop {
            let event = events.recv_blocking().unwrap();
            if event.kind() == "table_panicked" {
                break event;
            }
        };
        assert_eq!(event.to_string(), "manager: the table panicked: the store has a defect");
        wait_for_row(&table, "a", |row| row.is_ready && row.owner > Some(ManagerId::new(1)));
        root.close_blocking().unwrap();
    }
    // Without a registration, there is nothing to go on with.
    let store = panicking(&table_of(&[]), "register");
    let error = manager(store, &Log::default()).run_blocking(|_| {}).unwrap_err();
    let text = error.with_causes().to_string();
    assert!(text.contains("it panicked: the store has a defect"), "{text}");
}

/// A store that counts in `reads` how many times orders are read.
pub(crate) fn counting_orders(table: &MemorySharedTable, reads: &Arc<AtomicUsize>) -> Between {
    let reads = reads.clone();
    Between::new(table, move |call: &str| {
        reads.fetch_add(usize::from(call == "orders"), Ordering::SeqCst);
        Ok(())
    })
}

#[test]
fn orders_are_read_again_only_if_there_are_others() {
    let (table, reads) = (table_of(&["slow", "a"]), Arc::new(AtomicUsize::new(0)));
    let (let_go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let builder = SharedManager::builder(counting_orders(&table, &reads));
    // It finds changes because it is woken.
    let manager = builder.poll_every(LIMIT * 10).build(move |claim| {
        let (is_slow, gate) = (claim.key() == "slow", gate.clone());
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.closing().wait();
            if is_slow {
                let _let_go = gate.lock().unwrap().recv();
            }
        })))
    });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready);
    let mut session = table.open().unwrap();
    session.want_stop("slow").unwrap();
    // Each of these is a change, and the last ones are orders for another unit.
    for number in 0..10 {
        session.put(&format!("b{number}"), "unit", "").unwrap();
        wait_for_row(&table, &format!("b{number}"), |row| row.is_ready);
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    session.put("a", "unit", "two").unwrap();
    let owner = row(&table, "a").owner.unwrap();
    let end = Instant::now() + LIMIT;
    while session.orders(owner).unwrap().len() > 1 {
        assert!(Instant::now() < end, "the restart was carried out");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    session.want_stop("a").unwrap();
    wait_for_row(&table, "a", |row| row.owner.is_none());
    drop(let_go);
    wait_for_row(&table, "slow", |row| row.owner.is_none());
    root.close_blocking().unwrap();
}
