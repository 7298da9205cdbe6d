//! [`SharedManager`] over a table in memory: units run once, move, and come back.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use procession::Process;
use procession_runnable::{Start, body, body_thread};
use procession_supervisor::shared::{
    Claim, Desired, MemorySharedTable, Session, SharedManager, SharedTable, TableError, Token,
};
use procession_supervisor::{Backoff, DoNotRestart, Policy, Rate, Restart, Unit};

use crate::delegate::delegate;

use crate::support::*;

#[test]
fn a_unit_runs_and_is_released_when_the_manager_stops() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let root = started(&lasting_manager(table.clone(), &log));
    assert_eq!(log.starts("a"), 1);
    wait_for_row(&table, "a", |row| row.is_ready);
    root.close_blocking().unwrap();
    let row = row(&table, "a");
    assert_eq!((row.owner, row.token, row.starts), (None, Token::new(1), 1));
    assert_eq!(table.open().unwrap().managers().unwrap(), []);
    log.check();
}

#[test]
fn a_changed_spec_restarts_the_unit_under_its_token_and_operators_stop_and_remove_it() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let root = started(&lasting_manager(table.clone(), &log));
    let mut session = table.open().unwrap();
    session.put("a", "unit", "two").unwrap();
    log.wait("the new spec", |entries| entries.last().is_some_and(|e| e.starts && e.spec == "two"));
    let owner = row(&table, "a").owner.unwrap();
    let end = Instant::now() + LIMIT;
    while !session.orders(owner).unwrap().is_empty() {
        assert!(Instant::now() < end, "the order was carried out");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    assert_eq!(row(&table, "a").token, Token::new(1));
    session.want_stop("a").unwrap();
    wait_for_row(&table, "a", |row| row.owner.is_none());
    assert_eq!(row(&table, "a").desired, Desired::Stop);
    session.want_run("a").unwrap();
    wait_for_row(&table, "a", |row| row.is_ready);
    assert_eq!(row(&table, "a").token, Token::new(2));
    session.remove("a").unwrap();
    let end = Instant::now() + LIMIT;
    while session.get("a").unwrap().is_some() {
        assert!(Instant::now() < end);
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
    root.close_blocking().unwrap();
    log.check();
}

#[test]
fn a_unit_that_ends_is_done_and_one_that_fails_too_often_is_quarantined() {
    let table = table_of(&["ends", "fails", "gives up", "has no description"]);
    let short = Duration::from_millis(1);
    let policy = Policy::new().backoff(Backoff::new(short, short).jitter(false));
    let builder = SharedManager::builder(table.clone()).policy(policy).failure_limit(3);
    let manager = builder.poll_every(Duration::from_millis(20)).build(|claim| match claim.key() {
        "ends" => Ok(Unit::new(body(|run| async move { run.ready() }))),
        "gives up" => {
            let error = || DoNotRestart::new("the password is wrong");
            Ok(Unit::new(body(move |_| async move { Err(error()) })))
        }
        // A text that the store could not keep would hold up the others.
        "fails" => {
            let error = || "no disk ".repeat(1 << 20);
            Ok(Unit::new(body(move |_| async move { Err(error()) })).restart(Restart::Transient))
        }
        _ => Err("what is this?".into()),
    });
    let root = started(&manager);
    wait_for_row(&table, "ends", |row| row.is_done && row.owner.is_none());
    wait_for_row(&table, "fails", |row| row.is_quarantined && row.owner.is_none());
    let error = row(&table, "fails").last_error.unwrap();
    assert!(error.contains("no disk") && error.len() <= 4096, "{} bytes", error.len());
    wait_for_row(&table, "gives up", |row| row.is_quarantined && row.owner.is_none());
    assert_eq!(row(&table, "gives up").failures, 1);
    wait_for_row(&table, "has no description", |row| row.is_quarantined && row.owner.is_none());
    assert!(row(&table, "has no description").failures >= 3);
    root.close_blocking().unwrap();
}

/// Any of the units may be the cause, so the one that failed last is not quarantined.
#[test]
fn units_that_together_fail_too_often_end_their_manager_and_run_elsewhere() {
    let table = table_of(&["a"]);
    let policy = Policy::new()
        .backoff(Backoff::new(Duration::ZERO, Duration::ZERO))
        .total_intensity(Rate::new(1, LIMIT * 10));
    let builder = SharedManager::builder(table.clone()).ttl(LIMIT * 10).policy(policy);
    let manager = builder.build(|_| {
        let fails = body(|run| async move {
            run.ready();
            Err("no disk")
        });
        Ok(Unit::new(fails).restart(Restart::Permanent))
    });
    let root = Process::new();
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    root.on_failure(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let (start, _readiness) = Start::under(&root);
    let process = manager.runnable().start(start).unwrap();
    let outcome = process.closed().wait_timeout(LIMIT).unwrap();
    assert!(outcome.unwrap_err().with_causes().to_string().contains("too often"));
    assert_eq!(failures.load(Ordering::SeqCst), 2, "once for each failure of the unit");
    let row = row(&table, "a");
    assert_eq!((row.is_quarantined, row.owner, row.failures), (false, None, 2));
}

#[test]
fn a_manager_that_is_cut_off_stops_its_units_before_others_claim_them_and_comes_back() {
    let (table, log) = (table_of(&["a", "b"]), Log::default());
    let cut = Cut { table: table.clone(), is_cut: Arc::default() };
    let first = started(&manager(cut.clone(), &log));
    log.wait("both", |entries| entries.len() == 2);
    cut.is_cut.store(true, Ordering::SeqCst);
    let second = started(&manager(table.clone(), &log));
    // Each stops, and starts with the other manager. The log shows that the stop came first.
    log.wait("the move", |entries| entries.iter().filter(|entry| entry.starts).count() >= 4);
    log.check();
    cut.is_cut.store(false, Ordering::SeqCst);
    second.close_blocking().unwrap();
    log.wait("the way back", |entries| {
        let is_up = |key| entries.iter().rfind(|e| e.key == key).is_some_and(|e| e.starts);
        entries.iter().filter(|entry| entry.starts).count() >= 6 && is_up("a") && is_up("b")
    });
    first.close_blocking().unwrap();
    log.check();
}

#[test]
fn a_lease_survives_an_outage_that_is_shorter() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let cut = Cut { table: table.clone(), is_cut: Arc::default() };
    let root = started(&manager(cut.clone(), &log));
    let owner = row(&table, "a").owner.unwrap();
    let remaining = || {
        let rows = table.open().unwrap().managers().unwrap();
        rows.iter().find(|row| row.manager == owner).and_then(|row| row.remaining).unwrap()
    };
    for _ in 0..3 {
        cut.is_cut.store(true, Ordering::SeqCst);
        // A third of the time, so that a renewal has failed.
        while remaining() > Duration::from_millis(1200) {
            yield_now();
        }
        cut.is_cut.store(false, Ordering::SeqCst);
        while remaining() < Duration::from_millis(1800) {
            yield_now();
        }
    }
    assert_eq!(row(&table, "a").token, Token::new(1));
    root.close_blocking().unwrap();
    log.check();
}

#[test]
fn an_operator_ends_a_lease_and_its_units_are_aborted_at_once() {
    let table = table_of(&["a"]);
    let (told, lost) = std::sync::mpsc::channel();
    let manager = SharedManager::builder(table.clone()).ttl(Duration::from_secs(3)).build(
        move |claim: &Claim| {
            let (lease, told) = (claim.lease().clone(), told.clone());
            Ok(Unit::new(body_thread(move |run| {
                run.ready();
                lease.lost().wait();
                run.aborting().wait();
                let _sent = told.send((lease.token(), lease.is_valid()));
            })))
        },
    );
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready);
    let mut session = table.open().unwrap();
    let owner = row(&table, "a").owner.unwrap();
    session.expire(owner).unwrap();
    let (token, is_valid) = lost.recv_timeout(LIMIT).unwrap();
    assert_eq!((token, is_valid), (Token::new(1), false));
    // The manager registers again, under another id, and claims the unit again.
    wait_for_row(&table, "a", |row| row.owner.is_some_and(|next| next > owner) && row.is_ready);
    assert_eq!(row(&table, "a").token, Token::new(2));
    root.abort();
    let _aborted = root.closed().wait();
}

/// A unit that ignores its abort, and whose lease is lost, starts again here only when its old run has ended.
#[test]
fn a_unit_that_does_not_end_runs_at_most_once_in_its_program() {
    let (table, log) = (table_of(&["deaf"]), Log::default());
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (of_units, gate) = (log.clone(), Arc::new(Mutex::new(gate)));
    let policy = Policy::new().grace(Duration::ZERO).abort_grace(Duration::from_millis(20));
    let builder = SharedManager::builder(table.clone()).policy(policy).failure_limit(2);
    let manager = builder.poll_every(Duration::from_millis(20)).build(move |claim| {
        let (log, claim, gate) = (of_units.clone(), claim.clone(), gate.clone());
        Ok(Unit::new(body_thread(move |run| {
            log.add(&claim, true);
            run.ready();
            gate.lock().unwrap().recv().unwrap();
            log.add(&claim, false);
        })))
    });
    let mut events = manager.events();
    let root = started(&manager);
    wait_for_row(&table, "deaf", |row| row.is_ready);
    let mut session = table.open().unwrap();
    session.expire(row(&table, "deaf").owner.unwrap()).unwrap();
    // It is claimed again, and is not started.
    wait_for_row(&table, "deaf", |row| row.owner.is_some() && row.token == Token::new(2));
    while events.recv_blocking().unwrap().kind() != "stuck" {}
    assert_eq!(log.starts("deaf"), 1);
    release.send(()).unwrap();
    wait_for_row(&table, "deaf", |row| row.is_ready);
    assert_eq!((log.starts("deaf"), row(&table, "deaf").failures), (2, 0));
    // It has waited with its claim.
    assert_eq!(row(&table, "deaf").token, Token::new(2));
    release.send(()).unwrap();
    root.close_blocking().unwrap();
    log.check();
}

/// The end of a lease waits for nobody: neither for a subscriber, nor for a waker, nor for a call of the store.
#[test]
fn a_waker_that_blocks_does_not_delay_the_end_of_a_lease() {
    struct Blocks(Mutex<std::sync::mpsc::Receiver<()>>);
    impl std::task::Wake for Blocks {
        fn wake(self: Arc<Self>) {
            let _released = self.0.lock().unwrap().recv();
        }
    }
    let (release, gate) = std::sync::mpsc::channel();
    let waker = std::task::Waker::from(Arc::new(Blocks(Mutex::new(gate))));
    let table = table_of(&["a"]);
    let (told, leases) = std::sync::mpsc::channel();
    let (ended, aborted) = std::sync::mpsc::channel();
    // With this time to live, only the table's thread finds out soon that the lease has ended.
    let manager =
        SharedManager::builder(table.clone()).ttl(Duration::from_secs(600)).build(move |claim| {
            told.send(claim.lease().clone()).unwrap();
            let ended = ended.clone();
            Ok(Unit::new(body_thread(move |run| {
                run.ready();
                run.aborting().wait();
                let _sent = ended.send(());
            })))
        });
    let root = started(&manager);
    let lease = leases.recv_timeout(LIMIT).unwrap();
    let mut lost = Box::pin(lease.lost());
    let polled = lost.as_mut().poll(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    table.open().unwrap().expire(lease.manager()).unwrap();
    aborted.recv_timeout(LIMIT).unwrap();
    // The manager goes on as well.
    wait_for_row(&table, "a", |row| row.token == Token::new(2) && row.is_ready);
    drop(release);
    root.abort();
    let _aborted = root.closed().wait();
}

/// Another manager must not start a unit that has not ended: its lease runs out, instead of being given back.
#[test]
fn a_unit_that_does_not_end_keeps_its_lease_when_its_manager_stops() {
    let table = table_of(&["deaf", "other", "waits for its restart"]);
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let first = Duration::from_secs(600);
    let backoff = Backoff::new(first, first).jitter(false);
    let policy = Policy::new().grace(Duration::ZERO).abort_grace(Duration::from_millis(20));
    let policy = policy.backoff(backoff);
    let manager = SharedManager::builder(table.clone()).policy(policy).build(move |claim| {
        let (key, gate) = (claim.key().to_owned(), gate.clone());
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            match &*key {
                "deaf" => drop(gate.lock().unwrap().recv()),
                "other" => run.closing().wait(),
                _ => return Err("it fails"),
            }
            Ok(())
        })))
    });
    let root = started(&manager);
    for key in ["deaf", "other"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    wait_for_row(&table, "waits for its restart", |row| row.failures == 1);
    root.close();
    // The manager's error, which names the unit, is reported.
    root.closed().wait().unwrap();
    for key in ["other", "waits for its restart"] {
        assert_eq!(row(&table, key).owner, None, "{key}");
    }
    assert!(row(&table, "deaf").owner.is_some());
    assert_eq!(table.open().unwrap().managers().unwrap().len(), 1);
    drop(release);
}

/// Somebody else gives a running unit back: then it is claimed again, and its old run has no right to run any more.
#[test]
fn a_unit_whose_claim_is_over_starts_again_under_the_next_one() {
    let (table, log) = (table_of(&["a"]), Log::default());
    let root = started(&lasting_manager(table.clone(), &log));
    wait_for_row(&table, "a", |row| row.is_ready);
    table.open().unwrap().release("a", Token::new(1)).unwrap();
    log.wait("the next claim", |entries| {
        entries.last().is_some_and(|e| e.starts && e.token == Token::new(2))
    });
    root.close_blocking().unwrap();
    log.check();
}

/// A unit whose row is gone is aborted by the first record that the table refuses.
#[test]
fn a_unit_whose_claim_is_unknown_is_aborted() {
    let table = table_of(&["a"]);
    let (told, aborted) = std::sync::mpsc::channel();
    let policy = Policy::new().steady_after(Duration::from_millis(300));
    let manager = SharedManager::builder(table.clone()).policy(policy).build(move |_| {
        let told = told.clone();
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.aborting().wait();
            let _sent = told.send(());
        })))
    });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.owner.is_some());
    let mut session = table.open().unwrap();
    session.remove("a").unwrap();
    session.release("a", Token::new(1)).unwrap();
    aborted.recv_timeout(LIMIT).unwrap();
    root.close_blocking().unwrap();
}

/// A refused renewal ends the lease at once, even while the manager's other session hangs.
#[test]
fn a_refused_renewal_does_not_wait_for_the_end_of_the_lease() {
    /// The second session hangs from the moment at which the gate is locked.
    #[derive(Clone)]
    struct Hangs(MemorySharedTable, Arc<Mutex<()>>, Arc<AtomicUsize>);
    struct Hanging(Box<dyn Session>, Option<Arc<Mutex<()>>>);
    impl SharedTable for Hangs {
        fn open(&self) -> Result<Box<dyn Session>, TableError> {
            let is_second = self.2.fetch_add(1, Ordering::SeqCst) == 1;
            Ok(Box::new(Hanging(self.0.open()?, is_second.then(|| self.1.clone()))))
        }
    }
    impl Hanging {
        fn inner(&mut self) -> Result<&mut dyn Session, TableError> {
            drop(self.1.as_ref().map(|gate| gate.lock().unwrap()));
            Ok(&mut *self.0)
        }
    }
    delegate!(Hanging);

    let (table, gate) = (table_of(&["a"]), Arc::default());
    let hangs = Hangs(table.clone(), Arc::clone(&gate), Arc::default());
    let (told, aborted) = std::sync::mpsc::channel();
    let ttl = Duration::from_secs(9);
    let manager = SharedManager::builder(hangs).ttl(ttl).build(move |_| {
        let told = told.clone();
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.aborting().wait();
            let _sent = told.send(());
        })))
    });
    let root = started(&manager);
    wait_for_row(&table, "a", |row| row.is_ready);
    let hanging = gate.lock().unwrap();
    let owner = row(&table, "a").owner.unwrap();
    table.open().unwrap().expire(owner).unwrap();
    // The next renewal comes after a third of the time, and the lease would end after eight ninths.
    aborted.recv_timeout(ttl / 2).unwrap();
    drop(hanging);
    root.close_blocking().unwrap();
}

/// Nobody renews the lease of a manager that was closed while it registered.
#[test]
fn a_manager_that_is_closed_while_it_registers_leaves() {
    /// Sessions hang while the gate is locked.
    #[derive(Clone)]
    struct Slow(MemorySharedTable, Arc<Mutex<()>>, std::sync::mpsc::Sender<()>);
    struct SlowSession(Box<dyn Session>, Arc<Mutex<()>>, std::sync::mpsc::Sender<()>);
    impl SharedTable for Slow {
        fn open(&self) -> Result<Box<dyn Session>, TableError> {
            Ok(Box::new(SlowSession(self.0.open()?, self.1.clone(), self.2.clone())))
        }
    }
    impl SlowSession {
        fn inner(&mut self) -> Result<&mut dyn Session, TableError> {
            let _sent = self.2.send(());
            drop(self.1.lock().unwrap());
            Ok(&mut *self.0)
        }
    }
    delegate!(SlowSession);

    let (told, begun) = std::sync::mpsc::channel();
    let (table, gate) = (table_of(&[]), Arc::default());
    let slow = Slow(table.clone(), Arc::clone(&gate), told);
    let hanging = gate.lock().unwrap();
    let manager = SharedManager::builder(slow).ttl(Duration::from_secs(600));
    let manager = manager.build(|_| Err("there are no units".into()));
    let root = Process::new();
    let (start, _readiness) = Start::under(&root);
    manager.runnable().start(start).unwrap();
    begun.recv_timeout(LIMIT).unwrap();
    root.close_blocking().unwrap();
    drop(hanging);
    let mut session = table.open().unwrap();
    // The second call is that which leaves.
    begun.recv_timeout(LIMIT).unwrap();
    let end = Instant::now() + LIMIT;
    while !session.managers().unwrap().is_empty() {
        assert!(Instant::now() < end, "the manager has left");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
}
