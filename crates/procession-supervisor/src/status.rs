//! What a manager tells of its units: [`Status`] and [`State`].

use std::fmt;
use std::time::Instant;

use crate::error::ManagerError;

/// Where a unit stands, and what it went through. From [`Manager::list`](crate::Manager::list).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status<K> {
    /// The unit.
    pub key: K,
    /// Where it stands.
    pub state: State,
    /// Since when, by the manager's clock.
    pub since: Instant,
    /// How often it was started again.
    pub restarts: u64,
    /// The last error: of a run, or of loading its row.
    pub last_error: Option<ManagerError>,
    /// When it is to be started again, if it [waits](State::Waiting) for that.
    pub next_restart: Option<Instant>,
}

/// Where a unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Its row is being read, to start it.
    Loading,
    /// Started, and not ready.
    Starting,
    /// Ready.
    Running,
    /// It was asked to stop, and has not.
    Stopping,
    /// It was aborted, and has not stopped in time. It keeps its key until it has.
    Stuck,
    /// It has ended, and is to be started again.
    Waiting,
    /// It has ended, and is not to be started again.
    Ended,
    /// It was started again too often.
    GivenUp,
    /// It was stopped by a call, and is started by a call.
    Stopped,
}

impl State {
    /// Has it a run that is not Closed?
    pub(crate) fn has_run(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping | Self::Stuck)
    }

    /// Is it on its way to be ready?
    pub(crate) fn is_starting(self) -> bool {
        matches!(self, Self::Loading | Self::Starting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
