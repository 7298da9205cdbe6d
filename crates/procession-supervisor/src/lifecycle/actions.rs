//! The outputs of [`Lifecycle::step`](super::Lifecycle::step): actions for the engine, and a notice for its front end.

use std::sync::Arc;

use procession::{Error, Process};

use crate::error::{ManagerError, SharedError};
use crate::event::Happening;
use crate::stuck_units::{LeftBehind, StuckUnits};
use crate::unhandled::Unhandled;

/// The actions that the engine must perform. It sends the events first, and passes the notice on last. The value is
/// large, and most of it is usually empty, so the engine reuses one value for all steps.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// The events to send. The most are `Aborted`, `Failed`, `Restarting` and `Stuck`.
    pub(crate) tell: [Option<Happening>; 4],
    /// Close the run.
    pub(crate) close: bool,
    /// Abort the run.
    pub(crate) abort: bool,
    /// The answer to the callers that wait until the unit is ready.
    pub(crate) starters: Option<Answer>,
    /// The answer to the callers that wait until the unit has stopped.
    pub(crate) stoppers: Option<Answer>,
    /// Forget the unit.
    pub(crate) forget: bool,
    /// The error of the run, if it still needs a handler other than a restart, or will need one if no restart follows:
    /// nothing closes because of it.
    pub(crate) left: Option<Error>,
    /// Report this failure, which a restart was to handle, because that restart will not come.
    pub(crate) released: Option<Arc<Unhandled>>,
    /// Mark this failure as handled, because its restart has come.
    pub(crate) restarted: Option<Arc<Unhandled>>,
    /// The notice for the front end.
    pub(crate) notice: Option<Notice>,
    /// The error that a new one has replaced. Its drop may run foreign code, so the step passes it out.
    pub(crate) dropped: Option<ManagerError>,
}

/// The answer to callers that wait for a unit to become ready, or to stop.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is ready, or has stopped.
    Yes,
    /// It was stopped before it was ready.
    Stopped,
    /// It ended without an error.
    Ended,
    /// It, or units that it has left behind, which are these, have not ended within their abort grace.
    Stuck(Vec<Arc<LeftBehind>>),
    /// Its row could not be loaded.
    Load(SharedError),
    /// Its run ended with this error, or could not start.
    Failed(Error),
}

/// The part of a unit's step that the front end must know about.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The unit must be loaded and started. If it had a run, that run has ended.
    Load,
    /// The unit's run is ready.
    Ready,
    /// The unit's run has ended, or could not start.
    Down(Down),
}

#[derive(Debug, Default)]
pub(crate) struct Down {
    /// The unit was not asked to stop.
    pub(crate) on_its_own: bool,
    /// The unit has failed: it ended `on_its_own`, with an error.
    pub(crate) failed: bool,
    /// The unit will be restarted because of its own end. A strategy may restart others together with it.
    pub(crate) restarts: bool,
    /// Set if everything must close because of this end, or may have to.
    pub(crate) closes_all: Option<Closes>,
    /// The part of [`Actions::left`] that nothing has handled, which the engine adds. The front end passes it to
    /// [`Core::report`](crate::engine::Core::report).
    pub(crate) left: Option<Error>,
}

/// Why everything must close because of a unit, or may have to.
#[derive(Debug)]
pub(crate) enum Closes {
    /// The unit was restarted too often. Whether everything closes depends on the settings, unless `in_total` is set.
    GaveUp {
        error: Option<Error>,
        /// All units together were restarted too often.
        in_total: bool,
    },
    Failed {
        error: Error,
        /// The sets and managers above close too.
        ends_all: bool,
    },
}

impl Actions {
    pub(super) fn tell(&mut self, what: Happening) {
        let place = self.tell.iter_mut().find(|place| place.is_none());
        debug_assert!(place.is_some(), "there is no place for {what:?}");
        if let Some(place) = place {
            *place = Some(what);
        }
    }
}

impl Answer {
    /// The result for the unit `key` with this process.
    pub(crate) fn result(
        self,
        key: Arc<str>,
        process: Option<&Process>,
    ) -> Result<(), ManagerError> {
        Err(match self {
            Self::Yes => return Ok(()),
            Self::Stopped => ManagerError::Stopped { key },
            Self::Ended => ManagerError::Ended { key },
            Self::Stuck(below) => {
                let mut stuck = StuckUnits::default();
                if let Some(process) = process {
                    stuck.add(&key, process, &below);
                }
                stuck.into()
            }
            Self::Load(source) => ManagerError::Load { key, source },
            Self::Failed(error) => ManagerError::Failed(error),
        })
    }
}
