//! The ends of runs: how a run has ended, and what becomes of a failure that no restart follows.

use procession::support;
use procession::{Error, Process, ProcessId};

use super::core::Core;
use crate::error::ManagerError;
use crate::lifecycle::{Closes, Down, End};
use crate::name::name_of;
use crate::state::State;
use crate::table::Key;

impl<K: Key> Core<K> {
    /// Closes everything if the end of a run requires it. Otherwise, returns the failure of the run if nothing follows
    /// from it. `ended` is the process of the run.
    pub(super) fn judge(
        &mut self,
        id: usize,
        key: &K,
        down: &Down,
        ended: Option<ProcessId>,
    ) -> Option<Error> {
        let name = || name_of(key);
        let mut left = None;
        match &down.closes_all {
            Some(Closes::Failed { error, ends_all }) => {
                let (source, ends_all) = (error.clone(), *ends_all);
                self.fail(ManagerError::ClosedFor { key: name(), source, ends_all });
            }
            Some(Closes::GaveUp { error, in_total }) => {
                let gave_up = ManagerError::GaveUp { key: name(), source: error.clone() };
                if *in_total || self.shared.about.closes_when_given_up {
                    self.fail(gave_up);
                } else if !error.as_ref().is_some_and(support::was_reported) {
                    left = Some(Error::failed(self.label(), Box::new(gave_up)));
                }
            }
            // A failed unit that waits is restarted, alone or together with others.
            None if down.failed && self.state(id) == Some(State::Ended) => {
                let failure = self.last_failure(id);
                let failure = failure.and_then(|error| without_own_abort(error, ended));
                left = failure.filter(|error| !support::was_reported(error)).map(|error| {
                    if support::names_its_process(&error) {
                        return error;
                    }
                    let failed = ManagerError::NotRestarted { key: name(), source: error };
                    Error::failed(self.label(), Box::new(failed))
                });
            }
            None => {}
        }
        #[cfg(feature = "metrics")]
        if down.restarts {
            crate::metrics::count_restart();
        }
        left
    }

    fn last_failure(&self, id: usize) -> Option<Error> {
        self.with(id, |units, id| units.entry(id).lifecycle.last_failure()).flatten()
    }

    /// Reports a failure that is [left](crate::lifecycle::Down::left) to the front end, because nothing will handle it
    /// (I17). If everything closes because of a failure, the outcome of the run has that failure instead.
    pub(crate) fn report(&self, left: Option<Error>) {
        if let (Some(error), None) = (left, &self.failure) {
            support::report_failure(&self.run, &error);
        }
    }
}

pub(super) fn end_of(process: &Process, outcome: Result<(), Error>) -> End {
    let error = outcome.err();
    let foreign_error =
        error.clone().and_then(|error| without_own_abort(error, Some(process.id())));
    End { error, foreign_error, aborted: process.is_aborting() }
}

/// The error of a run without those that only say that its process was aborted.
fn without_own_abort(error: Error, process: Option<ProcessId>) -> Option<Error> {
    let is_own_abort =
        |error: &Error| matches!(error, Error::Aborted(label) if Some(label.id()) == process);
    match error {
        Error::Many(errors) => {
            Error::all(errors.iter().filter(|error| !is_own_abort(error)).cloned()).err()
        }
        error => Some(error).filter(|error| !is_own_abort(error)),
    }
}
