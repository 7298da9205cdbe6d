//! How leases end, and what the end of one means to its units.

use std::time::{Duration, Instant};

use super::{Call, claim, open, put, refused, register, register_again, register_for, row, until};
use crate::shared::table::{
    Claimed, Desired, ManagerId, PROBATION_CRASHES, Record, Session, SharedTable, TableError,
    Token, Wanted,
};

/// Times to live that end during a check. A machine that is busy may be too slow for a short one.
const TTLS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(8)];
/// A crash limit that is not reached.
const NEVER: u32 = 1000;

/// All calls of a manager whose lease has ended are refused.
fn is_over(s: &mut dyn Session, manager: ManagerId, key: &str, token: Token) {
    refused(s.renew(manager), "renew after the end");
    refused(s.drain(manager), "drain after the end");
    refused(s.request_release(manager, Wanted::new(1, false)), "request_release after the end");
    refused(s.requests(manager, 0), "requests after the end");
    refused(s.share(manager), "share after the end");
    refused(s.claim(manager, 1), "claim after the end");
    refused(s.orders(manager), "orders after the end");
    refused(s.owned(manager), "owned after the end");
    refused(s.record(key, token, &Record::Ready), "record after the end");
    refused(s.release(key, token), "release after the end");
    let listed = s.managers().expect("managers works");
    assert!(!listed.iter().any(|row| row.manager == manager), "ended managers are not listed");
}

pub(super) fn the_end_is_final(table: &impl SharedTable) {
    let mut s = open(table);
    let (first, second) = (register(&mut *s), register(&mut *s));
    assert_ne!(first, second, "ids never repeat");
    s.renew(first).expect("a lease is renewed");
    put(&mut *s, "k");
    put(&mut *s, "removed");
    let claimed = claim(&mut *s, first, 2);
    let k = claimed.iter().find(|claimed| claimed.key == "k").expect("both are claimed").token;
    s.remove("removed").expect("remove works");
    s.expire(first).expect("expire works");
    let row_of_k = row(&mut *s, "k");
    assert_eq!(
        (row_of_k.owner, row_of_k.crashes),
        (None, 0),
        "a forced end frees, and is no crash"
    );
    assert!(
        s.get("removed").expect("get works").is_none(),
        "the end removes what should be removed"
    );
    is_over(&mut *s, first, "k", k);
    s.expire(first).expect("expire of an ended lease does nothing");
    s.leave(first).expect("leave of an ended lease does nothing");
    let token = claim(&mut *s, second, 1)[0].token;
    assert!(token > k, "tokens grow across the end of a lease");
    s.leave(second).expect("leave works");
    let row_of_k = row(&mut *s, "k");
    assert_eq!((row_of_k.owner, row_of_k.crashes), (None, 0), "leave frees, and is no crash");
    is_over(&mut *s, second, "k", token);
    let third = register(&mut *s);
    assert!(third != first && third != second, "ids never repeat");
    assert_eq!(s.expire_dead(NEVER).expect("expire_dead works"), [], "ended leases are not dead");
}

pub(super) fn the_end_changes_only_units_of_that_manager(table: &impl SharedTable) {
    let mut s = open(table);
    let (ending, other) = (register(&mut *s), register(&mut *s));
    for (manager, keys) in [(ending, ["k", "removed", "stopped"]), (other, ["x", "y", "z"])] {
        for key in keys {
            put(&mut *s, key);
        }
        for Claimed { key, token, .. } in claim(&mut *s, manager, 9) {
            s.record(&key, token, &Record::Steady).expect("record works");
        }
    }
    for (removed, stopped) in [("removed", "stopped"), ("y", "z")] {
        s.remove(removed).expect("remove works");
        s.want_stop(stopped).expect("want_stop works");
    }
    let of_other = |s: &mut dyn Session| ["x", "y", "z"].map(|key| row(s, key));
    let before = of_other(&mut *s);
    s.expire(ending).expect("expire works");
    assert_eq!(of_other(&mut *s), before, "the units of other managers remain as they are");
    let freed = ["k", "stopped"].map(|key| row(&mut *s, key));
    assert_eq!(freed.each_ref().map(|row| row.owner), [None; 2], "its units are free");
    let runs = freed.iter().any(|row| row.is_ready || row.is_steady);
    assert!(!runs, "a free unit is neither ready nor steady");
    assert_eq!(freed[1].desired, Desired::Stop, "a unit that should stop remains stopped");
    assert!(s.get("removed").expect("get works").is_none(), "one that should be removed is gone");
    let claimed: Vec<_> = claim(&mut *s, other, 9).into_iter().map(|row| row.key).collect();
    assert_eq!(claimed, ["k"], "the other manager keeps its kinds, and claims what is free");
}

pub(super) fn renewals_prolong_a_lease(table: &impl SharedTable) {
    let mut s = open(table);
    assert!(TTLS.into_iter().any(|ttl| is_prolonged(&mut *s, ttl)), "renewals prolong a lease");
}

/// Renews a lease until it has lasted for three times its time to live. Returns `false` if that was not possible
/// because so much time has passed between two renewals that the lease has ended.
fn is_prolonged(s: &mut dyn Session, ttl: Duration) -> bool {
    let begun = Instant::now();
    let registered = register_for(s, &["a"], ttl);
    let Some(ttl) = registered.ttl else { return true };
    let mut renewed = begun;
    while begun.elapsed() < 3 * ttl {
        let sent = Instant::now();
        match s.renew(registered.manager) {
            Err(TableError::Refused) if renewed.elapsed() >= ttl => {
                // Then the next attempt does not find this manager among the dead.
                s.expire(registered.manager).expect("expire works");
                return false;
            }
            result => result.expect("renewals prolong a lease"),
        }
        renewed = sent;
        s.wait_for_change(ttl / 10).expect("wait_for_change works");
    }
    let dead = s.expire_dead(NEVER).expect("expire_dead works");
    let is_too_late = renewed.elapsed() >= ttl;
    let is_dead = dead.contains(&registered.manager);
    assert!(is_too_late || !is_dead, "a renewed lease lives");
    !is_too_late
}

/// Registers a manager whose lease ends soon, lets it claim everything, and calls `before`. Returns the manager, its
/// time to live, and its units; `None` if the leases of the store do not end by time.
fn mortal(
    s: &mut dyn Session,
    mut before: impl FnMut(&mut dyn Session, ManagerId, &[Claimed]) -> Result<(), TableError>,
) -> Option<(ManagerId, Duration, Vec<Claimed>)> {
    for ttl in TTLS {
        let registered = register_for(s, &["a"], ttl);
        let (manager, ttl) = (registered.manager, registered.ttl?);
        let prepared = s.claim(manager, 100).and_then(|claimed| {
            before(s, manager, &claimed)?;
            Ok(claimed)
        });
        match prepared {
            Ok(claimed) => return Some((manager, ttl, claimed)),
            // The lease has ended too early. That must not count as a crash.
            Err(TableError::Refused) => {
                let again = register_again(s, manager);
                s.leave(again).expect("leave works");
            }
            Err(error) => panic!("a manager with a lease claims and records: {error}"),
        }
    }
    panic!("a lease lasts for its time to live");
}

pub(super) fn a_lease_ends_by_time(table: &impl SharedTable) {
    let mut s = open(table);
    let living = register(&mut *s);
    put(&mut *s, "k");
    put(&mut *s, "removed");
    let Some((mortal, ttl, claimed)) = mortal(&mut *s, |_, _, _| Ok(())) else { return };
    let k = claimed.iter().find(|claimed| claimed.key == "k").expect("both are claimed").token;
    s.remove("removed").expect("remove works");
    until(&mut *s, "a lease that is not renewed must end", |s| {
        let listed = s.managers().expect("managers works");
        let listed = listed.iter().find(|row| row.manager == mortal);
        let remaining = listed.and_then(|row| row.remaining);
        assert!(remaining.is_none_or(|left| left <= ttl), "no lease is longer than its ttl");
        listed.is_none().then_some(())
    });
    is_over(&mut *s, mortal, "k", k);
    assert!(s.share(living).expect("share works").has_dead, "a share says that a manager is dead");
    assert_eq!(s.expire_dead(NEVER).expect("expire_dead works"), [mortal], "the dead are found");
    assert_eq!(s.expire_dead(NEVER).expect("expire_dead works"), [], "each is returned once");
    is_over(&mut *s, mortal, "k", k);
    let row_of_k = row(&mut *s, "k");
    assert_eq!((row_of_k.owner, row_of_k.crashes), (None, 1), "the units of the dead have crashed");
    assert!(
        s.get("removed").expect("get works").is_none(),
        "the end removes what should be removed"
    );
    s.renew(living).expect("others live on");
}

pub(super) fn draining_managers_give_their_units_away(table: &impl SharedTable) {
    let mut s = open(table);
    let (staying, leaving) = (register(&mut *s), register(&mut *s));
    put(&mut *s, "k");
    put(&mut *s, "more");
    let claimed = claim(&mut *s, leaving, 1).remove(0);
    let before = row(&mut *s, &claimed.key);
    s.drain(leaving).expect("drain works");
    assert_eq!(row(&mut *s, &claimed.key), before, "drain changes no unit");
    s.renew(leaving).expect("a draining manager keeps its lease");
    s.record(&claimed.key, claimed.token, &Record::Ready).expect("and its claims");
    assert_eq!(claim(&mut *s, leaving, 9), [], "a draining manager claims nothing");
    let share = s.share(leaving).expect("share works");
    assert_eq!(
        (share.managers, share.owned, share.is_draining),
        (1, 1, true),
        "it counts itself out"
    );
    let share = s.share(staying).expect("share works");
    assert_eq!((share.managers, share.is_draining), (1, false), "and others do not count it");
    let rows = s.managers().expect("managers works");
    let draining: Vec<bool> = rows.iter().map(|row| row.is_draining).collect();
    assert_eq!(draining, [false, true], "operators see it");
    s.drain(leaving).expect("drain may be repeated");
    s.release(&claimed.key, claimed.token).expect("release works");
    assert_eq!(claim(&mut *s, leaving, 9), [], "not even what it has released");
    assert_eq!(claim(&mut *s, staying, 9).len(), 2, "others claim its units");
    s.leave(staying).expect("leave works");
    let claimed = claim(&mut *s, leaving, 1).len();
    assert_eq!(claimed, 1, "a draining manager claims again if no other one could");
    let again = register(&mut *s);
    assert!(
        !s.share(again).expect("share works").is_draining,
        "a new registration is not draining"
    );
}

/// As [`mortal`], and then waits until the manager is dead.
fn die(
    s: &mut dyn Session,
    crash_limit: u32,
    before: impl FnMut(&mut dyn Session, ManagerId, &[Claimed]) -> Result<(), TableError>,
) -> Option<ManagerId> {
    let (manager, ..) = mortal(s, before)?;
    until(s, "a lease that is not renewed must end", |s| {
        let dead = s.expire_dead(crash_limit).expect("expire_dead works");
        (!dead.is_empty()).then(|| assert_eq!(dead, [manager], "only the dead expire"))
    });
    Some(manager)
}

pub(super) fn crashes_find_the_cause(table: &impl SharedTable) {
    let mut s = open(table);
    let s = &mut *s;
    for key in ["i", "j", "steady"] {
        put(s, key);
    }
    let is_steady = |s: &mut dyn Session, _, claimed: &[Claimed]| {
        let mut steady = claimed.iter().filter(|claimed| claimed.key == "steady");
        steady.try_for_each(|row| s.record(&row.key, row.token, &Record::Steady))
    };
    for crashes in 1..=PROBATION_CRASHES {
        if die(s, NEVER, is_steady).is_none() {
            return;
        }
        let seen = ["i", "j", "steady"].map(|key| row(s, key).crashes);
        assert_eq!(seen, [crashes, crashes, 0], "all units that were not steady have crashed");
    }
    // Both are on probation now, and a manager takes only one of them.
    put(s, "fresh");
    let mut suspect = String::new();
    die(s, NEVER, |s, manager, claimed| {
        is_steady(s, manager, claimed)?;
        let more = s.claim(manager, 100)?;
        let keys = claimed.iter().chain(&more).map(|claimed| claimed.key.clone());
        let suspects: Vec<String> = keys.filter(|key| key == "i" || key == "j").collect();
        assert_eq!(suspects.len(), 1, "a manager has at most one unit on probation");
        suspect.clone_from(&suspects[0]);
        Ok(())
    });
    let other = if suspect == "i" { "j" } else { "i" };
    let seen = [&*suspect, other, "fresh"].map(|key| row(s, key).crashes);
    let expected = [PROBATION_CRASHES + 1, PROBATION_CRASHES, 0];
    assert_eq!(seen, expected, "a unit on probation alone has crashed");
    // At the limit, it is quarantined. The other one is claimed as well, if the first is stopped.
    s.want_stop(other).expect("want_stop works");
    die(s, PROBATION_CRASHES + 2, is_steady);
    let quarantined = row(s, &suspect);
    assert!(quarantined.is_quarantined && quarantined.last_error.is_some(), "crashes quarantine");
    s.clear_quarantine(&suspect).expect("clear_quarantine works");
    let cleared = row(s, &suspect);
    assert_eq!((cleared.is_quarantined, cleared.crashes), (false, 0), "crashes are forgotten");
    // A steady unit forgets its crashes.
    s.want_run(other).expect("want_run works");
    assert_eq!(row(s, other).crashes, 0, "a unit that is wanted again forgets its crashes");
    let manager = register(s);
    for claimed in claim(s, manager, 100) {
        s.record(&claimed.key, claimed.token, &Record::Steady).expect("record works");
        let row = row(s, &claimed.key);
        assert_eq!((row.crashes, row.is_ready, row.is_steady), (0, true, true), "steady units");
    }
}

pub(super) fn a_registration_ends_the_previous_one(table: &impl SharedTable) {
    let mut s = open(table);
    let s = &mut *s;
    let (first, other) = (register(s), register(s));
    put(s, "k");
    put(s, "removed");
    let claimed = claim(s, first, 2);
    let k = claimed.iter().find(|claimed| claimed.key == "k").expect("both are claimed").token;
    s.remove("removed").expect("remove works");
    let again = register_again(s, first);
    assert!(again != first && again != other, "ids never repeat");
    is_over(s, first, "k", k);
    let row_of_k = row(s, "k");
    assert_eq!((row_of_k.owner, row_of_k.crashes), (None, 0), "its units are free, and no crash");
    assert!(s.get("removed").expect("get works").is_none(), "or removed");
    s.renew(other).expect("others live on");
    assert!(claim(s, again, 9)[0].token > k, "the new registration claims units");
}

pub(super) fn units_of_a_program_that_lives_on_have_not_crashed(table: &impl SharedTable) {
    let mut s = open(table);
    let s = &mut *s;
    put(s, "k");
    let mut last = None;
    for crashes in 1..=2 {
        last = die(s, NEVER, |_, _, _| Ok(()));
        if last.is_none() {
            return;
        }
        assert_eq!(row(s, "k").crashes, crashes, "the units of the dead have crashed");
    }
    let last = last.expect("somebody has died");
    // Of several crashes, only its own one is taken back, and only once.
    for _ in 0..2 {
        let again = register_again(s, last);
        assert_eq!(row(s, "k").crashes, 1, "a crash is taken back");
        s.leave(again).expect("leave works");
    }
}

pub(super) fn crashes_that_were_forgotten_are_not_taken_back(table: &impl SharedTable) {
    let mut s = open(table);
    let s = &mut *s;
    put(s, "k");
    let forget: [Call<'_, ()>; 4] = [
        ("a put of another spec", &|s| {
            s.put("k", "a", "2").expect("put works");
        }),
        ("want_run", &|s| s.want_run("k").expect("want_run works")),
        ("clear_quarantine", &|s| s.clear_quarantine("k").expect("clear_quarantine works")),
        ("the record of a steady unit", &|s| {
            let manager = register(s);
            let token = claim(s, manager, 1)[0].token;
            s.record("k", token, &Record::Steady).expect("record works");
            s.leave(manager).expect("leave works");
        }),
    ];
    for (call, forget) in forget {
        let Some(dead) = die(s, NEVER, |_, _, _| Ok(())) else { return };
        assert_eq!(row(s, "k").crashes, 1, "the units of the dead have crashed");
        forget(s);
        assert_eq!(row(s, "k").crashes, 0, "{call} forgets crashes");
        let again = register_again(s, dead);
        assert_eq!(row(s, "k").crashes, 0, "a crash is not taken back after {call}");
        s.leave(again).expect("leave works");
    }
}
