//! [`History`]: the events of one process, taken from the events of a tree.

use std::collections::HashMap;
use std::time::Instant;

use procession::{Error, Event, EventKind, Label, ProcessId};

/// The events of one process, in their order.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) id: ProcessId,
    pub(crate) name: Option<String>,
    /// The label when the process was made, because a Closed process has no parents any more.
    pub(crate) label: Label,
    pub(crate) path: String,
    pub(crate) site: String,
    pub(crate) steps: Vec<(Instant, Step)>,
    /// The error of the outcome.
    pub(crate) error: Option<Error>,
}

/// A step of a process. They are sorted in the order in which they must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Made,
    Closing,
    TeardownQueued,
    TeardownStarted,
    TeardownEnded,
    Closed,
}

impl History {
    pub(crate) fn at(&self, step: Step) -> Option<Instant> {
        self.steps.iter().find(|(_, other)| *other == step).map(|(at, _)| *at)
    }

    pub(crate) fn count(&self, step: Step) -> usize {
        self.steps.iter().filter(|(_, other)| *other == step).count()
    }

    pub(crate) fn has_teardown(&self) -> bool {
        self.count(Step::TeardownQueued) > 0
    }

    /// When its teardown started or, without a teardown, when it became Closed.
    pub(crate) fn began_to_end(&self) -> Option<Instant> {
        self.at(Step::TeardownStarted).or_else(|| self.at(Step::Closed))
    }

    /// Was the process open at this time?
    pub(crate) fn is_open_at(&self, at: Instant) -> bool {
        let was_made = self.at(Step::Made).is_none_or(|made| made <= at);
        was_made && self.at(Step::Closed).is_none_or(|closed| at < closed)
    }

    /// Is this its name or its path?
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) || self.path == name
    }

    /// The process as the messages of a sweep show it.
    pub(crate) fn shown(&self) -> String {
        format!("`{}` ({})", self.path, self.site)
    }
}

/// The histories in these events. If an id is used again, a new history begins.
pub(crate) fn of(events: &[Event]) -> Vec<History> {
    let mut histories: Vec<History> = Vec::new();
    // The index of the last history of each id.
    let mut last = HashMap::new();
    for event in events {
        let is_new = matches!(event.kind(), EventKind::Made) || !last.contains_key(&event.id());
        if is_new {
            last.insert(event.id(), histories.len());
            histories.push(History {
                id: event.id(),
                name: event.name().map(Into::into),
                path: event.path(),
                label: event.label(),
                site: event.site().to_string(),
                steps: Vec::new(),
                error: None,
            });
        }
        let history = &mut histories[last[&event.id()]];
        let step = match event.kind() {
            EventKind::Made => Step::Made,
            EventKind::Closing(_) => Step::Closing,
            EventKind::TeardownQueued => Step::TeardownQueued,
            EventKind::TeardownStarted => Step::TeardownStarted,
            EventKind::TeardownEnded => Step::TeardownEnded,
            EventKind::Closed { outcome, .. } => {
                history.error = outcome.clone().err();
                Step::Closed
            }
            _ => continue,
        };
        history.steps.push((event.at(), step));
    }
    histories
}
