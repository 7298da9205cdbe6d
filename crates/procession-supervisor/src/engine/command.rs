//! What a manager is told to do by a call.

use procession::Process;

use super::reply;
use crate::error::ManagerError;

/// Where the answer to a command goes. When it is dropped without one, the manager is not running.
pub(crate) type Reply<T> = reply::Reply<Result<T, ManagerError>>;

pub(crate) enum Command<K> {
    Start { key: K, reply: Reply<Process> },
    Stop { key: K, reply: Reply<()> },
}

/// Answers commands. Who does not wait any more is not told.
pub(crate) fn answer<T: Clone>(replies: Vec<Reply<T>>, result: &Result<T, ManagerError>) {
    for reply in replies {
        reply.give(result.clone());
    }
}
