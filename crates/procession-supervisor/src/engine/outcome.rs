//! What the outcome of a run's process says about the end of the run.

use procession::{Error, Process, ProcessId};

use crate::lifecycle::{End, Request};

/// How a run has ended. The causes of its error are foreign code, so no lock may be held.
pub(super) fn end_of(process: &Process, outcome: Result<(), Error>) -> End {
    let error = outcome.err();
    let foreign_error =
        error.clone().and_then(|error| without_own_abort(error, Some(process.id())));
    let request = error.as_ref().map(Request::of).unwrap_or_default();
    End { error, foreign_error, request, aborted: process.is_aborting() }
}

/// The error of a run without those that only say that its process was aborted.
pub(super) fn without_own_abort(error: Error, process: Option<ProcessId>) -> Option<Error> {
    without(error, |error| matches!(error, Error::Aborted(label) if Some(label.id()) == process))
}

/// The rest of an error.
pub(super) fn without(error: Error, mut leaves_out: impl FnMut(&Error) -> bool) -> Option<Error> {
    match error {
        Error::Many(errors) => {
            Error::all(errors.iter().filter(|error| !leaves_out(error)).cloned()).err()
        }
        error => Some(error).filter(|error| !leaves_out(error)),
    }
}
