//! A guarded transaction that stays open holds its own unit, and delays nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Transaction};
use procession::Process;
use procession_postgres::PostgresSharedTable;
use procession_runnable::{Start, body_thread};
use procession_supervisor::shared::{
    Claimed, Desired, ManagerId, Record, Session, SharedManager, Token, UnitRow, Write, WriteResult,
};
use procession_supervisor::{Backoff, Policy, Unit};
use procession_test_postgres::server;

use crate::support::{
    LIMIT, LONG, client, let_pass, open, patient_table, put, register, registration,
};

/// A transaction that holds a unit.
fn hold<'a>(
    client: &'a mut Client,
    table: &PostgresSharedTable,
    key: &str,
    token: Token,
) -> Transaction<'a> {
    let mut transaction = client.transaction().unwrap();
    table.guard_claim(key, token, &mut transaction).unwrap();
    transaction
}

/// Claims all units.
fn claim_all(s: &mut dyn Session, manager: ManagerId) -> HashMap<String, Claimed> {
    s.claim(manager, 99).unwrap().into_iter().map(|row| (row.key.clone(), row)).collect()
}

fn rows(s: &mut dyn Session) -> HashMap<String, UnitRow> {
    s.scan(None, 99).unwrap().into_iter().map(|row| (row.key.clone(), row)).collect()
}

/// Repeats `found` until it returns something.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn only_the_writes_about_a_unit_that_is_held_are_not_possible_now() {
    use WriteResult::{Done, NotNow, Refused};
    let Some(url) = server() else { return };
    let (table, _) = patient_table(url);
    let mut s = open(&table);
    for key in ["free", "held"] {
        put(&mut *s, key);
    }
    let manager = register(&mut *s);
    let claimed = claim_all(&mut *s, manager);
    let token = |key: &str| claimed[key].token;
    let write = |key: &str, record| Write::record(key, token(key), record);
    let writes = [
        write("held", Record::Ready),
        write("free", Record::Ready),
        Write::record("held", Token::new(0), Record::Ready),
        Write::release("held", token("held")),
        Write::release("free", token("free")),
        Write::release("unknown", token("held")),
    ];
    let mut client = client(url);
    let guarded = hold(&mut client, &table, "held", token("held"));
    let begun = Instant::now();
    assert_eq!(s.write(&writes).unwrap(), [NotNow, Done, Refused, NotNow, Done, Refused]);
    assert!(s.record("held", token("held"), &Record::Ready).is_err());
    assert!(begun.elapsed() < LIMIT, "it does not wait: {:?}", begun.elapsed());
    let seen = rows(&mut *s);
    assert_eq!((seen["free"].owner, seen["free"].is_ready), (None, false));
    assert_eq!((seen["held"].owner, seen["held"].is_ready), (Some(manager), false));
    guarded.commit().unwrap();
    assert_eq!(s.write(&writes[3..4]).unwrap(), [Done]);
    assert_eq!(s.get("held").unwrap().unwrap().owner, None);
}

/// If the claim is over, another attempt is refused as well, whoever holds the unit.
#[test]
fn writes_of_an_old_claim_are_refused_even_if_the_unit_is_held() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    let mut s = open(&table);
    put(&mut *s, "k");
    let manager = register(&mut *s);
    let token = claim_all(&mut *s, manager)["k"].token;
    let mut client = client(url);
    for is_released in [false, true] {
        if is_released {
            s.release("k", token).unwrap();
        }
        let mut holding = client.transaction().unwrap();
        let lock = format!("select from {schema}.units where key = 'k' for update");
        holding.execute(&lock, &[]).unwrap();
        let expected = if is_released { WriteResult::Refused } else { WriteResult::NotNow };
        assert_eq!(s.write(&[Write::release("k", token)]).unwrap(), [expected]);
        holding.rollback().unwrap();
    }
    let ended = register(&mut *s);
    let token = claim_all(&mut *s, ended)["k"].token;
    let guarded = hold(&mut client, &table, "k", token);
    s.expire(ended).unwrap();
    assert_eq!(s.get("k").unwrap().unwrap().owner, Some(ended), "it is not free yet");
    assert_eq!(s.write(&[Write::release("k", token)]).unwrap(), [WriteResult::Refused]);
    assert!(table.guard_claim("k", token, &mut self::client(url).transaction().unwrap()).is_err());
    guarded.rollback().unwrap();
}

/// A lock would make claims and other writes pass over the unit. PostgreSQL shows the last lock of a row in `xmax`.
#[test]
fn a_write_of_an_old_claim_locks_nothing() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    let mut s = open(&table);
    put(&mut *s, "k");
    let manager = register(&mut *s);
    let old = claim_all(&mut *s, manager)["k"].token;
    s.release("k", old).unwrap();
    let token = claim_all(&mut *s, manager)["k"].token;
    let last_lock = || -> String {
        let sql = format!("select xmax::text from {schema}.units");
        client(url).query_one(&sql, &[]).unwrap().get(0)
    };
    let before = last_lock();
    let late = [Write::record("k", old, Record::Ready), Write::release("k", old)];
    assert_eq!(s.write(&late).unwrap(), [WriteResult::Refused; 2]);
    assert_eq!(last_lock(), before);
    // A repetition changes nothing, but locks the row.
    let ready = [Write::record("k", token, Record::Ready).numbered(1)];
    assert_eq!(s.write(&ready).unwrap(), [WriteResult::Done]);
    let before = last_lock();
    assert_eq!(s.write(&ready).unwrap(), [WriteResult::Done]);
    assert_ne!(last_lock(), before);
}

/// Lets a manager claim all units, hold `held`, and die. Then it calls `while_held`, ends the transaction, and calls
/// `expire_dead` until no unit has an owner.
fn die_while_held(
    url: &str,
    (table, schema): &(PostgresSharedTable, String),
    held: &str,
    mut while_held: impl FnMut(&mut dyn Session, ManagerId),
) -> HashMap<String, UnitRow> {
    let mut s = open(table);
    let manager = register(&mut *s);
    let claimed = claim_all(&mut *s, manager);
    let mut client = client(url);
    let guarded = hold(&mut client, table, held, claimed[held].token);
    let_pass(url, schema, manager);
    assert_eq!(s.expire_dead(9).unwrap(), [manager]);
    let seen = rows(&mut *s);
    for key in claimed.keys() {
        let owner = (key == held).then_some(manager);
        assert_eq!(seen[key].owner, owner, "{key} is free unless somebody holds it");
    }
    assert_eq!(s.expire_dead(9).unwrap(), [], "each is returned once");
    while_held(&mut *s, manager);
    guarded.commit().unwrap();
    until("the last unit must become free", || {
        assert_eq!(s.expire_dead(9).unwrap(), [], "each is returned once");
        rows(&mut *s).values().all(|row| row.owner.is_none()).then_some(())
    });
    rows(&mut *s)
}

#[test]
fn the_other_units_of_a_dead_manager_move_and_each_crash_counts_once() {
    let Some(url) = server() else { return };
    let of_test = patient_table(url);
    let (table, schema) = &of_test;
    let mut s = open(table);
    for key in ["held", "k", "other"] {
        put(&mut *s, key);
    }
    let crashes =
        |rows: &HashMap<String, UnitRow>| ["held", "k", "other"].map(|key| rows[key].crashes);
    // Nobody is on probation: all have crashed.
    let seen = die_while_held(url, &of_test, "held", |s, _| {
        let other = register(s);
        assert!(s.share(other).unwrap().has_dead, "a unit is not free yet");
    });
    assert_eq!(crashes(&seen), [1, 1, 1]);
    // The unit that is held is on probation: it alone is to blame, although it is judged last.
    let set = format!("update {schema}.units set crashes = case key when 'held' then 2 else 0 end");
    client(url).batch_execute(&set).unwrap();
    assert_eq!(crashes(&die_while_held(url, &of_test, "held", |_, _| {})), [3, 0, 0]);
    // Another one is on probation, and is judged first. The one that is held is not to blame.
    let set = format!("update {schema}.units set crashes = case key when 'k' then 2 else 0 end");
    client(url).batch_execute(&set).unwrap();
    assert_eq!(crashes(&die_while_held(url, &of_test, "held", |_, _| {})), [0, 3, 0]);
    // The program lives on: neither has crashed.
    let set = format!("update {schema}.units set crashes = 0");
    client(url).batch_execute(&set).unwrap();
    let seen = die_while_held(url, &of_test, "held", |s, manager| {
        let again = registration(&["b"], LONG).after(Some(manager));
        s.register(&again).unwrap();
    });
    assert_eq!(crashes(&seen), [0, 0, 0]);
}

/// The end that an operator forces, and a manager that leaves, are no crash, whenever the unit becomes free.
#[test]
fn the_end_of_a_lease_that_is_no_crash_remains_none() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    let mut s = open(&table);
    for key in ["held", "k", "removed"] {
        put(&mut *s, key);
    }
    let manager = register(&mut *s);
    let claimed = claim_all(&mut *s, manager);
    s.remove("removed").unwrap();
    let mut client = client(url);
    let guarded = hold(&mut client, &table, "held", claimed["held"].token);
    s.leave(manager).unwrap();
    assert_eq!(s.managers().unwrap(), []);
    assert!(s.get("removed").unwrap().is_none());
    let (seen, none) = (rows(&mut *s), None);
    assert_eq!((seen["held"].owner, seen["k"].owner), (Some(manager), none));
    // Those who find that the unit is still held do not wake the others, or all would look again and again.
    let changes = |url| -> i64 {
        let sql = format!("select last_value from {schema}.changes");
        self::client(url).query_one(&sql, &[]).unwrap().get(0)
    };
    let before = changes(url);
    assert_eq!(s.expire_dead(1).unwrap(), []);
    assert_eq!(changes(url), before);
    for refused in [s.renew(manager), s.drain(manager), s.claim(manager, 1).map(drop)] {
        assert!(refused.is_err());
    }
    guarded.commit().unwrap();
    assert_eq!(s.expire_dead(1).unwrap(), []);
    let row = s.get("held").unwrap().unwrap();
    assert_eq!((row.owner, row.crashes, row.is_quarantined), (None, 0, false));
    let managers = format!("select from {schema}.managers");
    assert!(self::client(url).query(&managers, &[]).unwrap().is_empty(), "it is forgotten");
}

/// A new timeline ends the lease of the unit that is held as well.
#[test]
fn a_new_timeline_does_not_wait_for_a_unit_that_is_held() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    let mut s = open(&table);
    for key in ["held", "k"] {
        put(&mut *s, key);
    }
    let manager = register(&mut *s);
    let claimed = claim_all(&mut *s, manager);
    let mut client = client(url);
    let guarded = hold(&mut client, &table, "held", claimed["held"].token);
    let move_on = format!("update {schema}.meta set timeline = timeline + 1");
    self::client(url).batch_execute(&move_on).unwrap();
    let begun = Instant::now();
    assert!(s.share(manager).is_err());
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let seen = rows(&mut *s);
    assert_eq!((seen["held"].owner, seen["k"].owner), (Some(manager), None));
    guarded.commit().unwrap();
    let other = register(&mut *s);
    assert_eq!(s.expire_dead(1).unwrap(), []);
    let again = claim_all(&mut *s, other);
    assert!(again["held"].token.get() > 1 << 40, "a higher epoch");
    assert_eq!(s.get("held").unwrap().unwrap().crashes, 0);
}

/// A registration takes crashes back, and does not wait for a unit that another manager's transaction holds.
#[test]
fn a_registration_does_not_wait_for_a_unit_that_is_held() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    let mut s = open(&table);
    for key in ["held", "k"] {
        put(&mut *s, key);
    }
    let dead = register(&mut *s);
    s.claim(dead, 9).unwrap();
    let_pass(url, &schema, dead);
    assert_eq!(s.expire_dead(9).unwrap(), [dead]);
    let manager = register(&mut *s);
    let claimed = claim_all(&mut *s, manager);
    let mut client = client(url);
    let guarded = hold(&mut client, &table, "held", claimed["held"].token);
    let again = registration(&["b"], LONG).after(Some(dead));
    let begun = Instant::now();
    s.register(&again).unwrap();
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let seen = rows(&mut *s);
    assert_eq!((seen["held"].crashes, seen["k"].crashes), (1, 0));
    guarded.commit().unwrap();
    s.register(&again).unwrap();
    assert_eq!(s.get("held").unwrap().unwrap().crashes, 0);
}

/// Programs put the same units each time they start.
#[test]
fn a_put_that_changes_nothing_writes_nothing_and_does_not_wait() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    let mut s = open(&table);
    put(&mut *s, "held");
    let manager = register(&mut *s);
    let token = claim_all(&mut *s, manager)["held"].token;
    let seen = || -> (i64, String) {
        let sql =
            format!("select last_value, units.xmin::text from {schema}.changes, {schema}.units");
        let row = client(url).query_one(&sql, &[]).unwrap();
        (row.get(0), row.get(1))
    };
    let before = seen();
    let mut client = client(url);
    let guarded = hold(&mut client, &table, "held", token);
    let begun = Instant::now();
    assert_eq!(s.put("held", "a", "1").unwrap(), 1);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    guarded.rollback().unwrap();
    assert_eq!(seen(), before);
    assert_eq!(s.put("held", "a", "2").unwrap(), 2);
    assert_ne!(seen(), before);
    s.remove("held").unwrap();
    s.put("held", "a", "2").unwrap();
    assert_eq!(s.get("held").unwrap().unwrap().desired, Desired::Run, "it cancels a removal");
}

/// If a transaction holds it for a moment only, its crash is taken back as well.
#[test]
fn a_registration_waits_for_a_moment() {
    let Some(url) = server() else { return };
    let (table, schema) = patient_table(url);
    put(&mut *open(&table), "k");
    let mut longest = Duration::MAX;
    // On a slow machine, the moment may be too long.
    for attempt in 0..50 {
        let crashed = format!("update {schema}.units set crashes = 1, crashed_with = 1000");
        client(url).batch_execute(&crashed).unwrap();
        let (mut client, again) =
            (client(url), registration(&["b"], LONG).after(Some(ManagerId::new(1000))));
        let mut holding = client.transaction().unwrap();
        let lock = format!("select from {schema}.units for update");
        holding.execute(&lock, &[]).unwrap();
        let begun = Instant::now();
        thread::scope(|scope| {
            let registers = scope.spawn(|| open(&table).register(&again).unwrap());
            let mut admin = self::client(url);
            until("the registration waits", || {
                let sql = "select from pg_stat_activity where wait_event_type = 'Lock' \
                    and position($1 in query) > 0 and position('crashed_with' in query) > 0";
                let waiting = !admin.query(sql, &[&schema]).unwrap().is_empty();
                (waiting || registers.is_finished()).then_some(())
            });
            holding.commit().unwrap();
            longest = begun.elapsed();
        });
        if longest < Duration::from_millis(200) || attempt == 49 {
            break;
        }
    }
    if longest < Duration::from_millis(200) {
        assert_eq!(open(&table).get("k").unwrap().unwrap().crashes, 0);
    }
}

/// A manager whose unit is held goes on with all others, and can be closed. What happened to the unit meanwhile is
/// written in its order when the transaction has ended.
#[test]
fn a_manager_whose_unit_is_held_goes_on_and_ends() {
    let Some(url) = server() else { return };
    let (table, _) = patient_table(url);
    let mut s = open(&table);
    s.put("held", "unit", "1").unwrap();
    let (tell, told) = mpsc::channel();
    let (fail, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let pause = Duration::from_millis(1);
    let backoff = Backoff::new(pause, pause).jitter(false);
    let policy = Policy::new().steady_after(LONG).backoff(backoff);
    let manager = SharedManager::builder(table.clone()).policy(policy).build(move |claim| {
        let (tell, lease, gate) = (tell.clone(), claim.lease().clone(), gate.clone());
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            if lease.key() == "held" {
                tell.send(lease.clone()).unwrap();
                // Only the first run is told to fail.
                if gate.lock().unwrap().recv().is_ok() {
                    return Err("it fails");
                }
            }
            run.closing().wait();
            Ok(())
        })))
    });
    let root = Process::new();
    let (start, readiness) = Start::under(&root);
    drop(manager.runnable().start(start).unwrap());
    drop(readiness);
    let lease = told.recv_timeout(LIMIT).unwrap();
    let is_ready = |key: &str| {
        until(key, || open(&table).get(key).unwrap().filter(|row| row.is_ready).map(drop));
    };
    is_ready("held");
    let mut client = client(url);
    let guarded = hold(&mut client, &table, "held", lease.token());
    // It fails and is restarted: these records are not possible now.
    fail.send(()).unwrap();
    drop(fail);
    told.recv_timeout(LIMIT).unwrap();
    // Other units become ready, stop, and are released, several times.
    for _ in 0..2 {
        s.put("other", "unit", "1").unwrap();
        s.want_run("other").unwrap();
        is_ready("other");
        s.want_stop("other").unwrap();
        until("the other unit stops", || {
            s.get("other").unwrap().filter(|row| row.owner.is_none()).map(drop)
        });
    }
    let begun = Instant::now();
    root.close();
    assert!(root.closed().wait_timeout(LIMIT).is_some());
    assert!(begun.elapsed() < LIMIT, "it has waited {:?}", begun.elapsed());
    let held = s.get("held").unwrap().unwrap();
    assert_eq!((held.owner, held.failures), (Some(lease.manager()), 0));
    guarded.commit().unwrap();
    // The lease lasts until its writes were performed.
    let row = until("the unit that was held becomes free", || {
        s.get("held").unwrap().filter(|row| row.owner.is_none())
    });
    // A release that came first would have been the end of the claim, and the failure would have been refused.
    assert_eq!((row.failures, row.crashes, row.token), (1, 0, lease.token()));
    until("the manager leaves", || s.managers().unwrap().is_empty().then_some(()));
}
