//! Which units are claimed, by whom, and how often.

use std::thread;
use std::time::Duration;

use super::{claim, open, put, register, register_for, row};
use crate::shared::table::{ManagerId, Record, Session, Share, SharedTable};

const LONG: Duration = Duration::from_secs(600);

pub(super) fn each_unit_is_claimed_once(table: &impl SharedTable) {
    const UNITS: usize = 200;
    let mut s = open(table);
    for number in 0..UNITS {
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
            assert!(claimed.len() <= 5, "claim keeps its maximum");
            keys.extend(claimed.into_iter().map(|claimed| (claimed.key, manager)));
            assert!(keys.len() <= UNITS, "a unit is claimed once");
        }
    };
    let mut keys: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(claim_all)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no claim panics")).collect()
    });
    keys.sort();
    assert!(keys.windows(2).all(|pair| pair[0].0 != pair[1].0), "a unit is claimed once");
    assert_eq!(keys.len(), UNITS, "each unit is claimed");
    for (key, manager) in keys {
        assert_eq!(row(&mut *s, &key).owner, Some(manager), "the row names the owner");
    }
}

pub(super) fn only_wanted_units_of_the_right_kind_are_claimed(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    s.put("other kind", "b", "").expect("a unit is put");
    put(&mut *s, "stopped");
    s.want_stop("stopped").expect("want_stop works");
    put(&mut *s, "x");
    put(&mut *s, "y");
    assert!(claim(&mut *s, manager, 0).is_empty(), "claim keeps a maximum of zero");
    let mut keys = [claim(&mut *s, manager, 1), claim(&mut *s, manager, 9)].concat();
    keys.sort_by(|one, other| one.key.cmp(&other.key));
    let keys: Vec<&str> = keys.iter().map(|claimed| &*claimed.key).collect();
    assert_eq!(keys, ["x", "y"], "claim keeps its maximum, kinds and desired states");
    let without = register_for(&mut *s, &[], LONG).manager;
    assert!(claim(&mut *s, without, 9).is_empty(), "a manager without kinds claims nothing");
    let of_both = register_for(&mut *s, &["a", "b", "b"], LONG).manager;
    assert_eq!(
        claim(&mut *s, of_both, 9).len(),
        1,
        "a manager of several kinds claims all of them"
    );
}

pub(super) fn a_claim_begins_anew(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    let generation = put(&mut *s, "k");
    let mut last = None;
    for starts in 1..=3 {
        let claimed = claim(&mut *s, manager, 1).pop().expect("the unit is free");
        let seen = (&*claimed.key, &*claimed.kind, &*claimed.spec);
        assert_eq!(seen, ("k", "a", "1"), "a claim has the row");
        assert_eq!(
            (claimed.generation, claimed.starts),
            (generation, starts),
            "starts are counted"
        );
        assert!(last < Some(claimed.token), "tokens grow");
        last = Some(claimed.token);
        let row_of_k = row(&mut *s, "k");
        assert_eq!((row_of_k.token, row_of_k.starts), (claimed.token, starts), "the row shows it");
        assert!(!row_of_k.is_ready && !row_of_k.is_steady, "a claim is not ready yet");
        s.record("k", claimed.token, &Record::Ready).expect("record works");
        assert!(row(&mut *s, "k").is_ready, "a ready unit is shown as ready");
        s.record("k", claimed.token, &Record::Steady).expect("record works");
        assert!(row(&mut *s, "k").is_steady, "a steady unit is shown as steady");
        s.release("k", claimed.token).expect("release works");
        let free = row(&mut *s, "k");
        assert_eq!(free.owner, None, "a released unit is free");
        assert!(!free.is_ready && !free.is_steady, "and neither ready nor steady");
    }
}

pub(super) fn shares_count(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    register_for(&mut *s, &["b"], LONG);
    let peer = register_for(&mut *s, &["b", "a"], LONG).manager;
    for key in ["x", "y", "stopped"] {
        put(&mut *s, key);
    }
    s.put("other kind", "b", "").expect("a unit is put");
    s.want_stop("stopped").expect("want_stop works");
    register_for(&mut *s, &["b"], LONG);
    claim(&mut *s, manager, 1);
    let share = s.share(manager).expect("share works");
    assert_eq!((share.units, share.managers, share.owned), (2, 2, 1), "a share of one kind");
    assert_eq!(share.older, 0, "it is the oldest one");
    assert!(share.has_free, "there is something to claim");
    let share = s.share(peer).expect("share works");
    assert_eq!((share.units, share.managers, share.owned), (3, 4, 0), "a share of two kinds");
    assert_eq!(share.older, 2, "two of them are older");
    s.leave(peer).expect("leave works");
    let share = s.share(manager).expect("share works");
    assert_eq!(share.managers, 1, "a manager that has left has no share");
}

pub(super) fn requests_reach_managers_of_the_same_kinds(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    let of_both = register_for(&mut *s, &["a", "b"], LONG).manager;
    let other = register_for(&mut *s, &["b"], LONG).manager;
    let share = |s: &mut dyn Session, manager| s.share(manager).expect("share works");
    let seen = |s: &mut dyn Session| {
        [manager, of_both, other].map(|manager| share(s, manager).last_request)
    };
    let [first, second, third] = [manager, of_both, other].map(ManagerId::get);
    assert_eq!(seen(&mut *s), [second, third, third], "a registration is a request");
    for key in ["x", "y"] {
        put(&mut *s, key);
    }
    claim(&mut *s, of_both, 1);
    let before = (share(&mut *s, of_both), s.scan(None, 9).expect("scan works"));
    s.request_release(manager).expect("request_release works");
    let request = share(&mut *s, manager).last_request;
    assert!(request > third, "a request has a greater number than all ids and requests before");
    assert_eq!(seen(&mut *s), [request, request, third], "those with another kind do not see it");
    let now = share(&mut *s, of_both);
    let expected = Share { last_request: request, ..before.0 };
    assert_eq!(now, expected, "a request changes nothing else in a share");
    assert_eq!(s.scan(None, 9).expect("scan works"), before.1, "and no unit");
    s.request_release(of_both).expect("request_release works");
    let second = share(&mut *s, other).last_request;
    assert!(second > request, "requests grow");
    assert_eq!(seen(&mut *s), [second; 3], "the last request counts");
    s.request_release(manager).expect("request_release may be repeated");
    let third = share(&mut *s, of_both).last_request;
    assert!(third > second, "each request is a new one");
    assert_eq!(seen(&mut *s), [third, third, second]);
    let newest = register(&mut *s);
    assert!(newest.get() > third && newest.get() > first, "so is a registration");
    assert_eq!(seen(&mut *s), [newest.get(), newest.get(), second]);
    s.leave(newest).expect("leave works");
    assert_eq!(seen(&mut *s), [third, third, second], "the request of a manager ends with it");
}

pub(super) fn owned_units_are_listed(table: &impl SharedTable) {
    let mut s = open(table);
    let (manager, other) = (register(&mut *s), register(&mut *s));
    for key in ["x", "y", "z"] {
        put(&mut *s, key);
    }
    let mut claimed: Vec<_> =
        claim(&mut *s, manager, 2).into_iter().map(|row| (row.key, row.token)).collect();
    let of_other = claim(&mut *s, other, 1).remove(0);
    let owned = |s: &mut dyn Session, manager| {
        let mut owned = s.owned(manager).expect("owned works");
        owned.sort();
        owned
    };
    claimed.sort();
    assert_eq!(owned(&mut *s, manager), claimed, "owned lists what was claimed");
    assert_eq!(owned(&mut *s, other), [(of_other.key, of_other.token)], "for each manager");
    let (key, token) = claimed.remove(0);
    s.release(&key, token).expect("release works");
    assert_eq!(owned(&mut *s, manager), claimed, "but not what was released");
}
