//! [`Recording`]: the recorded lives of processes, as plain values. The pictures are functions of it.

use std::collections::HashMap;
use std::time::SystemTime;

use procession::{Reason, Site, Work, support::text::Signal};

use crate::texts::path;

/// What was recorded until a certain moment. All times are whole microseconds since the recorder began.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) program: Program,
    /// The time of this moment. Nothing is later.
    pub(crate) until: u64,
    /// The processes, by their age: the first is the root, and the key of a process is its index plus one.
    pub(crate) lives: Vec<Life>,
    /// By the index of the process.
    pub(crate) details: HashMap<u32, Detail>,
    /// The edges besides those from first parents.
    pub(crate) edges: Vec<Edge>,
    pub(crate) marks: Vec<Mark>,
    /// The number of processes for which there was no room.
    pub(crate) not_recorded: u64,
    /// The number of events that were lost because too many happened at once.
    pub(crate) missed: u64,
}

/// The program that was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) pid: u32,
    pub(crate) host: String,
    /// When the recorder began.
    pub(crate) began: SystemTime,
}

/// A process.
///
/// Most programs have many, so it is small: the times take six bytes each, and rare values are in a [`Detail`].
#[derive(Clone, Debug)]
pub(crate) struct Life {
    times: [Micros; TIMES],
    /// Escaped, and not empty.
    pub(crate) name: Option<Box<str>>,
    pub(crate) site: Site,
    /// The index of the first parent.
    pub(crate) parent: Option<Index>,
    /// The number of processes whose first parent it is, while it is in the recorder.
    pub(crate) children: u32,
    pub(crate) cause: Cause,
    pub(crate) work: Work,
    pub(crate) has_failed: bool,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Life>() <= 88);

/// The values that few processes have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detail {
    /// The message of its error, escaped.
    pub(crate) error: Option<Box<str>>,
    /// The name of the thread of its body or teardown, escaped.
    pub(crate) thread: Option<Box<str>>,
    /// A reason that has no [`Cause`].
    pub(crate) reason: Option<Box<str>>,
}

/// An index of a process, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(std::num::NonZeroU32);

impl Index {
    pub(crate) fn new(index: u32) -> Self {
        Self(std::num::NonZeroU32::MIN.saturating_add(index))
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// A boundary in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Made,
    Closing,
    Aborting,
    BodyEnded,
    TeardownQueued,
    TeardownStarted,
    TeardownEnded,
    Closed,
}

const TIMES: usize = Moment::Closed as usize + 1;

/// A time of 48 bits, which last for 8.9 years; the largest value stands for none.
#[derive(Clone, Copy)]
struct Micros([u8; 6]);

impl Micros {
    const NONE: Self = Self([u8::MAX; 6]);

    fn new(micros: u64) -> Self {
        let [a, b, c, d, e, f, ..] = micros.min((1 << 48) - 2).to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    fn get(self) -> Option<u64> {
        let [a, b, c, d, e, f] = self.0;
        (self.0 != Self::NONE.0).then(|| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }
}

impl std::fmt::Debug for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

impl Life {
    pub(crate) fn new(name: Option<Box<str>>, site: Site, parent: Option<u32>) -> Self {
        Self {
            times: [Micros::NONE; TIMES],
            name,
            site,
            parent: parent.map(Index::new),
            children: 0,
            cause: Cause::Unknown,
            work: Work::None,
            has_failed: false,
        }
    }

    pub(crate) fn at(&self, moment: Moment) -> Option<u64> {
        self.times[moment as usize].get()
    }

    /// Records a boundary. The first time counts.
    pub(crate) fn set(&mut self, moment: Moment, at: u64) {
        let time = &mut self.times[moment as usize];
        if time.get().is_none() {
            *time = Micros::new(at);
        }
    }

    /// If it has begun to close, and its end was not recorded, it ends at its last known time.
    pub(crate) fn end_at_last_known_time(&mut self) {
        if self.at(Moment::Closing).is_some() && !self.is_closed() {
            let last = self.times.iter().filter_map(|time| time.get()).max();
            last.into_iter().for_each(|last| self.set(Moment::Closed, last));
        }
    }

    pub(crate) fn parent(&self) -> Option<u32> {
        self.parent.map(Index::get)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.at(Moment::Closed).is_some()
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.at(Moment::Aborting).is_some()
    }

    /// The name or, without one, the site.
    pub(crate) fn label(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.site.to_string(),
        }
    }
}

/// A [`Reason`] without a value, or with one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Unknown,
    Asked,
    ParentClosed,
    Signal(u8),
    BodyFinished,
    BodyFailed,
    TimeLimit,
    Dropped,
    /// It is in the [`Detail`].
    Other,
}

impl Cause {
    pub(crate) fn of(reason: &Reason) -> Self {
        match reason {
            Reason::Asked => Self::Asked,
            Reason::ParentClosed => Self::ParentClosed,
            Reason::Signal(signal) => u8::try_from(*signal).map_or(Self::Other, Self::Signal),
            Reason::BodyFinished => Self::BodyFinished,
            Reason::BodyFailed => Self::BodyFailed,
            Reason::TimeLimit => Self::TimeLimit,
            Reason::Dropped => Self::Dropped,
            _ => Self::Other,
        }
    }

    /// The text that all surfaces share.
    fn text(self) -> Option<String> {
        Some(match self {
            Self::Asked => Reason::Asked.to_string(),
            Self::ParentClosed => Reason::ParentClosed.to_string(),
            Self::Signal(signal) => Signal(signal.into()).to_string(),
            Self::BodyFinished => Reason::BodyFinished.to_string(),
            Self::BodyFailed => Reason::BodyFailed.to_string(),
            Self::TimeLimit => Reason::TimeLimit.to_string(),
            Self::Dropped => Reason::Dropped.to_string(),
            Self::Unknown | Self::Other => return None,
        })
    }
}

/// An edge that does not lead from a first parent to its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// The process that waits or closes.
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) kind: EdgeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EdgeKind {
    /// It is a further parent.
    Child,
    /// It closes the other one without waiting for it. Its first parent may have such an edge too.
    NoWaitChild,
    WaitFor,
    CloseAfter,
}

impl EdgeKind {
    /// Was it asked for by name, apart from the tree?
    pub(crate) fn is_explicit(self) -> bool {
        matches!(self, Self::WaitFor | Self::CloseAfter)
    }
}

/// A moment of the whole program.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: u64,
    pub(crate) kind: MarkKind,
    /// Escaped.
    pub(crate) label: String,
    /// The blockers of a stall report, escaped.
    pub(crate) lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    Signal,
    GraceOver,
    Abort,
    Stall,
    Exit,
}

impl MarkKind {
    /// A stable name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::GraceOver => "grace_over",
            Self::Abort => "abort",
            Self::Stall => "stall",
            Self::Exit => "exit",
        }
    }
}

/// The maximum number of characters of a path.
const PATH_LIMIT: usize = 200;

impl Recording {
    pub(crate) fn life(&self, process: u32) -> &Life {
        &self.lives[process as usize]
    }

    pub(crate) fn detail(&self, process: u32) -> Option<&Detail> {
        self.details.get(&process)
    }

    /// When closing began: the zero of the pictures. If the root is Running, it is now.
    pub(crate) fn zero(&self) -> u64 {
        let root = &self.lives[0];
        let closing = root.at(Moment::Closing).or(root.at(Moment::Closed));
        closing.map_or(self.until, |closing| closing.min(self.until))
    }

    /// The reason, as all surfaces print it.
    pub(crate) fn reason(&self, process: u32) -> Option<String> {
        let detail = || self.detail(process)?.reason.as_deref().map(str::to_owned);
        self.life(process).cause.text().or_else(detail)
    }

    /// The labels from the root down to the process. At most 200 characters are written; the upper ones are left out.
    pub(crate) fn path(&self, process: u32, separator: &str) -> String {
        let above = |process: &u32| self.life(*process).parent();
        // The limit also ends a ring.
        let ways = std::iter::successors(Some(process), above);
        path(ways.map(|process| self.life(process).label()), separator, PATH_LIMIT)
    }

    /// `ok`, the message of the error, or `open`.
    pub(crate) fn outcome(&self, process: u32) -> &str {
        let error = || self.detail(process)?.error.as_deref();
        match self.life(process).is_closed() {
            false => "open",
            true => error().unwrap_or("ok"),
        }
    }
}

#[cfg(test)]
mod tests {
    use procession::Site;

    use super::{Life, Micros, Moment};

    #[test]
    fn times_of_eight_years_are_exact() {
        for micros in [0, 1, 255, 256, u64::from(u32::MAX) + 1, (1 << 48) - 2] {
            assert_eq!(Micros::new(micros).get(), Some(micros));
        }
        assert_eq!(Micros::new(u64::MAX).get(), Some((1 << 48) - 2));
        assert_eq!(Micros::NONE.get(), None);
    }

    #[test]
    fn the_first_time_counts() {
        let mut life = Life::new(None, Site::caller(), None);
        assert_eq!(life.at(Moment::Aborting), None);
        life.set(Moment::Aborting, 7);
        life.set(Moment::Aborting, 8);
        assert_eq!(life.at(Moment::Aborting), Some(7));
    }
}
