//! The commands that calls send to a manager or a set.

use std::sync::Arc;

use procession::Process;

use super::reply;
use crate::error::ManagerError;
use crate::unhandled::Unhandled;
use crate::unit::{OnFailure, Unit};

/// Sends the answer to a command. If it is dropped unanswered, the call fails with [`ManagerError::NotRunning`].
pub(crate) type Reply<T> = reply::Reply<Result<T, ManagerError>>;

pub(crate) enum Command<K> {
    Start {
        key: K,
        reply: Reply<Process>,
    },
    Stop {
        key: K,
        reply: Reply<()>,
    },
    Restart {
        key: K,
        reply: Reply<Process>,
    },
    SetOnFailure {
        key: K,
        on_failure: OnFailure,
        reply: Reply<()>,
    },
    /// Adds a unit at the end of a set.
    Add {
        key: K,
        unit: Box<Unit>,
        reply: Reply<()>,
    },
    /// Stops a unit of a set, and forgets it.
    Remove {
        key: K,
        reply: Reply<()>,
    },
    /// Scans the table of a manager. The answer comes at the end of that scan.
    Scan {
        reply: Reply<()>,
    },
}

/// Answers commands. Callers that no longer wait are ignored. `unhandled` is the failure that is left to the callers.
pub(crate) fn answer<T: Clone>(
    replies: Vec<Reply<T>>,
    result: &Result<T, ManagerError>,
    unhandled: Option<&Arc<Unhandled>>,
) {
    for reply in replies {
        reply.give_failure(result.clone(), unhandled.cloned());
    }
}
