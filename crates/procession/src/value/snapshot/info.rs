//! [`ProcessInfo`]: one process of a snapshot.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use super::Edge;
use crate::value::text::Escaped;
use crate::value::{Phase, ProcessId, Reason, Site, Work};

/// One process of a [`Snapshot`](crate::Snapshot). Its fields are consistent with each other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The id.
    pub id: ProcessId,
    /// The name, if it has one of its own.
    pub name: Option<Arc<str>>,
    /// Where it was made.
    pub site: Site,
    /// The phase.
    pub phase: Phase,
    /// Is or was it closed by force?
    pub aborting: bool,
    /// Has its body or its teardown failed, or a child that it closes for?
    pub failed: bool,
    /// Why it closes; while it is Running, why it will close as soon as it waits for nothing.
    pub reason: Option<Reason>,
    /// How long ago it began to close.
    pub closing_for: Option<Duration>,
    /// How long ago it was aborted, itself or with a process above it.
    pub aborting_for: Option<Duration>,
    /// The code that it runs.
    pub work: Work,
    /// How long ago this work began.
    pub work_for: Option<Duration>,
    /// The name of the thread that runs a blocking body or teardown.
    pub thread: Option<Arc<str>>,
    /// Is the closing of its children under way, so that they are missing in the snapshot?
    pub closing_children: bool,
    /// The slots that are held by no child, if it limits the number of its children.
    pub held_slots: Vec<HeldSlot>,
    /// The index of the first parent; `None` for the root, and for a process that only waits of others have led to.
    pub(crate) first_parent: Option<u32>,
    /// Its edges: the index of the first, and their number.
    pub(crate) edges: (u32, u32),
}

/// A slot of a limiter that was taken by [`acquire`](crate::Limited::acquire) and is not used by a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSlot {
    /// Where it was asked for.
    pub site: Site,
    /// How long it has been held.
    pub held_for: Duration,
}

impl ProcessInfo {
    /// The name if it has one that is not empty, otherwise the site.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match self.proper_name() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.site.to_string()),
        }
    }

    /// A Running process about which nothing else is known yet.
    #[cfg(test)]
    pub(super) fn new(id: ProcessId, site: Site) -> Self {
        Self {
            id,
            name: None,
            site,
            phase: Phase::Running,
            aborting: false,
            failed: false,
            reason: None,
            closing_for: None,
            aborting_for: None,
            work: Work::None,
            work_for: None,
            thread: None,
            closing_children: false,
            held_slots: Vec::new(),
            first_parent: None,
            edges: (0, 0),
        }
    }

    /// The name if it has one that is not empty.
    pub(super) fn proper_name(&self) -> Option<&str> {
        proper(self.name.as_deref())
    }

    /// The label as it is printed.
    pub(super) fn printed(&self) -> Printed<'_> {
        Printed { name: self.proper_name(), site: self.site }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Closed if self.failed => State::Failed,
            Phase::Closed => State::Closed,
            Phase::Closing if self.aborting => State::Aborting,
            Phase::Closing => State::Closing,
            Phase::Running => State::Running,
        }
    }

    pub(super) fn edges_in<'a>(&self, edges: &'a [Edge]) -> &'a [Edge] {
        let (first, number) = self.edges;
        &edges[first as usize..][..number as usize]
    }
}

/// A label: the name, which is escaped, or else the site.
#[derive(Clone, Copy)]
pub(super) struct Printed<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) site: Site,
}

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => Escaped::name(name).fmt(f),
            None => self.site.fmt(f),
        }
    }
}

/// An empty name says less than the site.
pub(super) fn proper(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.is_empty())
}

/// The phase, refined by whether the process was aborted or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    Running,
    Closing,
    Aborting,
    Closed,
    Failed,
}

impl State {
    pub(super) const ALL: [Self; 5] =
        [Self::Running, Self::Closing, Self::Aborting, Self::Closed, Self::Failed];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Closing => "Closing",
            Self::Aborting => "Aborting",
            Self::Closed => "Closed",
            Self::Failed => "Failed",
        }
    }

    /// The sign that stands for it next to the word, because colours alone are not enough.
    pub(super) fn glyph(self) -> char {
        match self {
            Self::Running => '●',
            Self::Closing => '◐',
            Self::Aborting => '▲',
            Self::Closed => '○',
            Self::Failed => '✕',
        }
    }
}
