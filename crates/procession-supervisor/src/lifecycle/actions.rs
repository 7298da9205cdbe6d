//! The outputs of [`Life::step`](super::Life::step): actions for the engine, and news for its face.

use std::sync::Arc;

use procession::{Error, Process};

use crate::error::{ManagerError, SharedError};
use crate::event::Happening;

/// The actions that the engine must perform. It sends the events first, and passes the news on last. The value is large,
/// and most of it is usually empty, so the engine uses the same one for all steps.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// The events to send.
    pub(crate) tell: [Option<Happening>; 3],
    /// Close the run.
    pub(crate) close: bool,
    /// Abort the run.
    pub(crate) abort: bool,
    /// The answer to the callers that wait until it is ready.
    pub(crate) starters: Option<Answer>,
    /// The answer to the callers that wait until it has stopped.
    pub(crate) stoppers: Option<Answer>,
    /// Forget the unit.
    pub(crate) forget: bool,
    /// The news for the manager or the set.
    pub(crate) news: Option<News>,
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
    /// It has not ended within its abort grace.
    Stuck,
    /// Its row could not be loaded.
    Load(SharedError),
    /// Its run ended with this error, or could not start.
    Failed(Error),
}

/// The news that a manager or a set must know about the step of a unit.
#[derive(Debug)]
pub(crate) enum News {
    /// It must be loaded and started. If it had a run, that run has ended.
    Load,
    /// Its run is ready.
    Ready,
    /// Its run has ended, or could not start.
    Down(Down),
}

#[derive(Debug, Default)]
pub(crate) struct Down {
    /// It was not asked to stop.
    pub(crate) by_itself: bool,
    /// It has failed: this is `by_itself`, with an error.
    #[cfg_attr(loom, expect(dead_code, reason = "only shared managers read it"))]
    pub(crate) failed: bool,
    /// It will be restarted because of its own end. A strategy may restart others together with it.
    pub(crate) restarts: bool,
    /// Everything must close because of it.
    pub(crate) closes_all: Option<Closes>,
}

/// Why everything must close because of a unit.
#[derive(Debug)]
pub(crate) enum Closes {
    GaveUp(Option<Error>),
    Failed {
        error: Error,
        /// Those above close too.
        ends_all: bool,
    },
}

impl Actions {
    pub(super) fn tell(&mut self, what: Happening) {
        if let Some(place) = self.tell.iter_mut().find(|place| place.is_none()) {
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
            Self::Stuck => ManagerError::stuck(process.map(|process| (key, process.clone()))),
            Self::Load(source) => ManagerError::Load { key, source },
            Self::Failed(error) => ManagerError::Failed(error),
        })
    }
}
