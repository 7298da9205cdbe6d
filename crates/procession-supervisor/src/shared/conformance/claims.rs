//! Which units are claimed, by whom, and how often.

use std::slice::from_ref;
use std::thread;
use std::time::Duration;

use super::{claim, open, put, register, register_for, row};
use crate::shared::table::{ManagerId, Record, Request, Session, Share, SharedTable, Wanted};

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
    let older = register_for(&mut *s, &["b"], LONG).manager;
    let peer = register_for(&mut *s, &["b", "a"], LONG).manager;
    let newer = register_for(&mut *s, &["b"], LONG).manager;
    let idle = register_for(&mut *s, &["c"], LONG).manager;
    for key in ["x", "y", "z", "stopped"] {
        put(&mut *s, key);
    }
    for number in 0..4 {
        s.put(&format!("b{number}"), "b", "").expect("a unit is put");
    }
    s.want_stop("stopped").expect("want_stop works");
    claim(&mut *s, manager, 1);
    let share = |s: &mut dyn Session, manager| s.share(manager).expect("share works");
    let fair = |s: &mut dyn Session, managers: &[ManagerId]| {
        managers.iter().map(|manager| share(s, *manager).fair).collect::<Vec<_>>()
    };
    assert_eq!(fair(&mut *s, &[manager, older, peer, newer, idle]), [2, 2, 1 + 1, 1, 0]);
    let of_one_kind = share(&mut *s, manager);
    assert_eq!((of_one_kind.managers, of_one_kind.owned), (2, 1), "a share of one kind");
    assert!(of_one_kind.has_free, "there is something to claim");
    let of_two_kinds = share(&mut *s, peer);
    assert_eq!((of_two_kinds.managers, of_two_kinds.owned), (4, 0), "a share of two kinds");
    s.drain(newer).expect("drain works");
    assert_eq!(fair(&mut *s, &[manager, older, peer, newer]), [2, 2, 1 + 2, 0], "draining ones");
    s.leave(peer).expect("leave works");
    assert_eq!(share(&mut *s, manager).managers, 1, "a manager that has left has no share");
    assert_eq!(fair(&mut *s, &[manager, older, newer]), [3, 4, 0], "and others have more");
}

pub(super) fn requests_reach_managers_of_the_same_kinds(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    let of_both = register_for(&mut *s, &["b", "a"], LONG).manager;
    let other = register_for(&mut *s, &["b"], LONG).manager;
    let all = [manager, of_both, other];
    let share = |s: &mut dyn Session, manager| s.share(manager).expect("share works");
    let last = |s: &mut dyn Session| all.map(|manager| share(s, manager).last_request);
    let requests = |s: &mut dyn Session, manager, after| {
        let requests = s.requests(manager, after).expect("requests works");
        let parts =
            |Request { manager, number, wanted, kinds }| (manager, number, wanted, kinds.concat());
        requests.into_iter().map(parts).collect::<Vec<_>>()
    };
    assert_eq!(last(&mut *s), [0; 3], "a registration is no request");
    assert_eq!(requests(&mut *s, of_both, 0), []);
    for key in ["x", "y"] {
        put(&mut *s, key);
    }
    claim(&mut *s, of_both, 1);
    let before = (share(&mut *s, of_both), s.scan(None, 9).expect("scan works"));
    let wanted = Wanted::new(3, false);
    s.request_release(manager, wanted).expect("request_release works");
    let [own, first, elsewhere] = last(&mut *s);
    assert!(first > 0, "zero is no number");
    assert_eq!((own, elsewhere), (0, 0), "only others of the same kinds see a request");
    let expected = Share { last_request: first, ..before.0 };
    assert_eq!(share(&mut *s, of_both), expected, "a request changes nothing else in a share");
    assert_eq!(s.scan(None, 9).expect("scan works"), before.1, "and no unit");
    let of_manager = (manager, first, wanted, "a".to_owned());
    assert_eq!(
        requests(&mut *s, of_both, 0),
        from_ref(&of_manager),
        "a request has a manager, a number and kinds"
    );
    assert_eq!(requests(&mut *s, of_both, first), [], "those after a number do not include it");
    assert_eq!(requests(&mut *s, manager, 0), [], "nor the own ones");
    assert_eq!(requests(&mut *s, other, 0), [], "nor those of managers with other kinds");
    s.request_release(of_both, Wanted::new(0, true)).expect("request_release works");
    let second = share(&mut *s, other).last_request;
    assert!(second > first, "numbers grow");
    assert_eq!(last(&mut *s), [second, first, second], "a manager may have several kinds");
    let of_both_kinds = (of_both, second, Wanted::new(0, true), "ab".to_owned());
    assert_eq!(requests(&mut *s, other, first), from_ref(&of_both_kinds), "kinds are sorted");
    s.request_release(other, wanted).expect("request_release works");
    let third = share(&mut *s, of_both).last_request;
    let of_other = (other, third, wanted, "b".to_owned());
    assert_eq!(requests(&mut *s, of_both, 0), [of_manager, of_other.clone()], "so are numbers");
    s.request_release(manager, wanted).expect("request_release may be repeated");
    let again = share(&mut *s, of_both).last_request;
    assert!(again > third, "each request is a new one");
    let of_manager = (manager, again, wanted, "a".to_owned());
    assert_eq!(requests(&mut *s, of_both, 0), [of_other, of_manager], "it replaces the last one");
    s.drain(manager).expect("drain works");
    assert_eq!(last(&mut *s)[1], third, "a draining manager asks for nothing");
    assert_eq!(requests(&mut *s, of_both, third), []);
    s.leave(other).expect("leave works");
    assert_eq!(share(&mut *s, of_both).last_request, 0, "nor does one that has left");
    assert_eq!(requests(&mut *s, of_both, 0), []);
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
