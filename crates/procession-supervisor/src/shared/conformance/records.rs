//! Tokens, records, orders and quarantine.

use super::{claim, open, put, refused, register, register_for, row};
use crate::shared::table::{
    Desired, Order, Ordered, Record, SharedTable, Token, Write, WriteResult,
};
use std::time::Duration;

pub(super) fn tokens_fence(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    let first = claim(&mut *s, manager, 1)[0].token;
    s.release("k", first).expect("release works");
    refused(s.record("k", first, &Record::Ready), "record of a released unit");
    let second = claim(&mut *s, manager, 1)[0].token;
    let before = row(&mut *s, "k");
    for token in [first, Token::new(second.get() + 1)] {
        for record in [
            Record::Ready,
            Record::Steady,
            Record::Done,
            Record::Failed { error: "e".into(), limit: 1 },
            Record::Restarted { generation: 7 },
        ] {
            refused(s.record("k", token, &record), "record with another token");
        }
        refused(s.release("k", token), "release with another token");
    }
    refused(s.record("unknown", second, &Record::Ready), "record of an unknown unit");
    refused(s.release("unknown", second), "release of an unknown unit");
    assert_eq!(row(&mut *s, "k"), before, "a refused call changes nothing");
    s.remove("k").expect("remove works");
    assert_eq!(row(&mut *s, "k").desired, Desired::Remove, "an owned unit is removed later");
    s.release("k", second).expect("release works");
    assert!(s.get("k").expect("get works").is_none(), "release removes the unit");
    put(&mut *s, "k");
    assert!(claim(&mut *s, manager, 1)[0].token > second, "tokens grow across a removal");
}

pub(super) fn orders_follow_changes(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    let orders = |s: &mut dyn crate::shared::Session| {
        let orders = s.orders(manager).expect("orders works");
        let share = s.share(manager).expect("share works");
        let is_right = share.orders == orders.len() || share.orders == usize::MAX;
        assert!(is_right, "a share has the number of orders");
        orders
    };
    put(&mut *s, "k");
    let token = claim(&mut *s, manager, 1)[0].token;
    assert_eq!(orders(&mut *s), [], "no order without a change");
    let order = |what| [Order { key: "k".to_owned(), token, what }];
    let generation = s.put("k", "a", "2").expect("put works");
    let restart = Ordered::Restart { kind: "a".into(), spec: "2".into(), generation };
    assert_eq!(orders(&mut *s), order(restart.clone()), "a new generation restarts the unit");
    assert_eq!(orders(&mut *s), order(restart), "an order stands until it is carried out");
    s.record("k", token, &Record::Restarted { generation }).expect("record works");
    assert_eq!(orders(&mut *s), [], "a restarted unit has no order");
    s.want_stop("k").expect("want_stop works");
    assert_eq!(orders(&mut *s), order(Ordered::Stop), "a unit that should stop is ordered to");
    s.want_run("k").expect("want_run works");
    assert_eq!(orders(&mut *s), [], "a unit that should run again is not");
    s.remove("k").expect("remove works");
    assert_eq!(orders(&mut *s), order(Ordered::Stop), "a unit that should be removed stops");
    put(&mut *s, "k");
    s.put("k", "b", "3").expect("put works");
    assert_eq!(orders(&mut *s), order(Ordered::Stop), "a unit of a kind of others stops");
    s.put("k", "a", "2").expect("put works");
    let failed = Record::Failed { error: "e".into(), limit: 1 };
    s.record("k", token, &failed).expect("record works");
    assert_eq!(orders(&mut *s), order(Ordered::Stop), "a quarantined unit stops");
    let other = register_for(&mut *s, &["a"], Duration::from_secs(600)).manager;
    assert_eq!(s.orders(other).expect("orders works"), [], "orders are for the owner");
    s.release("k", token).expect("release works");
    assert_eq!(orders(&mut *s), [], "a released unit has no order");
}

pub(super) fn failures_quarantine(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    let token = claim(&mut *s, manager, 1)[0].token;
    let failed = Record::Failed { error: "the error".into(), limit: 2 };
    s.record("k", token, &Record::Ready).expect("record works");
    s.record("k", token, &failed).expect("record works");
    let failing = row(&mut *s, "k");
    assert_eq!((failing.failures, failing.is_ready), (1, false), "a failed run is not ready");
    assert_eq!(failing.last_error.as_deref(), Some("the error"), "the error is kept");
    s.record("k", token, &Record::Steady).expect("record works");
    assert_eq!(row(&mut *s, "k").failures, 0, "a steady unit forgets its failures");
    s.record("k", token, &failed).expect("record works");
    s.release("k", token).expect("release works");
    let token = claim(&mut *s, manager, 1)[0].token;
    assert!(!row(&mut *s, "k").is_quarantined, "fewer failures do not quarantine a unit");
    s.record("k", token, &failed).expect("record works");
    assert!(row(&mut *s, "k").is_quarantined, "failures are counted across claims");
    s.release("k", token).expect("release works");
    s.want_run("k").expect("want_run works");
    assert!(claim(&mut *s, manager, 1).is_empty(), "a quarantined unit is not claimed");
    assert_eq!(s.share(manager).expect("share works").fair, 0, "nor does it count in shares");
    s.clear_quarantine("k").expect("clear_quarantine works");
    assert_eq!(row(&mut *s, "k").failures, 0, "its failures are forgotten");
    let token = claim(&mut *s, manager, 1)[0].token;
    let last = Record::Failed { error: "e".into(), limit: 0 };
    s.record("k", token, &last).expect("record works");
    assert!(row(&mut *s, "k").is_quarantined, "a limit of zero quarantines at once");
    s.put("k", "a", "2").expect("put works");
    let put = row(&mut *s, "k");
    assert_eq!((put.is_quarantined, put.failures), (false, 0), "a new spec ends the quarantine");
}

pub(super) fn done_units_rest(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    let end = |s: &mut dyn crate::shared::Session| {
        let token = claim(s, manager, 1)[0].token;
        s.record("k", token, &Record::Done).expect("record works");
        s.release("k", token).expect("release works");
        assert!(row(s, "k").is_done, "a unit that has ended is done");
        assert_eq!(claim(s, manager, 1), [], "a unit that is done is not claimed");
        assert_eq!(s.share(manager).expect("share works").fair, 0, "nor does it count in shares");
    };
    end(&mut *s);
    put(&mut *s, "k");
    assert!(row(&mut *s, "k").is_done, "the same spec does not start it again");
    s.want_run("k").expect("want_run works");
    end(&mut *s);
    s.put("k", "a", "2").expect("put works");
    let token = claim(&mut *s, manager, 1)[0].token;
    s.put("k", "a", "3").expect("put works");
    s.record("k", token, &Record::Done).expect("record works");
    assert!(!row(&mut *s, "k").is_done, "the end of an old generation is not that of a new one");
}

pub(super) fn several_writes_are_like_single_ones(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    for key in ["x", "y"] {
        put(&mut *s, key);
    }
    let claimed = claim(&mut *s, manager, 2);
    let token = |key| claimed.iter().find(|row| row.key == key).expect("both are claimed").token;
    let (x, y) = (token("x"), token("y"));
    let failed = || Record::Failed { error: "e".into(), limit: 9 };
    let old = Token::new(0);
    let writes = [
        Write::record("x", x, Record::Ready),
        Write::record("y", old, failed()),
        Write::record("y", y, failed()),
        Write::release("unknown", y),
        Write::record("x", x, failed()),
        Write::release("x", x),
        Write::record("x", x, Record::Ready),
        Write::record("y", y, Record::Ready),
    ];
    let written = s.write(&writes).expect("write works");
    use WriteResult::{Done, Refused};
    let expected = [Done, Refused, Done, Refused, Done, Done, Refused, Done];
    assert_eq!(written, expected, "each write is performed or refused");
    let seen = ["x", "y"].map(|key| {
        let row = row(&mut *s, key);
        (row.owner, row.is_ready, row.failures)
    });
    assert_eq!(seen, [(None, false, 1), (Some(manager), true, 1)], "writes are performed in order");
    assert!(s.write(&[]).expect("write works").is_empty(), "no writes are no error");
    s.leave(manager).expect("leave works");
    let late = [Write::release("y", y)];
    assert_eq!(s.write(&late).expect("write works"), [Refused], "write after the end");
}

/// A manager repeats a call whose answer was lost, and does not know which of its writes were performed.
pub(super) fn repeated_records_change_nothing(table: &impl SharedTable) {
    let mut s = open(table);
    let manager = register(&mut *s);
    put(&mut *s, "k");
    let failed = || Record::Failed { error: "e".into(), limit: 4 };
    let token = claim(&mut *s, manager, 1)[0].token;
    let generation = s.put("k", "a", "2").expect("put works");
    let records = [failed(), Record::Steady, failed(), Record::Restarted { generation }];
    let write =
        |token, number: u64, record: Record| Write::record("k", token, record).numbered(number);
    let writes: Vec<Write> =
        (1..).zip(records).map(|(number, record)| write(token, number, record)).collect();
    for (begin, end) in [(0, 2), (0, 3), (2, 4), (0, 4), (0, 1)] {
        let written = s.write(&writes[begin..end]).expect("write works");
        assert!(written.iter().all(|result| *result == WriteResult::Done), "repetitions are done");
        let row = row(&mut *s, "k");
        let failures = u32::from((begin, end) != (0, 2));
        assert_eq!((row.failures, row.is_steady), (failures, failures == 0), "performed once");
    }
    let written = s.write(&[write(token, 9, Record::Ready), write(token, 9, failed())]);
    assert_eq!(written.expect("write works"), [WriteResult::Done; 2], "numbers may be left out");
    let row_of_k = row(&mut *s, "k");
    assert_eq!((row_of_k.failures, row_of_k.is_ready), (1, true), "also within one call");
    s.record("k", token, &failed()).expect("record works");
    assert_eq!(row(&mut *s, "k").failures, 2, "a record without a number is performed each time");
    s.release("k", token).expect("release works");
    let late = s.write(&[write(token, 1, failed())]).expect("write works");
    assert_eq!(late, [WriteResult::Refused], "after the claim, repetitions are refused");
    let old = token;
    let token = claim(&mut *s, manager, 1)[0].token;
    s.write(&[write(token, 1, failed())]).expect("write works");
    assert_eq!(row(&mut *s, "k").failures, 3, "each claim has its own numbers");
    let late = s.write(&[write(old, 1, failed())]).expect("write works");
    assert_eq!(late, [WriteResult::Refused], "also if the unit is claimed again");
}
