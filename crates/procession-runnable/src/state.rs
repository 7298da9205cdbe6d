//! [`State`]: the state of a service or a supervised unit.

use std::fmt;

/// The state of a [`Service`](crate::Service), or of a unit of `procession-supervisor`.
///
/// A service is `Initial`, `Starting`, `Running`, `Stopping` or `Stopped`; the other states are those of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// It was never started.
    Initial,
    /// Its row is being read from the table before it is started.
    Loading,
    /// It has been started, and is not ready yet.
    Starting,
    /// It is ready.
    Running,
    /// It has begun to stop, for whatever reason, and has not ended yet.
    Stopping,
    /// It was aborted, and has not ended within its abort grace; or it has ended, but units of a set or a manager inside
    /// it are in this state. It keeps its key until all of them have ended.
    Stuck,
    /// It has ended, and will be restarted after its back-off.
    Waiting,
    /// It has ended, and will not be restarted.
    Ended,
    /// It failed too often, and will not be restarted.
    GivenUp,
    /// It was stopped. A service also is `Stopped` if it ended or failed.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "initial",
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
