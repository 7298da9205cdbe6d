//! [`Life`]: what happened to one process, from the events of a run.

use std::time::Instant;

use procession::{Error, Event, EventKind, ProcessId};

/// What happened to one process, in the order in which it happened.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) id: ProcessId,
    pub(super) path: String,
    pub(super) site: String,
    pub(super) steps: Vec<(Instant, Step)>,
    /// The error of the outcome.
    pub(super) error: Option<Error>,
}

/// A step in the life of a process, in the order in which they must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Made,
    Closing,
    TeardownQueued,
    TeardownStarted,
    TeardownEnded,
    Closed,
}

impl Life {
    pub(super) fn at(&self, step: Step) -> Option<Instant> {
        self.steps.iter().find(|(_, other)| *other == step).map(|(at, _)| *at)
    }

    pub(super) fn count(&self, step: Step) -> usize {
        self.steps.iter().filter(|(_, other)| *other == step).count()
    }

    pub(super) fn has_teardown(&self) -> bool {
        self.count(Step::TeardownQueued) > 0
    }

    /// Was it open at this time?
    pub(super) fn is_open_at(&self, at: Instant) -> bool {
        let was_made = self.at(Step::Made).is_none_or(|made| made <= at);
        was_made && self.at(Step::Closed).is_none_or(|closed| at < closed)
    }

    /// How messages name it.
    pub(super) fn name(&self) -> String {
        format!("`{}` ({})", self.path, self.site)
    }
}

/// The lives in these events. An id that is used again begins a new life.
pub(super) fn of(events: &[Event]) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    // By id, the last life.
    let mut last = std::collections::HashMap::new();
    for event in events {
        let is_new = matches!(event.kind(), EventKind::Made) || !last.contains_key(&event.id());
        if is_new {
            last.insert(event.id(), lives.len());
            lives.push(Life {
                id: event.id(),
                path: event.path(),
                site: event.site().to_string(),
                steps: Vec::new(),
                error: None,
            });
        }
        let life = &mut lives[last[&event.id()]];
        let step = match event.kind() {
            EventKind::Made => Step::Made,
            EventKind::Closing(_) => Step::Closing,
            EventKind::TeardownQueued => Step::TeardownQueued,
            EventKind::TeardownStarted => Step::TeardownStarted,
            EventKind::TeardownEnded => Step::TeardownEnded,
            EventKind::Closed { outcome, .. } => {
                life.error = outcome.clone().err();
                Step::Closed
            }
            _ => continue,
        };
        life.steps.push((event.at(), step));
    }
    lives
}
