//! Claims by many managers, and what locks hold them up.

use std::collections::HashSet;
use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};
use std::{iter, slice, thread};

use procession_supervisor::shared::{Record, Session, Token, Write, WriteResult};
use procession_test_postgres::server;

use crate::support::{LIMIT, client, open, put, register, registration, table};

#[test]
fn many_managers_claim_each_unit_once() {
    const MANAGERS: usize = 16;
    const UNITS: usize = 2000;
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    drop(open(&table));
    let insert = format!(
        "insert into {schema}.units (key, kind, spec) \
         select 'k' || n, 'a', '' from generate_series(1, {UNITS}) n"
    );
    client(url).batch_execute(&insert).unwrap();
    let barrier = Barrier::new(MANAGERS);
    let claim_all = || {
        let mut session = open(&table);
        let manager = register(&mut *session);
        barrier.wait();
        let mut keys = Vec::new();
        loop {
            let claimed = session.claim(manager, 25).unwrap();
            if claimed.is_empty() {
                return keys;
            }
            keys.extend(claimed.into_iter().map(|claimed| claimed.key));
        }
    };
    let claimed: Vec<Vec<String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..MANAGERS).map(|_| scope.spawn(claim_all)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let keys: Vec<&String> = claimed.iter().flatten().collect();
    assert_eq!(keys.len(), UNITS);
    assert_eq!(keys.into_iter().collect::<HashSet<_>>().len(), UNITS);
}

/// Two sessions of one manager claim at the same time, for example because the first one was given up.
#[test]
fn a_manager_never_owns_two_units_on_probation() {
    const ROUNDS: usize = 40;
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut admin = client(url);
    let mut s = open(&table);
    for number in 0..4 {
        put(&mut *s, &format!("k{number}"));
    }
    put(&mut *s, "z");
    let manager = register(&mut *s);
    let reset = format!(
        "update {schema}.units set owner = null, crashes = case key when 'z' then 0 else 2 end"
    );
    let barrier = Barrier::new(2);
    let claims = || {
        let mut session = open(&table);
        let mut counts = Vec::new();
        for _ in 0..ROUNDS {
            barrier.wait();
            counts.push(session.claim(manager, 9).unwrap().len());
            barrier.wait();
        }
        counts
    };
    thread::scope(|scope| {
        let one = scope.spawn(|| {
            let mut session = open(&table);
            let (mut counts, mut on_probation) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                admin.batch_execute(&reset).unwrap();
                barrier.wait();
                counts.push(session.claim(manager, 9).unwrap().len());
                barrier.wait();
                let owned = session.scan(None, 99).unwrap();
                let owned = owned.iter().filter(|row| row.owner.is_some() && row.crashes == 2);
                on_probation.push(owned.count());
            }
            assert_eq!(on_probation, [1; ROUNDS]);
            counts
        });
        let other = scope.spawn(claims);
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        assert!(one.iter().zip(&other).all(|(one, other)| one + other == 2), "{one:?} {other:?}");
    });
}

/// Managers record, release, claim, expire and remove units that others work on as well, in any order of keys.
#[test]
fn managers_that_meet_do_not_block_each_other() {
    const UNITS: usize = 40;
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut s = open(&table);
    let fill = |s: &mut dyn Session| {
        for number in 0..UNITS {
            s.put(&format!("k{number}"), if number % 2 == 0 { "a" } else { "b" }, "1").unwrap();
        }
    };
    fill(&mut *s);
    let before = deadlocks(url);
    let work = |seed: usize| {
        let mut s = open(&table);
        let mut longest = Duration::ZERO;
        for round in 0..25 {
            let begun = Instant::now();
            let manager = s.register(&registration(&["a", "b"], LIMIT)).unwrap().manager;
            let mut claimed = s.claim(manager, 10).unwrap();
            if seed % 2 == 0 {
                claimed.reverse();
            }
            let done = |key: &str| key.ends_with(char::from(b'0' + u8::try_from(seed).unwrap()));
            // Old claims of all units, which others own.
            let old = |number: usize| {
                Write::release(format!("k{}", (number * (seed + 1)) % UNITS), Token::new(0))
            };
            let mut writes: Vec<Write> = (0..UNITS).map(old).collect();
            for claimed in &claimed {
                let (key, token) = (&claimed.key, claimed.token);
                if done(key) {
                    writes.push(Write::record(key, token, Record::Done));
                }
                writes.push(Write::release(key, token));
            }
            for claimed in claimed.iter().take(3) {
                s.remove(&claimed.key).unwrap();
            }
            if round % 3 == 0 {
                s.expire(manager).unwrap();
            } else {
                let written = s.write(&writes).unwrap();
                assert!(written[..UNITS].iter().all(|result| *result == WriteResult::Refused));
                let mut own: Vec<_> =
                    iter::zip(&writes[UNITS..], written[UNITS..].iter()).collect();
                // The `put` of another round may hold a unit for a moment.
                own.retain(|(_, result)| **result != WriteResult::Done);
                for (write, result) in own {
                    assert_eq!(*result, WriteResult::NotNow);
                    let again = iter::repeat_with(|| s.write(slice::from_ref(write)).unwrap()[0]);
                    let last = again.into_iter().find(|result| *result != WriteResult::NotNow);
                    assert_eq!(last, Some(WriteResult::Done));
                }
                s.leave(manager).unwrap();
            }
            for claimed in claimed {
                s.put(&claimed.key, ["a", "b"][round % 2], &format!("{seed} {round}")).unwrap();
            }
            longest = longest.max(begun.elapsed());
        }
        longest
    };
    let longest = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max()
    });
    assert!(longest < Some(LIMIT), "a round took {longest:?}");
    // The counts that triggers keep are right.
    let wrong = format!(
        "select from {schema}.kinds k where wanted <> (select count(*) from {schema}.units u \
         where u.kind = k.kind and desired = 'run' and not is_quarantined and not is_done)"
    );
    assert!(client(url).query(&wrong, &[]).unwrap().is_empty());
    assert_eq!(deadlocks(url), before);
}

/// How often the server had to resolve a deadlock.
fn deadlocks(url: &str) -> i64 {
    let sql = "select deadlocks from pg_stat_database where datname = current_database()";
    client(url).query_one(sql, &[]).unwrap().get(0)
}

/// The end of a lease and a claim of the same manager at the same time leave no unit behind.
#[test]
fn each_owner_is_registered() {
    const ROUNDS: usize = 60;
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut s = open(&table);
    for number in 0..20 {
        put(&mut *s, &format!("k{number}"));
    }
    let barrier = Barrier::new(2);
    let (managers, next) = mpsc::channel();
    let mut left = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut s = open(&table);
            for _ in 0..ROUNDS {
                let manager = register(&mut *s);
                managers.send(manager).unwrap();
                barrier.wait();
                while s.claim(manager, 1).is_ok_and(|claimed| !claimed.is_empty()) {}
                barrier.wait();
            }
        });
        for _ in 0..ROUNDS {
            let manager = next.recv().unwrap();
            barrier.wait();
            s.expire(manager).unwrap();
            barrier.wait();
            let owned = format!("select from {schema}.units where owner is not null");
            left.push(client(url).query(&owned, &[]).unwrap().len());
        }
    });
    assert_eq!(left, [0; ROUNDS], "units whose owner is not registered");
}

#[test]
fn a_claim_passes_over_units_that_are_locked() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut s = open(&table);
    let manager = register(&mut *s);
    for (key, crashes) in [("k", 0), ("more", 0), ("crashed", 2), ("crashed more", 2)] {
        put(&mut *s, key);
        let crash = format!("update {schema}.units set crashes = {crashes} where key = '{key}'");
        client(url).batch_execute(&crash).unwrap();
    }
    let mut blocker = client(url);
    let mut blocking = blocker.transaction().unwrap();
    let lock = format!("select from {schema}.units where key in ('k', 'crashed') for update");
    blocking.execute(&lock, &[]).unwrap();
    let claimed = s.claim(manager, 9).unwrap();
    let mut keys: Vec<&str> = claimed.iter().map(|claimed| &*claimed.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["crashed more", "more"]);
}
