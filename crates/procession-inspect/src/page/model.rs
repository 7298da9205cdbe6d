//! The values that the page shows, as they are written as JSON: version 1, described by `schemas/inspect-1.json`.
//!
//! A field that is removed or changes its meaning makes a new version. Readers ignore fields, kinds and events that
//! they do not know. Durations are whole milliseconds. A [`Key`] is a serial number of the inspector: a `ProcessId` is
//! an address, and is never written.

use serde::Serialize;

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// Everything that a page shows for one query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Frame {
    pub(crate) v: u32,
    /// The number of the frame in its stream; `None` outside of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    pub(crate) at: At,
    pub(crate) program: Program,
    pub(crate) view: View,
    pub(crate) summary: Summary,
    pub(crate) blockers: Vec<Blocker>,
    /// The number of blockers that are neither listed nor folded into one that is.
    pub(crate) blockers_more: usize,
    /// The newest first.
    pub(crate) failures: Vec<Failure>,
    /// The number of older failures that are not listed.
    pub(crate) failures_dropped: u64,
    pub(crate) rows: Vec<Row>,
    /// The managers and their units: those that need attention first. Both only if the query asks for them.
    pub(crate) managers: Vec<Manager>,
    pub(crate) units: Vec<Unit>,
}

/// The difference between a frame and the one before it. A row that is not in `set` stays, and its ages grow by the
/// time between the frames.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Patch {
    pub(crate) v: u32,
    pub(crate) seq: u64,
    pub(crate) base: u64,
    pub(crate) at: At,
    pub(crate) view: View,
    pub(crate) summary: Summary,
    pub(crate) blockers: Vec<Blocker>,
    pub(crate) blockers_more: usize,
    /// `None` if they have not changed.
    pub(crate) failures: Option<Vec<Failure>>,
    pub(crate) failures_dropped: u64,
    pub(crate) set: Vec<Row>,
    pub(crate) del: Vec<Key>,
    /// All keys, if their order is not that of the rows that stay.
    pub(crate) order: Option<Vec<Key>>,
    /// `None` if they have not changed.
    pub(crate) managers: Option<Vec<Manager>>,
    pub(crate) units: Option<Vec<Unit>>,
}

/// A manager or a set of units, and the number of its units in each group of states.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Manager {
    pub(crate) name: String,
    /// Of a manager that shares its units with other programs.
    pub(crate) owner: Option<Owner>,
    pub(crate) units: usize,
    pub(crate) starting: usize,
    pub(crate) running: usize,
    pub(crate) stopping: usize,
    pub(crate) stuck: usize,
    pub(crate) waiting: usize,
    pub(crate) ended: usize,
    pub(crate) idle: usize,
}

/// Who owns the units of a shared manager.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Owner {
    pub(crate) program: String,
    /// `None` before its first registration.
    pub(crate) manager: Option<u64>,
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Unit {
    /// The name of its manager.
    pub(crate) manager: String,
    pub(crate) key: String,
    pub(crate) state: &'static str,
    pub(crate) since: At,
    pub(crate) restarts: u64,
    /// When it will be restarted.
    pub(crate) restart_at: Option<At>,
    /// When it will be aborted or, if it was, when it will be stuck.
    pub(crate) deadline_at: Option<At>,
    pub(crate) aborted: bool,
    /// Its last error.
    pub(crate) error: Option<String>,
    /// The fencing token of its claim.
    pub(crate) token: Option<u64>,
}

/// The last event of a stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Bye {
    pub(crate) v: u32,
    pub(crate) seq: u64,
    /// `ok`, `failed` or `forced`.
    pub(crate) outcome: &'static str,
    /// `None` if it is not known.
    pub(crate) exit_code: Option<u8>,
    pub(crate) elapsed_ms: u64,
    pub(crate) errors: Vec<String>,
}

/// A time, in milliseconds since 1970. It is written as `2026-11-23T14:03:22.118Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(pub(crate) u64);

impl At {
    /// The last time that can be written.
    const LAST: u64 = 253_402_300_799_999;

    pub(crate) fn now() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(Self::LAST).min(Self::LAST))
    }

    /// The milliseconds since an earlier time.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `14:03:22`, in UTC.
    pub(crate) fn clock(self) -> String {
        self.to_string()[11..19].to_owned()
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(self.0.min(Self::LAST));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl Serialize for At {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) host: String,
    /// A random number, so that a page notices a restart.
    pub(crate) run: String,
}

/// The query, and how much of its answer is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct View {
    pub(crate) q: String,
    pub(crate) scope: &'static str,
    pub(crate) sort: String,
    pub(crate) open: String,
    pub(crate) root: Option<u64>,
    /// The number of managers whose units can be shown.
    pub(crate) managers: usize,
    /// The number of rows.
    pub(crate) rows: usize,
    /// The number of processes that match the query.
    pub(crate) matches: usize,
    /// The number of all processes.
    pub(crate) total: usize,
    /// The number of processes that match, and have neither a row nor a place in a fold.
    pub(crate) hidden: usize,
}

/// The state of the root, and counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) state: State,
    pub(crate) stalled: bool,
    pub(crate) reason: Option<String>,
    /// How long the root has been Closing or, if it is Closed, was.
    pub(crate) closing_ms: Option<u64>,
    pub(crate) aborting_ms: Option<u64>,
    /// The time since a process was Closed for the last time or, if none was, since closing began.
    pub(crate) last_closed_ms: Option<u64>,
    /// The number of processes that were Closed within the last second.
    pub(crate) closed_recently: u64,
    pub(crate) abort_in_ms: Option<u64>,
    pub(crate) exit_in_ms: Option<u64>,
    /// The exit status at the end of `exit_in_ms`.
    pub(crate) exit_code: Option<u8>,
    /// Was it the grace that aborted the root?
    pub(crate) grace_over: bool,
    pub(crate) up_ms: u64,
    pub(crate) running: usize,
    pub(crate) closing: usize,
    pub(crate) aborting: usize,
    /// The number of processes that were Closed since closing began.
    pub(crate) closed: u64,
    pub(crate) failed: u64,
    /// The outcome, once the root is Closed.
    pub(crate) outcome: Option<String>,
    /// Is it the root of `Main`, whose deadlines are known?
    pub(crate) is_main: bool,
}

impl Summary {
    pub(crate) fn open(&self) -> usize {
        self.running + self.closing + self.aborting
    }
}

/// The state of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Running,
    Closing,
    Aborting,
    Closed,
}

/// An item that prevents the root from closing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Blocker {
    pub(crate) kind: &'static str,
    pub(crate) chain: Vec<Step>,
    /// The number of steps that are missing after the first.
    pub(crate) skipped: usize,
    pub(crate) thread: Option<String>,
    pub(crate) site: String,
    pub(crate) for_ms: Option<u64>,
    pub(crate) aborting_ms: Option<u64>,
    pub(crate) behind: usize,
    pub(crate) more: usize,
    pub(crate) text: String,
    /// The line in parts: the chain, what it is, and how long it has lasted.
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) since: String,
}

/// A step of a blocker's chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Step {
    pub(crate) key: u64,
    pub(crate) label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edge: Option<String>,
}

/// A body or a teardown that has failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Failure {
    pub(crate) key: u64,
    pub(crate) at: At,
    pub(crate) path: String,
    pub(crate) label: String,
    /// The path as people read it. A name may contain `/`, so it cannot be made from `path`.
    pub(crate) who: String,
    pub(crate) error: String,
    pub(crate) site: String,
}

/// The key of a row: the serial number of a process, or a text for a row that is not that of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub(crate) enum Key {
    Process(u64),
    Other(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(key) => key.fmt(f),
            Self::Other(key) => key.fmt(f),
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) parent: Option<u64>,
    pub(crate) depth: usize,
    #[serde(flatten)]
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Process(Box<Process>),
    Fold { fold: Fold },
    Reference { reference: Reference },
    Next { next: Next },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Process {
    pub(crate) label: String,
    pub(crate) named: bool,
    pub(crate) phase: &'static str,
    pub(crate) aborting: bool,
    pub(crate) failed: bool,
    pub(crate) error: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) for_ms: Option<u64>,
    pub(crate) work: Option<Work>,
    /// The number of its open children.
    pub(crate) open: usize,
    /// The number of processes that can be shown below it.
    pub(crate) children: usize,
    /// Are they shown? `None` if there are none.
    pub(crate) expanded: Option<bool>,
    pub(crate) waits_for: Vec<Wait>,
    /// The number of further processes that it waits for, without its children.
    pub(crate) waits_more: usize,
    pub(crate) edge: Option<String>,
    pub(crate) site: String,
    pub(crate) blocks: bool,
    /// It does not match the query, but one below it does.
    pub(crate) dimmed: bool,
    /// The path as people read it, in a list that is not a tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<String>,
    /// When it was found Closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<At>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Work {
    pub(crate) kind: String,
    pub(crate) thread: Option<String>,
    pub(crate) for_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Wait {
    pub(crate) key: u64,
    pub(crate) label: String,
    pub(crate) edge: String,
}

/// The members of a family that have no rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fold {
    /// The text of the row: ``… and 37 more `session` ``.
    pub(crate) text: String,
    pub(crate) stem: String,
    pub(crate) count: usize,
    pub(crate) running: usize,
    pub(crate) closing: usize,
    pub(crate) aborting: usize,
    pub(crate) closed: usize,
    pub(crate) failed: usize,
    /// The longest time that one of them has been Closing.
    pub(crate) for_ms: Option<u64>,
    /// The kind of work, if it is the same for all.
    pub(crate) work: Option<String>,
    /// The number of members that are shown, because the fold is open.
    pub(crate) shown: usize,
    /// The value of `open` that shows more members, or hides them.
    pub(crate) edge: Option<String>,
}

/// A process that has its row elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Reference {
    pub(crate) to: u64,
    pub(crate) label: String,
    /// The path of the parent below which it is shown.
    pub(crate) see: String,
}

/// More members of a fold can be shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Next {
    /// The key of the fold.
    pub(crate) fold: String,
    pub(crate) count: usize,
    /// The pages of 100 that are shown.
    pub(crate) pages: usize,
}
