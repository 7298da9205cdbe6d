//! [`ProcessInfo`]: one process of a snapshot.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use super::facts::{Facts, HeldSlot, Rare};
use super::index::Index;
pub(super) use crate::value::name::nonempty;
use crate::value::text::Escaped;
use crate::value::{Phase, ProcessId, Reason, Site, Work};

/// One process of a [`Snapshot`](crate::Snapshot). Its facts are consistent with each other, except for its work, which
/// is read without a lock.
#[derive(Clone, Copy, Debug)]
pub struct ProcessInfo<'a> {
    pub(super) id: ProcessId,
    pub(super) first_parent: Index,
    pub(super) facts: &'a Facts,
}

impl<'a> ProcessInfo<'a> {
    /// A process that is in no snapshot.
    pub(crate) fn alone(id: ProcessId, facts: &'a Facts) -> Self {
        Self { id, first_parent: facts.first_parent, facts }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// The name, if it has one of its own.
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        self.facts.name.as_deref()
    }

    /// The facts that few processes need, unless they are empty.
    fn rare(&self) -> Option<&'a Rare> {
        self.facts.rare.as_deref()
    }

    /// Where it was made.
    #[must_use]
    pub fn site(&self) -> Site {
        self.facts.site
    }

    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.facts.phase
    }

    /// Was it aborted?
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.facts.aborting
    }

    /// Has its body, its teardown, or a child that it closes for failed?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.rare().is_some_and(|rare| rare.failed)
    }

    /// The reason for its closing. A Running process has one if it will close as soon as it waits for nothing.
    #[must_use]
    pub fn reason(&self) -> Option<&'a Reason> {
        self.facts.reason?.get().or_else(|| self.rare()?.reason.as_ref())
    }

    /// How long ago it began to close.
    #[must_use]
    pub fn closing_for(&self) -> Option<Duration> {
        self.facts.closing_for.get()
    }

    /// How long ago it was aborted, directly or together with a process above it.
    #[must_use]
    pub fn aborting_for(&self) -> Option<Duration> {
        self.facts.aborting_for.get()
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
        let own = Some((self.facts.work.kind(), self.facts.work_for.get()));
        let own = own.filter(|(work, _)| *work != Work::None);
        let hook_for = self.rare().and_then(|rare| rare.failure_hook_for);
        own.into_iter().chain(hook_for.map(|hook_for| (Work::FailureHook, Some(hook_for))))
    }

    /// The name of the thread that runs a blocking body or teardown.
    #[must_use]
    pub fn thread(&self) -> Option<&'a str> {
        self.thread_name().map(|name| &**name)
    }

    pub(super) fn thread_name(&self) -> Option<&'a Arc<str>> {
        self.rare()?.thread.as_ref()
    }

    /// Is it closing its children at this moment, so that they are missing from the snapshot?
    #[must_use]
    pub fn is_closing_children(&self) -> bool {
        self.rare().is_some_and(|rare| rare.closing_children)
    }

    /// The slots that callers hold without a child, if it limits the number of its children.
    #[must_use]
    pub fn held_slots(&self) -> &'a [HeldSlot] {
        self.rare().map_or(&[], |rare| &rare.held_slots)
    }

    /// The name, or the site if the name is missing or empty.
    #[must_use]
    pub fn label(&self) -> Cow<'a, str> {
        match self.nonempty_name() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.site().to_string()),
        }
    }

    /// The name, unless it is empty.
    pub(super) fn nonempty_name(&self) -> Option<&'a str> {
        nonempty(self.name())
    }

    /// The label as it is printed.
    pub(super) fn printed(&self) -> Printed<'a> {
        Printed { name: self.nonempty_name(), site: self.site() }
    }

    pub(super) fn state(&self) -> State {
        match self.phase() {
            Phase::Closed if self.has_failed() => State::Failed,
            Phase::Closed => State::Closed,
            Phase::Closing if self.is_aborting() => State::Aborting,
            Phase::Closing => State::Closing,
            Phase::Running => State::Running,
        }
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
