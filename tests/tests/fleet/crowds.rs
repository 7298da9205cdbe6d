//! Many managers and many units at once.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use procession_supervisor::shared::{Registration, SharedTable, TableError};

use crate::places::on_both;

const MANAGERS: usize = 100;
const UNITS: usize = 10_000;
/// As a manager's own thread does.
const BATCH: usize = 500;

/// What one manager has claimed, and how long its slowest call took.
struct Claims {
    keys: Vec<String>,
    slowest: Duration,
    busy: usize,
}

#[test]
fn a_hundred_managers_claim_ten_thousand_units_at_once_and_each_unit_once() {
    on_both(|place| {
        let table = place.table();
        let mut session = table.open().unwrap();
        for number in 0..UNITS {
            session.put(&format!("unit-{number:05}"), "fleet", "idle").unwrap();
        }
        let (barrier, begun) = (Barrier::new(MANAGERS), Instant::now());
        let claims: Vec<Claims> = thread::scope(|scope| {
            let managers: Vec<_> =
                (0..MANAGERS).map(|_| scope.spawn(|| claim(&*table, &barrier))).collect();
            managers.into_iter().map(|manager| manager.join().unwrap()).collect()
        });
        let took = begun.elapsed();
        let slowest = claims.iter().map(|claims| claims.slowest).max().unwrap();
        let busy: usize = claims.iter().map(|claims| claims.busy).sum();
        let most = claims.iter().map(|claims| claims.keys.len()).max().unwrap();
        let keys: Vec<String> = claims.into_iter().flat_map(|claims| claims.keys).collect();
        let store = if place.is_sqlite() { "SQLite" } else { "PostgreSQL" };
        println!("{store}: {took:?} for all; the slowest call took {slowest:?}; most {most}");
        assert_eq!(keys.len(), UNITS);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), UNITS);
        // ⌈10,000 ÷ 100⌉ + 1
        assert!(most <= 101);
        assert_eq!(busy, 0, "no call fails");
        assert!(place.is_sqlite() || slowest < Duration::from_secs(1), "{slowest:?}");
    });
}

/// Registers a manager, and claims its share as a manager does.
fn claim(table: &dyn SharedTable, barrier: &Barrier) -> Claims {
    let mut session = table.open().unwrap();
    let mut claims = Claims { keys: Vec::new(), slowest: Duration::ZERO, busy: 0 };
    let registration = Registration {
        name: "crowd".to_owned(),
        kinds: vec!["fleet".to_owned()],
        ttl: Duration::from_secs(600),
        previous: None,
    };
    let manager = session.register(&registration).unwrap().manager;
    barrier.wait();
    loop {
        let share = claims.time(|| session.share(manager)).unwrap_or_default();
        if !share.has_free && share.units > 0 {
            return claims;
        }
        let fair = share.units.div_ceil(share.managers.max(1)) + 1;
        let left = fair.saturating_sub(share.owned).min(BATCH);
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
        self.busy += usize::from(result.is_err());
        result.ok()
    }
}
