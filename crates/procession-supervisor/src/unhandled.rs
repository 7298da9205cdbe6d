//! [`Unhandled`]: a failure that something may still handle.
//!
//! No failure is lost (I17): it is left to the callers whose answers have it and to the restart of its unit, if there
//! will be one, and reported when none of them can handle it any more. Argument: these share an [`Unhandled`]. Only a
//! caller that takes its answer and a restart that has come take the failure out of it, and the last one that drops it
//! reports what is still in it.

use std::sync::Arc;

use procession::support::{catch, model_has_failed, report_failure, report_failure_elsewhere};
use procession::{Error, Process};

use crate::sync::Mutex;

/// A failure that is left to callers or to a restart. If none of them has handled it, it is reported when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Unhandled {
    run: Process,
    /// `None` once it is handled.
    failure: Mutex<Option<Error>>,
}

impl Unhandled {
    /// A failure in the tree of `run`.
    pub(crate) fn new(run: &Process, failure: Error) -> Arc<Self> {
        Arc::new(Self { run: run.clone(), failure: Mutex::new(Some(failure)) })
    }

    /// A caller has read the failure, the restart has come, or the outcome of the run has the failure.
    pub(crate) fn mark_handled(&self) {
        let _dropped = catch(|| drop(self.take()));
    }

    /// Gives one share of the failure up. The last one reports the failure at once, so call it with no lock held.
    pub(crate) fn give_up(self: Arc<Self>) {
        if let Some(last) = Arc::into_inner(self) {
            let failure = last.take();
            failure.iter().for_each(|failure| report_failure(&last.run, failure));
            let _dropped = catch(|| drop(failure));
        }
    }

    fn take(&self) -> Option<Error> {
        self.failure.lock().take()
    }
}

impl Drop for Unhandled {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        if let Some(failure) = self.take() {
            report_failure_elsewhere(&self.run, failure);
        }
    }
}
