//! [`Reason`]: why a process began to close.

use std::fmt;

use crate::value::Label;
use crate::value::text::Signal;

/// Why a process began to close. The first reason is kept.
///
/// ```
/// use procession::{Process, Reason};
///
/// let parent = Process::new();
/// let child = parent.child();
/// assert_eq!(child.reason(), None);
/// parent.close_blocking()?;
/// assert_eq!(parent.reason(), Some(Reason::Asked));
/// assert_eq!(child.reason(), Some(Reason::ParentClosed));
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A caller asked for it, with [`close`](crate::Process::close), [`abort`](crate::Process::abort) or a variant of
    /// them such as [`close_within`](crate::Process::close_within).
    Asked,
    /// A parent closed.
    ParentClosed,
    /// This signal was delivered.
    Signal(i32),
    /// Its body returned without an error.
    BodyFinished,
    /// Its body returned an error, panicked, was dropped before its end, or could not be started.
    BodyFailed,
    /// Its [time limit](crate::Builder::time_limit) ended.
    TimeLimit,
    /// Its last handle was dropped, and no open parent held it.
    Dropped,
    /// This child failed, and the process closes for a failed child:
    /// [`ChildFailure::Close`](crate::ChildFailure::Close).
    ChildFailed(Label),
}

/// A [`Reason`] in one byte. Every node stores one, and so does every process of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BriefReason {
    Asked,
    ParentClosed,
    BodyFinished,
    BodyFailed,
    TimeLimit,
    Dropped,
    /// A reason that carries a value, which is kept elsewhere.
    Detailed,
}

impl BriefReason {
    /// The reason, unless it carries a value.
    pub(crate) fn get(self) -> Option<&'static Reason> {
        Some(match self {
            Self::Asked => &Reason::Asked,
            Self::ParentClosed => &Reason::ParentClosed,
            Self::BodyFinished => &Reason::BodyFinished,
            Self::BodyFailed => &Reason::BodyFailed,
            Self::TimeLimit => &Reason::TimeLimit,
            Self::Dropped => &Reason::Dropped,
            Self::Detailed => return None,
        })
    }
}

impl From<&Reason> for BriefReason {
    #[inline]
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Asked => Self::Asked,
            Reason::ParentClosed => Self::ParentClosed,
            Reason::BodyFinished => Self::BodyFinished,
            Reason::BodyFailed => Self::BodyFailed,
            Reason::TimeLimit => Self::TimeLimit,
            Reason::Dropped => Self::Dropped,
            Reason::Signal(_) | Reason::ChildFailed(_) => Self::Detailed,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked to close"),
            Self::ParentClosed => f.write_str("its parent closed"),
            Self::Signal(signal) => Signal(*signal).fmt(f),
            Self::BodyFinished => f.write_str("its body finished"),
            Self::BodyFailed => f.write_str("its body failed"),
            Self::TimeLimit => f.write_str("its time limit was over"),
            Self::Dropped => f.write_str("its last handle was dropped"),
            Self::ChildFailed(child) => write!(f, "its child failed: {child}"),
        }
    }
}
