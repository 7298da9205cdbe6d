//! Many managers and many units at once.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use procession_supervisor::shared::{Registration, SharedTable, TableError};
use procession_test_postgres::{Cluster, binaries};

use crate::places::Place;

const MANAGERS: usize = 100;
const UNITS: usize = 10_000;
/// As a manager's own thread does.
const BATCH: usize = 500;

/// What one manager has claimed, and how long its slowest call took.
struct Claims {
    keys: Vec<String>,
    slowest: Duration,
    failures: usize,
}

/// How long all claims took, to be printed.
#[derive(Debug)]
#[expect(dead_code, reason = "it is only printed")]
struct Crowd {
    took: Duration,
    slowest_call: Duration,
}

#[test]
fn a_hundred_managers_claim_ten_thousand_units_of_a_file_at_once_and_each_unit_once() {
    let place = Place::sqlite();
    let claims = claim_all(&*place.table());
    println!("SQLite: {claims:?}");
}

/// How long a call takes depends on the machine, on which the managers compete with each other and with other tests. A
/// wait for a row depends on the statements alone, and the server logs those that take longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[test]
fn a_hundred_managers_claim_ten_thousand_units_of_a_database_at_once_and_no_statement_waits_long() {
    let Some(binaries) = binaries() else { return };
    let wait = format!("deadlock_timeout={}ms", LONGEST_WAIT.as_millis());
    let cluster = Cluster::start(binaries, &["fsync=off", "log_lock_waits=on", &wait]);
    let place = Place::postgres_on(cluster.url());
    let claims = claim_all(&*place.table());
    println!("PostgreSQL: {claims:?}");
    assert_eq!(waits_for_rows(&cluster), [""; 0]);

    // The log shows a wait.
    let [mut first, mut second] = [(); 2].map(|()| Client::connect(cluster.url(), NoTls).unwrap());
    first.batch_execute("create table control as select 1 as one").unwrap();
    first.batch_execute("begin; select from control for update").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| second.batch_execute("select from control for update").unwrap());
        let begun = Instant::now();
        while waits_for_rows(&cluster).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no wait is logged");
            thread::sleep(Duration::from_millis(20));
        }
        drop(first);
    });
}

/// The lines of the log about long waits for a row, which are waits for the transaction that has locked it, or for a
/// place in the queue of those who want to lock it.
fn waits_for_rows(cluster: &Cluster) -> Vec<String> {
    let log = fs::read_to_string(cluster.log()).unwrap();
    let is_wait = |line: &&str| {
        line.contains("still waiting for")
            && (line.contains("on transaction") || line.contains("on tuple"))
    };
    log.lines().filter(is_wait).map(str::to_owned).collect()
}

/// Lets all managers claim all units, and checks that each unit is claimed once, that no manager takes more than its
/// share, and that no call fails.
fn claim_all(table: &dyn SharedTable) -> Crowd {
    let mut session = table.open().unwrap();
    for number in 0..UNITS {
        session.put(&format!("unit-{number:05}"), "fleet", "idle").unwrap();
    }
    let barrier = Barrier::new(MANAGERS + 1);
    let (claims, took) = thread::scope(|scope| {
        let managers: Vec<_> =
            (0..MANAGERS).map(|_| scope.spawn(|| claim(table, &barrier))).collect();
        barrier.wait();
        let begun = Instant::now();
        let claims: Vec<Claims> =
            managers.into_iter().map(|manager| manager.join().unwrap()).collect();
        (claims, begun.elapsed())
    });
    let slowest_call = claims.iter().map(|claims| claims.slowest).max().unwrap();
    assert!(claims.iter().all(|claims| claims.keys.len() == UNITS / MANAGERS));
    assert_eq!(claims.iter().map(|claims| claims.failures).sum::<usize>(), 0);
    let keys: BTreeSet<String> = claims.into_iter().flat_map(|claims| claims.keys).collect();
    assert_eq!(keys.len(), UNITS);
    Crowd { took, slowest_call }
}

/// Registers a manager, and claims its share as a manager does.
fn claim(table: &dyn SharedTable, barrier: &Barrier) -> Claims {
    let mut session = table.open().unwrap();
    let mut claims = Claims { keys: Vec::new(), slowest: Duration::ZERO, failures: 0 };
    let registration = Registration::new("crowd", ["fleet"], Duration::from_secs(600));
    let manager = session.register(&registration).unwrap().manager;
    barrier.wait();
    loop {
        let share = claims.time(|| session.share(manager)).unwrap_or_default();
        if !share.has_free && share.fair > 0 {
            return claims;
        }
        let left = share.fair.saturating_sub(share.owned).min(BATCH);
        let claimed = claims.time(|| session.claim(manager, left)).unwrap_or_default();
        claims.keys.extend(claimed.into_iter().map(|row| row.key));
        let _changed = session.wait_for_change(Duration::from_millis(20));
    }
}

impl Claims {
    fn time<T>(&mut self, call: impl FnOnce() -> Result<T, TableError>) -> Option<T> {
        let begun = Instant::now();
        let result = call();
        self.slowest = self.slowest.max(begun.elapsed());
        self.failures += usize::from(result.is_err());
        result.ok()
    }
}
