//! The tests that every store of shared units must pass.

mod time;

use std::time::Duration;

use super::table::{
    Claimed, Desired, ManagerId, Ordered, Record, Registration, Session, SharedTable, TableError,
    UnitRow,
};

/// Checks that a store keeps the rules of [`SharedTable`] and [`Session`]. `make` returns a table without units and
/// managers each time.
///
/// # Panics
///
/// If the store breaks a rule.
pub fn run<T: SharedTable>(mut make: impl FnMut() -> T) {
    ended_leases_are_refused(&make());
    claims_are_exclusive(&make());
    claims_choose_units(&make());
    tokens_fence(&make());
    orders_follow_changes(&make());
    failures_quarantine(&make());
    scans_are_in_byte_order(&make());
    time::crashes_quarantine(&make());
    time::changes_wake(&make());
}

fn open(table: &impl SharedTable) -> Box<dyn Session> {
    table.open().expect("a table opens sessions")
}

fn register(session: &mut dyn Session) -> ManagerId {
    let kinds = vec!["a".to_owned()];
    let registration = Registration { name: "test".into(), kinds, ttl: Duration::from_secs(60) };
    session.register(&registration).expect("a manager registers").manager
}

fn put(session: &mut dyn Session, key: &str) -> u64 {
    session.put(key, "a", "1").expect("a unit is put")
}

fn claim(session: &mut dyn Session, manager: ManagerId, max: usize) -> Vec<Claimed> {
    session.claim(manager, max).expect("a manager with a lease claims")
}

fn row(session: &mut dyn Session, key: &str) -> UnitRow {
    session.get(key).expect("get works").expect("the unit exists")
}

fn refused<R>(result: Result<R, TableError>, call: &str) {
    assert!(matches!(result, Err(TableError::Refused)), "{call} must be refused");
}

fn ended_leases_are_refused(table: &impl SharedTable) {
    let mut s = open(table);
    let (first, second) = (register(&mut *s), register(&mut *s));
    assert_ne!(first, second, "ids never repeat");
    s.renew(first).expect("a lease is renewed");
    put(&mut *s, "k");
    let token = claim(&mut *s, first, 1)[0].token;
    s.expire(first).expect("expire works");
    assert_eq!(row(&mut *s, "k").owner, None, "expiry frees units");
    assert_eq!(row(&mut *s, "k").crashes, 0, "forced expiry is no crash");
    refused(s.renew(first), "renew after the end");
    refused(s.share(first), "share after the end");
    refused(s.claim(first, 1), "claim after the end");
    refused(s.orders(first), "orders after the end");
    refused(s.record("k", token, &Record::Ready), "record after the end");
    refused(s.release("k", token), "release after the end");
    s.leave(second).expect("leave works");
    refused(s.renew(second), "renew after leave");
    assert!(s.managers().expect("managers works").is_empty(), "ended managers are not listed");
}

fn claims_are_exclusive(table: &impl SharedTable) {
    let mut s = open(table);
    for number in 0..200 {
        put(&mut *s, &format!("k{number}"));
    }
    let claim_all = || {
        let mut s = open(table);
        let manager = register(&mut *s);
        let mut keys = Vec::new();
        loop {
            let claimed = claim(&mut *s, manager, 5);
            if claimed.is_empty() {
                return keys;
            }
            keys.extend(claimed.into_iter().map(|claimed| claimed.key));
        }
    };
    let mut keys: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(claim_all)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no claim panics")).collect()
    });
    keys.sort();
    keys.dedup_by(|a, b| {
        assert_ne!(a, b, "a unit is claimed once");
        false
    });
    assert_eq!(keys.len(), 200, "each unit is claimed");
}

fn claims_choose_units(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    s.put("other", "b", "").expect("a unit is put");
    put(&mut *s, "stopped");
    s.want_stop("stopped").expect("want_stop works");
    put(&mut *s, "x");
    put(&mut *s, "y");
    assert!(claim(&mut *s, manager, 0).is_empty(), "claim keeps max = 0");
    assert_eq!(claim(&mut *s, manager, 1).len(), 1, "claim keeps max = 1");
    assert_eq!(claim(&mut *s, manager, 9).len(), 1, "claim keeps kinds and desired states");
    let share = s.share(manager).expect("share works");
    assert_eq!((share.units, share.managers, share.owned), (2, 1, 2), "share counts");
}

fn tokens_fence(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    let first = claim(&mut *s, manager, 1)[0].token;
    s.release("k", first).expect("release works");
    let second = claim(&mut *s, manager, 1)[0].token;
    assert!(second > first, "tokens grow");
    let before = row(&mut *s, "k");
    refused(s.record("k", first, &Record::Done), "record with a stale token");
    refused(s.release("k", first), "release with a stale token");
    assert_eq!(row(&mut *s, "k"), before, "a refused call changes nothing");
    s.remove("k").expect("remove works");
    assert_eq!(row(&mut *s, "k").desired, Desired::Remove, "an owned unit is removed later");
    s.release("k", second).expect("release works");
    assert!(s.get("k").expect("get works").is_none(), "release removes the unit");
    put(&mut *s, "k");
    assert!(claim(&mut *s, manager, 1)[0].token > second, "tokens grow across removal");
}

fn orders_follow_changes(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    let generation = put(&mut *s, "k");
    assert_eq!(put(&mut *s, "k"), generation, "the same spec keeps the generation");
    let token = claim(&mut *s, manager, 1)[0].token;
    assert!(s.orders(manager).expect("orders works").is_empty(), "no order without a change");
    let next = s.put("k", "a", "2").expect("put works");
    assert!(next > generation, "a new spec has a new generation");
    let order = s.orders(manager).expect("orders works").remove(0);
    assert!(matches!(order.what, Ordered::Restart { .. }), "a new generation restarts the unit");
    s.record("k", token, &Record::Restarted { generation: next }).expect("record works");
    assert!(s.orders(manager).expect("orders works").is_empty(), "Restarted settles the order");
    s.want_stop("k").expect("want_stop works");
    let order = s.orders(manager).expect("orders works").remove(0);
    assert_eq!(order.what, Ordered::Stop, "a unit that should stop is ordered to");
}

fn failures_quarantine(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    let token = claim(&mut *s, manager, 1)[0].token;
    let failed = Record::Failed { error: "e".into(), limit: 2 };
    s.record("k", token, &failed).expect("record works");
    s.record("k", token, &Record::Steady).expect("record works");
    assert_eq!(row(&mut *s, "k").failures, 0, "a steady unit forgets its failures");
    s.record("k", token, &failed).expect("record works");
    s.record("k", token, &failed).expect("record works");
    assert!(row(&mut *s, "k").is_quarantined, "failures quarantine a unit");
    s.release("k", token).expect("release works");
    assert!(claim(&mut *s, manager, 1).is_empty(), "a quarantined unit is not claimed");
    s.clear_quarantine("k").expect("clear_quarantine works");
    assert_eq!(claim(&mut *s, manager, 1).len(), 1, "a cleared unit is claimed");
}

fn scans_are_in_byte_order(table: &impl SharedTable) {
    let mut s = open(table);
    let mut keys =
        vec!["'".to_owned(), "%".into(), "\"".into(), "é".into(), "Z".into(), "a".into()];
    keys.push("k".repeat(10_000));
    for key in &keys {
        put(&mut *s, key);
    }
    keys.sort();
    let (mut found, mut after) = (Vec::<String>::new(), None);
    while let Some(row) = s.scan(after.as_deref(), 1).expect("scan works").pop() {
        after = Some(row.key.clone());
        found.push(row.key);
    }
    assert_eq!(found, keys, "scan pages in the order of bytes");
}
