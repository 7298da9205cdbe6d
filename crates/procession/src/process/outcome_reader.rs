//! [`OutcomeReader`]: a caller that reads the outcome of a process.

use std::sync::Arc;

use super::Process;
#[cfg(not(loom))]
use crate::run::reports::{Listeners, choose_listeners, report_left};
use crate::run::{Failure, Node};
use crate::value::Error;
use crate::value::model::model_has_failed;

/// The caller to whom the failures of a process are left (I17). If it is dropped before it has read the outcome, the
/// failures are reported: at once, or when they happen.
pub(super) struct OutcomeReader {
    /// `None` once the outcome has been read.
    node: Option<Arc<Node>>,
    /// Does dropping the caller early abort the body? Such an abort is not reported.
    aborts: bool,
    /// The listeners for unread failures, if there are several to choose from.
    #[cfg(not(loom))]
    listeners: Option<Listeners>,
}

impl OutcomeReader {
    /// A caller of a process whose body has not started yet.
    pub(super) fn new(process: &Process) -> Self {
        process.node.hand_over();
        Self {
            node: Some(process.node.clone()),
            aborts: false,
            #[cfg(not(loom))]
            listeners: choose_listeners(&process.node),
        }
    }

    /// A caller that polls the body itself, so that the body is dropped with the caller.
    pub(super) fn polling(process: &Process) -> Self {
        let mut reader = Self::new(process);
        reader.aborts = true;
        reader
    }

    /// The caller has read the outcome.
    pub(super) fn mark_read(&mut self) {
        if let Some(node) = self.node.take() {
            drop(node.take_left_failures());
        }
    }
}

impl Drop for OutcomeReader {
    fn drop(&mut self) {
        let Some(node) = self.node.take().filter(|_| !model_has_failed()) else { return };
        let mut left: Vec<_> =
            node.take_left_failures().into_iter().map(Failure::into_error).collect();
        if self.aborts {
            left.retain(|error| !matches!(error, Error::Aborted(_)));
        }
        let left: Vec<_> = left.into_iter().map(Failure::new).collect();
        #[cfg(not(loom))]
        report_left(&node, left, self.listeners.take());
        #[cfg(loom)]
        drop(left);
    }
}
