//! [`ProcessInfo`]: one process of a snapshot.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use super::Edge;
use super::age::Age;
pub(super) use crate::value::name::nonempty;
use crate::value::text::Escaped;
use crate::value::work::StoredWork;
use crate::value::{BriefReason, Name, Phase, ProcessId, Reason, Site, Work};

/// One process of a [`Snapshot`](crate::Snapshot). Its fields are consistent with each other, except for its work,
/// which is read without a lock.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    pub(crate) id: ProcessId,
    pub(crate) site: Site,
    pub(crate) rest: Rest,
    pub(crate) closing_for: Age,
    pub(crate) aborting_for: Age,
    pub(crate) work_for: Age,
    /// The index of the first parent; none for the root, and for a process that was reached only along edges that do
    /// not close it.
    pub(crate) first_parent: Index,
    /// The index of its first edge. The edges of one process are next to each other.
    pub(crate) first_edge: Index,
    pub(crate) phase: Phase,
    pub(crate) aborting: bool,
    pub(crate) work: StoredWork,
    /// A reason that carries a value is stored in `rare`.
    pub(crate) reason: Option<BriefReason>,
}

// A large snapshot consists of these, and most of the time that it takes is spent on memory accesses.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<ProcessInfo>() == 64);

/// The name, and the fields that few processes need. They share their space, because most processes have only a name or
/// nothing at all.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    /// The name, if it has one of its own. The fields that few processes need are empty.
    Name(Option<Name>),
    Rare(Box<Rare>),
}

/// The fields that few processes need, and the name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    pub(crate) name: Option<Name>,
    pub(crate) reason: Option<Reason>,
    pub(crate) failed: bool,
    pub(crate) closing_children: bool,
    pub(crate) thread: Option<Arc<str>>,
    pub(crate) held_slots: Vec<HeldSlot>,
    /// How long the hooks that are being called for a failure of the process have taken.
    pub(crate) failure_hook_for: Option<Duration>,
}

impl Rare {
    /// The fields in a box, unless all of them, except perhaps the name, are empty.
    pub(crate) fn boxed(self) -> Rest {
        let Self { name: _, reason, failed, closing_children, thread, .. } = &self;
        let Self { held_slots, failure_hook_for, .. } = &self;
        let is_empty = reason.is_none() && thread.is_none() && held_slots.is_empty();
        match is_empty && failure_hook_for.is_none() && !failed && !closing_children {
            true => Rest::Name(self.name),
            false => Rest::Rare(Box::new(self)),
        }
    }
}

/// An optional index in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(u32);

impl Index {
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn get(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl From<u32> for Index {
    fn from(index: u32) -> Self {
        Self(index)
    }
}

/// A slot of a limiter that a caller holds, because it called [`acquire`](crate::Limited::acquire) and has not yet
/// spawned a child in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSlot {
    /// The place where it was requested.
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
        self.name_text().map(|name| &**name)
    }

    pub(super) fn name_text(&self) -> Option<&Name> {
        match &self.rest {
            Rest::Name(name) => name.as_ref(),
            Rest::Rare(rare) => rare.name.as_ref(),
        }
    }

    pub(crate) fn set_name(&mut self, name: Option<Name>) {
        match &mut self.rest {
            Rest::Name(own) => *own = name,
            Rest::Rare(rare) => rare.name = name,
        }
    }

    /// The fields that few processes need, unless they are empty.
    fn rare(&self) -> Option<&Rare> {
        match &self.rest {
            Rest::Name(_) => None,
            Rest::Rare(rare) => Some(rare),
        }
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

    /// Was it aborted?
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.aborting
    }

    /// Has its body, its teardown, or a child that it closes for failed?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.rare().is_some_and(|rare| rare.failed)
    }

    /// The reason for its closing. A Running process has one if it will close as soon as it waits for nothing.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.reason?.get().or_else(|| self.rare()?.reason.as_ref())
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

    /// The kind of code that it is running.
    #[must_use]
    pub fn work(&self) -> Work {
        self.works().next().map_or(Work::None, |(work, _)| work)
    }

    /// How long ago this work began.
    #[must_use]
    pub fn work_for(&self) -> Option<Duration> {
        self.works().next().and_then(|(_, work_for)| work_for)
    }

    /// All that it is running, and for how long. After its time limit, hooks may be called while its own code still
    /// runs.
    pub(super) fn works(&self) -> impl Iterator<Item = (Work, Option<Duration>)> + use<> {
        let own = Some((self.work.kind(), self.work_for.get()));
        let own = own.filter(|(work, _)| *work != Work::None);
        let hook_for = self.rare().and_then(|rare| rare.failure_hook_for);
        own.into_iter().chain(hook_for.map(|hook_for| (Work::FailureHook, Some(hook_for))))
    }

    /// The name of the thread that runs a blocking body or teardown.
    #[must_use]
    pub fn thread(&self) -> Option<&str> {
        self.thread_name().map(|name| &**name)
    }

    pub(super) fn thread_name(&self) -> Option<&Arc<str>> {
        self.rare()?.thread.as_ref()
    }

    /// Is it closing its children at this moment, so that they are missing from the snapshot?
    #[must_use]
    pub fn is_closing_children(&self) -> bool {
        self.rare().is_some_and(|rare| rare.closing_children)
    }

    /// The slots that callers hold without a child, if it limits the number of its children.
    #[must_use]
    pub fn held_slots(&self) -> &[HeldSlot] {
        self.rare().map_or(&[], |rare| &rare.held_slots)
    }

    #[cfg(test)]
    pub(super) fn set_reason(&mut self, reason: Reason) {
        self.reason = Some(BriefReason::from(&reason));
        self.rare_mut().reason = Some(reason);
    }

    #[cfg(test)]
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        if let Rest::Name(name) = &mut self.rest {
            self.rest = Rest::Rare(Box::new(Rare { name: name.take(), ..Rare::default() }));
        }
        match &mut self.rest {
            Rest::Rare(rare) => rare,
            Rest::Name(_) => unreachable!("it was replaced"),
        }
    }

    /// The name, or the site if the name is missing or empty.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match self.nonempty_name() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.site.to_string()),
        }
    }

    /// A Running process about which nothing else is known yet.
    #[cfg(test)]
    pub(super) fn new(id: ProcessId, site: Site) -> Self {
        Self {
            id,
            site,
            rest: Rest::Name(None),
            closing_for: None.into(),
            aborting_for: None.into(),
            work_for: None.into(),
            first_parent: Index::NONE,
            first_edge: Index::NONE,
            phase: Phase::Running,
            aborting: false,
            work: Work::None.into(),
            reason: None,
        }
    }

    /// The name, unless it is empty.
    pub(super) fn nonempty_name(&self) -> Option<&str> {
        nonempty(self.name())
    }

    /// The label as it is printed.
    pub(super) fn printed(&self) -> Printed<'_> {
        Printed { name: self.nonempty_name(), site: self.site }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Closed if self.has_failed() => State::Failed,
            Phase::Closed => State::Closed,
            Phase::Closing if self.aborting => State::Aborting,
            Phase::Closing => State::Closing,
            Phase::Running => State::Running,
        }
    }

    pub(super) fn edges_in<'a>(&self, edges: &'a [Edge]) -> &'a [Edge] {
        let Some(first) = self.first_edge.get() else { return &[] };
        let edges = &edges[first as usize..];
        let own = edges[0].from();
        let is_own = |edge: &Edge| edge.from() == own;
        // The range to search is at most twice as long as the list of its edges, so visiting all processes stays
        // linear.
        let mut end = 1;
        while edges.get(end).is_some_and(is_own) {
            end *= 2;
        }
        let edges = &edges[..end.min(edges.len())];
        &edges[..edges.partition_point(is_own)]
    }
}

/// Displays a label: the escaped name, or the site if there is no name.
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

/// The phase, refined: it also distinguishes aborted and failed processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It is Running.
    Running,
    /// It is Closing.
    Closing,
    /// It is Closing and was aborted.
    Aborting,
    /// It is Closed.
    Closed,
    /// It is Closed and has failed.
    Failed,
}

impl State {
    pub(super) const ALL: [Self; 5] =
        [Self::Running, Self::Closing, Self::Aborting, Self::Closed, Self::Failed];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Closing => "Closing",
            Self::Aborting => "Aborting",
            Self::Closed => "Closed",
            Self::Failed => "Failed",
        }
    }

    /// The symbol that is shown next to the word, because colour alone must not carry the meaning.
    #[must_use]
    pub fn glyph(self) -> char {
        match self {
            Self::Running => '●',
            Self::Closing => '◐',
            Self::Aborting => '▲',
            Self::Closed => '○',
            Self::Failed => '✕',
        }
    }
}
