//! Numbers for the facade crate `metrics`.
//!
//! | name | kind | label | unit | meaning |
//! |---|---|---|---|---|
//! | `procession_processes` | gauge | `phase`: `running`, `closing` | processes | processes in this phase |
//! | `procession_closing_seconds` | histogram | – | seconds | the time that a process was Closing |
//! | `procession_failures_total` | counter | – | failures | bodies, teardowns and time limits that failed |
//!
//! No label is a name, a path, a key or the text of an error. Under a node's lock, only counters of the library change,
//! so the gauges and the counter are right even if events are missed. The recorder is foreign code, so it is called by
//! the thread that calls the hooks. Once it is used, the background process counts as Running.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use ::metrics::{gauge, histogram};
use once_cell::sync::OnceCell;

use super::NodeContents;
use crate::state::NodeEvent;
use crate::value::Error;

const PROCESSES: &str = "procession_processes";
const CLOSING: &str = "procession_closing_seconds";
const FAILURES: &str = "procession_failures_total";

// Relaxed, because each number is independent of the others.
static RUNNING_NOW: AtomicI64 = AtomicI64::new(0);
static CLOSING_NOW: AtomicI64 = AtomicI64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Counts an event, under the node's lock.
pub(super) fn count(event: &NodeEvent<NodeContents>) {
    let add = |number: &AtomicI64, change| {
        number.fetch_add(change, Ordering::Relaxed);
    };
    match event {
        NodeEvent::Made => add(&RUNNING_NOW, 1),
        NodeEvent::Closing(_) => {
            add(&RUNNING_NOW, -1);
            add(&CLOSING_NOW, 1);
        }
        NodeEvent::Closed { .. } => add(&CLOSING_NOW, -1),
        NodeEvent::ClosedAtOnce(_) => add(&RUNNING_NOW, -1),
        NodeEvent::Failed(failure) if !failure.is(|error| matches!(error, Error::Aborted(_))) => {
            FAILED.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    }
}

/// Passes the numbers to the recorder.
pub(super) fn publish<'a>(events: impl Iterator<Item = &'a NodeEvent<NodeContents>>) {
    static DESCRIBED: OnceCell<()> = OnceCell::new();
    DESCRIBED.get_or_init(describe);
    let gauges = [("running", &RUNNING_NOW), ("closing", &CLOSING_NOW)];
    for (phase, number) in gauges {
        gauge!(PROCESSES, "phase" => phase).set(number.load(Ordering::Relaxed) as f64);
    }
    counter!(FAILURES).absolute(FAILED.load(Ordering::Relaxed));
    let times = histogram!(CLOSING);
    for event in events {
        match event {
            NodeEvent::Closed { closing_millis, .. } => {
                times.record(f64::from(*closing_millis) / 1000.0);
            }
            NodeEvent::ClosedAtOnce(_) => times.record(0.0),
            _ => {}
        }
    }
}

fn describe() {
    describe_gauge!(PROCESSES, Unit::Count, "Processes that are open, by phase.");
    describe_histogram!(CLOSING, Unit::Seconds, "How long a process was Closing.");
    describe_counter!(FAILURES, Unit::Count, "Bodies, teardowns and time limits that failed.");
}
