//! The commands that calls give to a manager or a set.

use procession::Process;

use super::reply;
use crate::error::ManagerError;
use crate::unit::{OnFailure, Unit};

/// Where the answer to a command goes. If it is dropped without one, the manager is not running.
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
    /// A set gets another unit, at its end.
    Add {
        key: K,
        unit: Box<Unit>,
        reply: Reply<()>,
    },
    /// A set stops a unit and forgets it.
    Remove {
        key: K,
        reply: Reply<()>,
    },
    /// A manager scans its table, and answers at the end of that scan.
    Scan {
        reply: Reply<()>,
    },
}

/// Answers commands. Callers that do not wait any more are not told.
pub(crate) fn answer<T: Clone>(replies: Vec<Reply<T>>, result: &Result<T, ManagerError>) {
    for reply in replies {
        reply.give(result.clone());
    }
}
