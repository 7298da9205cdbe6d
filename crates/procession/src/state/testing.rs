//! The state machine without the layers above it, for tests: its nodes hold plain values.

use std::sync::Arc;

use super::contents::Contents;
use super::contents::{Happening, Seen};
use super::node;
use crate::value::Label;
use crate::value::sync::Mutex;

/// An observer that writes down the events that it is told.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Arc<Mutex<Vec<String>>>);

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn word(what: &Happening<Plain>) -> &'static str {
    match what {
        Happening::Made => "made",
        Happening::Closing(_) => "closing",
        Happening::Aborting => "aborting",
        Happening::BodyEnded => "body ended",
        Happening::TeardownQueued => "teardown queued",
        Happening::TeardownStarted => "teardown started",
        Happening::TeardownEnded => "teardown ended",
        Happening::Failed(_) => "failed",
        Happening::Closed { .. } => "closed",
    }
}

/// Teardowns, errors and hooks that are only names.
pub(super) enum Plain {}

impl Contents for Plain {
    type Spawner = ();
    type Teardown = &'static str;
    type Failure = String;
    type Hook = &'static str;
    type Observer = Log;
    type Report = ();
    #[cfg(all(feature = "tokio-util", not(loom)))]
    type Token = ();

    fn is_blocking(_teardown: &&'static str) -> bool {
        true
    }

    fn failed_calls(
        _process: Label,
        calls: usize,
        failed: usize,
        first: String,
        last: String,
    ) -> String {
        format!("{failed} of {calls}: {first}, {last}")
    }

    fn merge(failures: Vec<String>) -> String {
        failures.join(", ")
    }

    fn observe(observer: &Log, seen: Seen<'_, Self>) {
        let name = seen.named.and_then(|named| named.name()).map_or("?", |name| &**name);
        observer.0.lock().push(format!("{name} {}", word(&seen.what)));
    }

    fn is_of_program(_observer: &Log) -> bool {
        false
    }
}

pub(super) type Node = node::Node<Plain>;
