//! [`ProcessInfo`]: one process of a snapshot.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use super::Edge;
use super::age::Age;
use crate::value::text::Escaped;
use crate::value::{Name, Phase, ProcessId, Reason, Site, Work};

/// One process of a [`Snapshot`](crate::Snapshot). Its fields are consistent with each other, except for its work,
/// which is read without a lock.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    pub(crate) id: ProcessId,
    pub(crate) name: Option<Name>,
    pub(crate) site: Site,
    pub(crate) phase: Phase,
    pub(crate) aborting: bool,
    pub(crate) failed: bool,
    pub(crate) reason: Option<Reason>,
    pub(crate) closing_for: Age,
    pub(crate) aborting_for: Age,
    pub(crate) work: Work,
    pub(crate) work_for: Age,
    pub(crate) closing_children: bool,
    pub(crate) rare: Option<Box<Rare>>,
    /// The index of the first parent; `None` for the root, and for a process that was reached only along edges that
    /// wait without closing.
    pub(crate) first_parent: Option<u32>,
    /// Its edges: the index of the first, and their number.
    pub(crate) edges: (u32, u32),
}

/// The fields that few processes have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    pub(crate) thread: Option<Arc<str>>,
    pub(crate) held_slots: Vec<HeldSlot>,
}

impl Rare {
    /// The fields, boxed if there are any.
    pub(crate) fn boxed(thread: Option<Arc<str>>, held_slots: Vec<HeldSlot>) -> Option<Box<Self>> {
        let is_empty = thread.is_none() && held_slots.is_empty();
        (!is_empty).then(|| Box::new(Self { thread, held_slots }))
    }
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
    /// The id.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// The name, if it has one of its own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was made.
    #[must_use]
    pub fn site(&self) -> Site {
        self.site
    }

    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Is or was it closed by force?
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.aborting
    }

    /// Has its body, its teardown, or a child that it closes for failed?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The reason why it closes; while it is Running, the reason why it will close as soon as it waits for nothing.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// How long ago it began to close.
    #[must_use]
    pub fn closing_for(&self) -> Option<Duration> {
        self.closing_for.get()
    }

    /// How long ago it was aborted, directly or together with a process above it.
    #[must_use]
    pub fn aborting_for(&self) -> Option<Duration> {
        self.aborting_for.get()
    }

    /// The code that it runs.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// How long ago this work began.
    #[must_use]
    pub fn work_for(&self) -> Option<Duration> {
        self.work_for.get()
    }

    /// The name of the thread that runs a blocking body or teardown.
    #[must_use]
    pub fn thread(&self) -> Option<&str> {
        self.thread_name().map(|name| &**name)
    }

    pub(super) fn thread_name(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.thread.as_ref()
    }

    /// Is the closing of its children under way, so that they are missing from the snapshot?
    #[must_use]
    pub fn is_closing_children(&self) -> bool {
        self.closing_children
    }

    /// The slots that no child holds, if it limits the number of its children.
    #[must_use]
    pub fn held_slots(&self) -> &[HeldSlot] {
        self.rare.as_ref().map_or(&[], |rare| &rare.held_slots)
    }

    #[cfg(test)]
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

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
            closing_for: None.into(),
            aborting_for: None.into(),
            work: Work::None,
            work_for: None.into(),
            closing_children: false,
            rare: None,
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
