//! The inputs of [`Lifecycle::step`](super::Lifecycle::step): events and requests. A request may also come with the
//! error of a run.

use std::sync::Arc;

use procession::{Error, Label};

use crate::error::{DoNotRestart, EndAll, ManagerError, SharedError};

/// An event or a request that concerns a unit.
#[derive(Debug)]
pub(crate) enum Input {
    /// The unit should run. The front end must load its description and start it.
    Load,
    /// The unit's turn has come, and the front end already has its description. The engine starts it right after this.
    Begin,
    /// The row of the unit could not be loaded. `forget` is set for a unit that exists only because of a call.
    NotLoaded { key: Arc<str>, error: SharedError, forget: bool },
    /// A run was started.
    Started,
    /// No run could be started.
    NotStarted(Error),
    /// The run is ready.
    Ready,
    /// This process of the run ended without an error before the run was ready.
    EndedUnready(Label),
    /// The run has begun to close.
    BeganToClose,
    /// The run is Closed.
    Closed(End),
    /// The row of the unit has changed, and the unit should run as its current row says.
    Changed,
    /// The unit should stop.
    Stop(Then),
    /// The unit should be aborted now.
    Abort(Then),
    /// The time [`Lifecycle::due`](super::Lifecycle::due) has passed.
    Due,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) error: Option<Error>,
    /// The error, without the part that only reports the run's own abort (U3).
    pub(crate) foreign_error: Option<Error>,
    /// Was the run aborted?
    pub(crate) aborted: bool,
}

/// What follows a run that was asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    /// The unit stays stopped until a call starts it.
    #[default]
    Stay,
    /// The unit is started again at once.
    Again,
    /// The unit waits until its strategy starts it again.
    Hold,
    /// The unit is forgotten.
    Forget,
}

/// The request that the error of a run makes to its manager or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    None,
    DoNotRestart,
    EndAll,
}

impl Request {
    /// It does not search the errors inside a nested set, because the error of the set itself has the request.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Many(errors) => {
                let requests = errors.iter().map(Self::of);
                requests.max_by_key(|request| *request as u8).unwrap_or(Self::None)
            }
            Error::Failed(failed) => {
                let failed = failed.get();
                let nested = failed.downcast_ref();
                if failed.is::<EndAll>()
                    || matches!(nested, Some(ManagerError::ClosedFor { ends_all: true, .. }))
                {
                    Self::EndAll
                } else if failed.is::<DoNotRestart>() {
                    Self::DoNotRestart
                } else {
                    Self::None
                }
            }
            _ => Self::None,
        }
    }
}
