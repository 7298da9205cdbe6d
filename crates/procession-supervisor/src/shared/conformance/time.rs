//! Checks of leases that end by time, of crashes, and of waiting.

use std::time::{Duration, Instant};

use super::{claim, open, put, refused, register, row};
use crate::shared::table::{
    ManagerId, PROBATION_CRASHES, Record, Registration, Session, SharedTable,
};

/// Claims all units with a manager, and waits until it is dead; `None` if the leases of the store do not end by time.
fn die(s: &mut dyn Session, crash_limit: u32) -> Option<ManagerId> {
    let ttl = Duration::from_millis(200);
    let registration = Registration { name: "dead".into(), kinds: vec!["a".into()], ttl };
    let registered = s.register(&registration).expect("a manager registers");
    registered.ttl?;
    claim(s, registered.manager, 9);
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let dead = s.expire_dead(crash_limit).expect("expire_dead works");
        if !dead.is_empty() {
            assert_eq!(dead, [registered.manager], "expire_dead returns the dead manager");
            return Some(registered.manager);
        }
        assert!(Instant::now() < limit, "a lease that is not renewed must end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn crashes_quarantine(table: &impl SharedTable) {
    let mut s = open(table);
    put(&mut *s, "j");
    put(&mut *s, "k");
    for crashes in 1..=PROBATION_CRASHES {
        let Some(dead) = die(&mut *s, 9) else { return };
        assert!(
            s.expire_dead(9).expect("expire_dead works").is_empty(),
            "each id is returned once"
        );
        refused(s.renew(dead), "renew after the end");
        for key in ["j", "k"] {
            let row = row(&mut *s, key);
            let seen = (row.owner, row.crashes);
            assert_eq!(seen, (None, crashes), "a dead owner's units crash and are free");
        }
    }
    let manager = register(&mut *s);
    let claimed = claim(&mut *s, manager, 9);
    assert_eq!(claimed.len(), 1, "a manager has at most one unit on probation");
    s.record(&claimed[0].key, claimed[0].token, &Record::Steady).expect("record works");
    assert_eq!(row(&mut *s, &claimed[0].key).crashes, 0, "a steady unit forgets its crashes");
    die(&mut *s, PROBATION_CRASHES + 1);
    let other = if claimed[0].key == "j" { "k" } else { "j" };
    let row = row(&mut *s, other);
    assert!(row.is_quarantined && row.last_error.is_some(), "crashes quarantine a unit");
}

pub(super) fn changes_wake(table: &impl SharedTable) {
    let (mut s, mut other) = (open(table), open(table));
    s.wait_for_change(Duration::ZERO).expect("wait_for_change works");
    put(&mut *other, "k");
    let start = Instant::now();
    while !s.wait_for_change(Duration::from_secs(1)).expect("wait_for_change works") {
        assert!(start.elapsed() < Duration::from_secs(10), "a change must wake those that wait");
    }
}
