//! The state machine without the layers above it, for tests. Its nodes hold plain values.

use std::sync::Arc;

use super::contents::Contents;
use super::contents::{NodeEvent, ObservedEvent};
use super::node;
use crate::value::Label;
use crate::value::sync::Mutex;

/// An observer that records the events that it receives.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Arc<Mutex<Vec<String>>>);

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn words(event: &NodeEvent<Plain>) -> &'static [&'static str] {
    match event {
        NodeEvent::Made => &["made"],
        NodeEvent::Closing(_) => &["closing"],
        NodeEvent::Aborting => &["aborting"],
        NodeEvent::BodyEnded => &["body ended"],
        NodeEvent::TeardownQueued => &["teardown queued"],
        NodeEvent::TeardownStarted => &["teardown started"],
        NodeEvent::TeardownEnded => &["teardown ended"],
        NodeEvent::Failed(_) => &["failed"],
        NodeEvent::Closed { .. } => &["closed"],
        NodeEvent::ClosedAtOnce(_) => &["closing", "closed"],
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

    fn observe(observer: &Log, event: ObservedEvent<'_, Self>) {
        let name = event.named.and_then(|named| named.name()).map_or("?", |name| &**name);
        let words = words(&event.event).iter();
        observer.0.lock().extend(words.map(|word| format!("{name} {word}")));
    }

    fn is_of_program(_observer: &Log) -> bool {
        false
    }
}

pub(super) type Node = node::Node<Plain>;
