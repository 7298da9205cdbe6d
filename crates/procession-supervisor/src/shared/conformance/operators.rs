//! The calls of operators, and reading the table.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Call, LIMIT, claim, open, put, register, register_for, row};
use crate::shared::table::{Desired, Record, Session, SharedTable, TableError, Wanted, Write};

pub(super) fn put_has_generations(table: &impl SharedTable) {
    let mut s = open(table);
    let first = put(&mut *s, "k");
    let row_of_k = row(&mut *s, "k");
    assert_eq!((&*row_of_k.kind, &*row_of_k.spec), ("a", "1"), "the row has what was put");
    assert_eq!((row_of_k.generation, row_of_k.desired), (first, Desired::Run), "a unit should run");
    assert_eq!((row_of_k.owner, row_of_k.starts), (None, 0), "a new unit is free");
    assert_eq!(put(&mut *s, "k"), first, "the same spec keeps the generation");
    let second = s.put("k", "a", "2").expect("put works");
    assert!(second > first, "a new spec has a new generation");
    assert_eq!(row(&mut *s, "k").generation, second, "the row shows it");
    assert_eq!(row(&mut *s, "k").spec, "2", "the row has the new spec");
    assert!(s.put("k", "b", "2").expect("put works") > second, "so does a new kind");
    s.want_stop("k").expect("want_stop works");
    s.put("k", "a", "4").expect("put works");
    assert_eq!(row(&mut *s, "k").desired, Desired::Stop, "a stopped unit remains stopped");
    let odd = "'; -- \"$1\" ?1 %_\\ \u{1F600}\n\t";
    s.put(odd, "a", odd).expect("put works");
    assert_eq!(row(&mut *s, odd).spec, odd, "text is kept as it is");
}

pub(super) fn unknown_units_are_not_found(table: &impl SharedTable) {
    let mut s = open(table);
    put(&mut *s, "k");
    let before = row(&mut *s, "k");
    assert!(s.get("x").expect("get works").is_none(), "an unknown unit has no row");
    for (call, result) in [
        ("want_run", s.want_run("x")),
        ("want_stop", s.want_stop("x")),
        ("remove", s.remove("x")),
        ("clear_quarantine", s.clear_quarantine("x")),
    ] {
        let is_found = !matches!(&result, Err(TableError::NotFound { key }) if key == "x");
        assert!(!is_found, "{call} of an unknown unit");
    }
    assert!(s.get("x").expect("get works").is_none(), "none of them makes one");
    assert_eq!(row(&mut *s, "k"), before, "none of them changes another one");
}

pub(super) fn operators_decide_what_runs(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    s.want_stop("k").expect("want_stop works");
    assert_eq!(row(&mut *s, "k").desired, Desired::Stop, "the row shows it");
    assert_eq!(claim(&mut *s, manager, 1), [], "a unit that should stop is not claimed");
    s.want_run("k").expect("want_run works");
    let token = claim(&mut *s, manager, 1)[0].token;
    let before = row(&mut *s, "k");
    s.want_stop("k").expect("want_stop works");
    s.remove("k").expect("remove works");
    s.want_run("k").expect("want_run works");
    assert_eq!(row(&mut *s, "k"), before, "operators change neither the owner nor the token");
    s.remove("k").expect("remove works");
    put(&mut *s, "k");
    assert_eq!(row(&mut *s, "k").desired, Desired::Run, "a put cancels a removal");
    s.release("k", token).expect("release works");
    s.remove("k").expect("remove works");
    assert!(s.get("k").expect("get works").is_none(), "a free unit is removed at once");
}

pub(super) fn calls_change_only_their_unit(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    for key in ["k", "ready", "removed"] {
        put(&mut *s, key);
    }
    let claimed = claim(&mut *s, manager, 9);
    let tokens: HashMap<_, _> = claimed.into_iter().map(|row| (row.key, row.token)).collect();
    let failed = || Record::Failed { error: "e".into(), limit: 1 };
    s.record("removed", tokens["removed"], &failed()).expect("record works");
    s.record("ready", tokens["ready"], &Record::Ready).expect("record works");
    s.remove("removed").expect("remove works");
    let others = |s: &mut dyn Session| ["ready", "removed"].map(|key| row(s, key));
    let before = others(&mut *s);
    let record = |s: &mut dyn Session, record| {
        let write = Write::record("k", tokens["k"], record).numbered(9);
        s.write(&[write]).map(drop)
    };
    let put_again = |s: &mut dyn Session| s.put("k", "a", "1").map(drop);
    let put_another = |s: &mut dyn Session| s.put("k", "a", "2").map(drop);
    let restarted =
        |s: &mut dyn Session| s.record("k", tokens["k"], &Record::Restarted { generation: 2 });
    let calls: [Call<'_, Result<(), TableError>>; 15] = [
        ("want_stop", &|s| s.want_stop("k")),
        ("want_run", &|s| s.want_run("k")),
        ("remove of an owned unit", &|s| s.remove("k")),
        ("a put that cancels a removal", &put_again),
        ("the record of a failure", &|s| s.record("k", tokens["k"], &failed())),
        ("clear_quarantine", &|s| s.clear_quarantine("k")),
        ("a put of another spec", &put_another),
        ("the record of a new start", &restarted),
        ("the record of a unit that is ready", &|s| record(s, Record::Ready)),
        ("the record of a steady unit", &|s| s.record("k", tokens["k"], &Record::Steady)),
        ("the record of an end", &|s| s.record("k", tokens["k"], &Record::Done)),
        ("another remove of an owned unit", &|s| s.remove("k")),
        ("a release that removes the unit", &|s| s.release("k", tokens["k"])),
        ("a put of a new unit", &put_again),
        ("remove of a free unit", &|s| s.remove("k")),
    ];
    for (call, perform) in calls {
        perform(&mut *s).unwrap_or_else(|error| panic!("{call} works: {error}"));
        assert_eq!(others(&mut *s), before, "{call} changes no other unit");
    }
    let write = Write::record("ready", tokens["ready"], failed()).numbered(1);
    s.write(&[write]).expect("write works");
    assert_eq!(row(&mut *s, "ready").failures, 1, "each claim has its own numbers");
}

pub(super) fn scans_are_in_byte_order(table: &impl SharedTable) {
    let mut s = open(table);
    let mut keys = ["'", "%", "\"", "\u{e9}", "Z", "a", "ab", "A", "\u{ffff}", "\u{10000}"]
        .map(str::to_owned)
        .to_vec();
    keys.push("k".repeat(1000));
    for key in &keys {
        put(&mut *s, key);
    }
    keys.sort();
    let all = s.scan(None, 1000).expect("scan works");
    let all: Vec<String> = all.into_iter().map(|row| row.key).collect();
    assert_eq!(all, keys, "a scan is in the order of bytes");
    for (position, key) in keys.iter().enumerate() {
        let next = s.scan(Some(key), 2).expect("scan works");
        let next: Vec<String> = next.into_iter().map(|row| row.key).collect();
        let end = keys.len().min(position + 3);
        assert_eq!(next, keys[position + 1..end], "a scan continues after a key");
    }
    assert_eq!(s.scan(Some("aa"), 1).expect("scan works")[0].key, "ab", "the key may be unknown");
    assert_eq!(s.scan(None, 0).expect("scan works"), [], "a scan keeps a limit of zero");
    let first = s.scan(None, 1).expect("scan works").remove(0);
    assert_eq!(first, row(&mut *s, &keys[0]), "a scan and get agree");
}

pub(super) fn managers_are_listed(table: &impl SharedTable) {
    let mut s = open(table);
    assert_eq!(s.managers().expect("managers works"), [], "a new table has none");
    let ttl = Duration::from_secs(600);
    let first = register_for(&mut *s, &["b", "a", "b"], ttl);
    let second = register(&mut *s);
    put(&mut *s, "k");
    claim(&mut *s, first.manager, 1);
    let rows = s.managers().expect("managers works");
    let ids: Vec<_> = rows.iter().map(|row| row.manager).collect();
    assert_eq!(ids, [first.manager, second], "managers are in the order of their ids");
    assert_eq!(
        (&*rows[0].name, rows[0].units, rows[1].units),
        ("test", 1, 0),
        "their names and units"
    );
    assert_eq!(rows[0].kinds, ["a", "b"], "their kinds are sorted");
    let remaining = rows[0].remaining;
    assert_eq!(remaining.is_some(), first.ttl.is_some(), "they say when the lease ends");
    assert!(remaining.is_none_or(|left| left <= ttl && left > ttl / 2), "in about the ttl");
}

pub(super) fn changes_wake(table: &impl SharedTable) {
    let (mut s, mut other) = (open(table), open(table));
    let manager = register(&mut *other);
    let changes: [Call<'_, ()>; 2] = [
        ("put", &|other| assert_eq!(put(other, "k"), 1)),
        ("request_release", &|other| {
            other.request_release(manager, Wanted::new(1, true)).expect("request_release works");
        }),
    ];
    for (call, change) in changes {
        // Until it has seen everything so far.
        let begun = Instant::now();
        while s.wait_for_change(Duration::ZERO).expect("wait_for_change works") {
            assert!(begun.elapsed() < LIMIT, "without changes, a wait ends with its timeout");
        }
        change(&mut *other);
        // It may return early.
        let begun = Instant::now();
        while !s.wait_for_change(Duration::from_millis(10)).expect("wait_for_change works") {
            assert!(begun.elapsed() < LIMIT, "{call} must wake those that wait");
        }
    }
}
