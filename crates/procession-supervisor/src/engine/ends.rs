//! What becomes of the failure of a run.
//!
//! 1. Each failure of a run has a handler (I17): a restart; the outcome of the manager or set, if it closes because of
//!    the failure; a hook; a reader of the events; a caller; or else a report. This includes an error that a run
//!    returns while it stops, although such a run has not failed (U3). Argument: the state machine passes on the error
//!    of each end in [`Actions::left`](crate::lifecycle::Actions::left), unless it decides that everything closes
//!    because of it. [`Core::judge`] removes what a hook was given, and [`Core::step`] what a reader or a caller has.
//!    The front end passes what is left to [`Core::report`], unless it closes everything because of it; if the unit
//!    starts again at once, the engine does so itself. What a restart must handle stays with the unit, which releases
//!    it if there will be no restart. A restart that must wait for stuck units below may never come, so it counts as
//!    none. When the run of the manager or set is over, [`left`](super::left) takes the place of the engine.

use std::sync::Arc;

use procession::Error;
use procession::support;

use super::core::Core;
use super::outcome::unreported;
use crate::error::ManagerError;
use crate::lifecycle::{Closes, Down};
use crate::name::name_of;
use crate::table::Key;
use crate::unhandled::Unhandled;

impl<K: Key> Core<K> {
    /// Closes everything if the end of a run requires it. Otherwise, returns the failure of the run if it still needs a
    /// handler.
    pub(super) fn judge(
        &mut self,
        key: &K,
        left: Option<Error>,
        down: Option<&Down>,
    ) -> Option<Error> {
        let name = || name_of(key);
        #[cfg(feature = "metrics")]
        if down.is_some_and(|down| down.restarts) {
            crate::metrics::count_restart();
        }
        match down.and_then(|down| down.closes_all.as_ref()) {
            Some(Closes::Failed { error, ends_all }) => {
                let (source, ends_all) = (error.clone(), *ends_all);
                self.fail(ManagerError::ClosedFor { key: name(), source, ends_all });
                return None;
            }
            Some(Closes::GaveUp { error, in_total }) => {
                let gave_up = ManagerError::GaveUp { key: name(), source: error.clone() };
                if *in_total || self.shared.about.closes_when_given_up {
                    self.fail(gave_up);
                    return None;
                }
                let is_handled = error.as_ref().is_some_and(support::was_reported);
                return (!is_handled).then(|| Error::failed(self.label(), Box::new(gave_up)));
            }
            None => {}
        }
        unreported(left?, name(), self.label())
    }

    /// Leaves a failure that is [left](Down::left) to the restart of its unit, or reports it if none follows (I17).
    pub(crate) fn report(&self, id: usize, left: Option<Error>) {
        if let Some(error) = left {
            self.leave_to_restart(id, Unhandled::new(&self.run, error));
        }
    }

    /// Leaves a failure to the restart of its unit, if one follows. Otherwise, reports it, unless callers have it.
    pub(super) fn leave_to_restart(&self, id: usize, failure: Arc<Unhandled>) {
        if self.with(id, |units, id| units.entry(id).lifecycle.keep(&failure)) == Some(true) {
            failure.mark_handled();
        }
        failure.give_up();
    }
}
