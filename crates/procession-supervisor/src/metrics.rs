//! Publishes metrics through the facade crate `metrics`.
//!
//! | name | kind | label | meaning |
//! |---|---|---|---|
//! | `procession_units` | gauge | `state`: `starting`, `running`, `stopping`, `stuck`, `waiting`, `ended`, `idle` | units in this group of states |
//! | `procession_restarts_total` | counter | – | restarts of units after their own end |
//!
//! No label is a name, a key or the text of an error. The recorder is foreign code, so the task calls it with no lock
//! held; under the lock of the units, only the library's own counters change.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use once_cell::sync::OnceCell;
use procession::support::catch;

use crate::status::Counts;

const UNITS: &str = "procession_units";
const RESTARTS: &str = "procession_restarts_total";
const STATES: [&str; 7] = ["starting", "running", "stopping", "stuck", "waiting", "ended", "idle"];

// Relaxed is enough, because each number is independent.
static NOW: [AtomicI64; STATES.len()] = [const { AtomicI64::new(0) }; STATES.len()];
static RESTARTED: AtomicU64 = AtomicU64::new(0);

/// Counts a unit that will be restarted after its own end.
pub(crate) fn count_restart() {
    RESTARTED.fetch_add(1, Ordering::Relaxed);
}

/// The numbers that one run of a manager or a set has added to the totals. Its drop subtracts them.
#[derive(Default)]
pub(crate) struct Added(Counts);

impl Added {
    /// Publishes the totals if the numbers of this manager or set have changed.
    pub(crate) fn publish(&mut self, counts: Counts) {
        if counts == self.0 {
            return;
        }
        let (before, after) = (groups(&self.0), groups(&counts));
        self.0 = counts;
        for (total, (before, after)) in NOW.iter().zip(before.into_iter().zip(after)) {
            total.fetch_add(after as i64 - before as i64, Ordering::Relaxed);
        }
        // A panic of the recorder has no effect here.
        let _recorded = catch(record);
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        self.publish(Counts::default());
    }
}

fn groups(counts: &Counts) -> [usize; STATES.len()] {
    let Counts { starting, running, stopping, stuck, waiting, ended, idle, .. } = *counts;
    [starting, running, stopping, stuck, waiting, ended, idle]
}

fn record() {
    static DESCRIBED: OnceCell<()> = OnceCell::new();
    DESCRIBED.get_or_init(|| {
        describe_gauge!(UNITS, Unit::Count, "Units of managers and sets, by state.");
        describe_counter!(RESTARTS, Unit::Count, "Restarts of units after their own end.");
    });
    for (state, total) in STATES.into_iter().zip(&NOW) {
        gauge!(UNITS, "state" => state).set(total.load(Ordering::Relaxed) as f64);
    }
    counter!(RESTARTS).absolute(RESTARTED.load(Ordering::Relaxed));
}
