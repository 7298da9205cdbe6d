//! What the outcome of a run's process says about the end of the run, and the outcome of a manager or a set.
//!
//! A hook hears of each failure once, through any number of nested managers and sets. Argument: all hooks above a
//! manager or a set are also above its units. So [`failure`] counts the error that everything closes because of a
//! failure as reported if the hooks were called for that failure. [`passed_on`] leaves out errors that count as
//! reported, and the next level finds the error of this one counted.

use procession::support::{self, count_as_reported, was_reported};
use procession::{BoxError, Error, Label, Process, ProcessId};

use crate::error::{ManagerError, StuckUnits};
use crate::lifecycle::{End, Request};

/// The failure of a manager or a set with this label.
pub(super) fn failure(label: Label, error: ManagerError) -> Error {
    let is_told = error.failure().is_some_and(was_reported);
    as_told(Error::failed(label, Box::new(error)), is_told)
}

/// The failure of a manager or a set with stuck units.
pub(super) fn stuck(label: Label, units: StuckUnits) -> Error {
    let is_told = !units.is_new();
    as_told(Error::failed(label, Box::new(ManagerError::from(units))), is_told)
}

fn as_told(error: Error, is_told: bool) -> Error {
    if is_told {
        count_as_reported(&error);
    }
    error
}

/// The error of a body or a teardown of a manager or a set. Hooks are not called again for parts that they have heard
/// of.
pub(crate) fn passed_on(error: Error) -> BoxError {
    let own = without(error.clone(), was_reported);
    support::pass_on(error, own)
}

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
