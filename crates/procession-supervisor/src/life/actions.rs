//! The outputs of [`Life::step`](super::Life::step): what the engine has to do, and what its face has to know.

use std::sync::Arc;

use procession::{Error, Process};

use crate::error::{ManagerError, SharedError};
use crate::event::Happening;

/// What the engine has to do. It tells of events first, and passes the news on last.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Actions {
    /// What readers of events are told.
    pub(crate) tell: [Option<Happening>; 3],
    /// Close the run.
    pub(crate) close: bool,
    /// Abort the run.
    pub(crate) abort: bool,
    /// The answer to those who wait until it is ready.
    pub(crate) starters: Option<Answer>,
    /// The answer to those who wait until it has stopped.
    pub(crate) stoppers: Option<Answer>,
    /// Forget the unit.
    pub(crate) forget: bool,
    /// What the manager or the set has to know.
    pub(crate) news: Option<News>,
}

/// The answer to callers that wait for a unit to be ready, or to stop.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is ready, or has stopped.
    Yes,
    /// It was stopped before it was ready.
    Stopped,
    /// It ended without an error.
    Ended,
    /// It was aborted, and has not ended in time.
    Stuck,
    /// Its row could not be loaded.
    Load(SharedError),
    /// Its run ended with this error, or could not be started.
    Failed(Error),
}

/// What a manager or a set has to know of the step of a unit.
#[derive(Debug)]
pub(crate) enum News {
    /// It has to be loaded, and started. If it had a run, that has ended.
    Load,
    /// It is ready.
    Ready,
    /// Its run has ended, or could not begin.
    Down(Down),
    /// It has not ended in time.
    Stuck,
}

#[derive(Debug, Default)]
pub(crate) struct Down {
    /// It was not asked to stop.
    pub(crate) by_itself: bool,
    /// It failed, or ended and should always run: others may have to follow.
    pub(crate) restarts: bool,
    /// Everything has to close for it.
    pub(crate) closes_all: Option<Closes>,
}

/// Why everything has to close for a unit.
#[derive(Debug)]
pub(crate) enum Closes {
    GaveUp(Option<Error>),
    Failed(Error),
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
