//! [`State`]: the state of a unit.

use std::fmt::{self, Display};

/// The state of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// It has not been started yet.
    Initial,
    /// Its row is being read, to start it.
    Loading,
    /// It was started, and is not ready.
    Starting,
    /// It is ready.
    Running,
    /// It was asked to stop, or has begun to close for another reason, and is not Closed.
    Stopping,
    /// It was aborted, and has not ended in time. It keeps its key until it has.
    Stuck,
    /// It has ended, and will be started again.
    Waiting,
    /// It has ended, and will not be started again.
    Ended,
    /// It was started again too often.
    GivenUp,
    /// It was stopped by a call, and only a call starts it.
    Stopped,
}

impl State {
    /// Does the unit have a run that is not Closed?
    pub(crate) fn has_run(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping | Self::Stuck)
    }
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "not started",
            Self::Loading => "loading",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stuck => "stuck",
            Self::Waiting => "waiting for its restart",
            Self::Ended => "ended",
            Self::GivenUp => "given up",
            Self::Stopped => "stopped",
        })
    }
}
