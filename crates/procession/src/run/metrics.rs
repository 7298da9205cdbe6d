//! Numbers for the facade of the crate `metrics`.
//!
//! | name | kind | label | unit | meaning |
//! |---|---|---|---|---|
//! | `procession_processes` | gauge | `phase`: `running`, `closing` | processes | processes in this phase |
//! | `procession_closing_seconds` | histogram | – | seconds | the time that a process was Closing |
//! | `procession_failures_total` | counter | – | failures | bodies, teardowns and time limits that failed |
//!
//! No label is a name, a path, a key or the text of an error. Under the node's lock, only the library's own counters
//! change, so the gauges and the counter are right even if events are missed. The recorder is foreign code, and is
//! called by the thread that calls the hooks. The background process is Running once it is used.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use ::metrics::{gauge, histogram};
use once_cell::sync::OnceCell;

use super::Held;
use crate::state::Happening;
use crate::value::Error;

const PROCESSES: &str = "procession_processes";
const CLOSING: &str = "procession_closing_seconds";
const FAILURES: &str = "procession_failures_total";

// Relaxed: each is a number on its own.
static RUNNING_NOW: AtomicI64 = AtomicI64::new(0);
static CLOSING_NOW: AtomicI64 = AtomicI64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Counts an event, under the node's lock.
pub(super) fn count(what: &Happening<Held>) {
    let add = |number: &AtomicI64, change| {
        number.fetch_add(change, Ordering::Relaxed);
    };
    match what {
        Happening::Made => add(&RUNNING_NOW, 1),
        Happening::Closing(_) => {
            add(&RUNNING_NOW, -1);
            add(&CLOSING_NOW, 1);
        }
        Happening::Closed { .. } => add(&CLOSING_NOW, -1),
        Happening::Failed(failure) if !failure.is(|error| matches!(error, Error::Aborted(_))) => {
            FAILED.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    }
}

/// Gives the recorder the numbers.
pub(super) fn publish<'a>(events: impl Iterator<Item = &'a Happening<Held>>) {
    static DESCRIBED: OnceCell<()> = OnceCell::new();
    DESCRIBED.get_or_init(describe);
    let gauges = [("running", &RUNNING_NOW), ("closing", &CLOSING_NOW)];
    for (phase, number) in gauges {
        gauge!(PROCESSES, "phase" => phase).set(number.load(Ordering::Relaxed) as f64);
    }
    counter!(FAILURES).absolute(FAILED.load(Ordering::Relaxed));
    let times = histogram!(CLOSING);
    for what in events {
        if let Happening::Closed { closing_millis, .. } = what {
            times.record(f64::from(*closing_millis) / 1000.0);
        }
    }
}

fn describe() {
    describe_gauge!(PROCESSES, Unit::Count, "Processes that are open, by phase.");
    describe_histogram!(CLOSING, Unit::Seconds, "How long a process was Closing.");
    describe_counter!(FAILURES, Unit::Count, "Bodies, teardowns and time limits that failed.");
}
