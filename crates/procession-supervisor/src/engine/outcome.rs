//! What the outcome of a run's process says about the end of the run, and the outcome of a manager or a set.
//!
//! A hook hears of each failure once, through any number of nested managers and sets. Argument: all hooks above a
//! manager or a set are also above its units. So if there are any, and hooks were called for the failure because of
//! which everything closes, [`failure`] counts the error that says so as reported. [`passed_on`] leaves out errors that
//! count as reported, and the next level finds the error of this one counted. If all hooks that have heard of the
//! failure are below the manager or set, its own failure is one that nothing has handled yet (I17).

use std::sync::Arc;

use procession::support::{self, count_as_reported, has_failure_hooks, was_reported};
use procession::{BoxError, Error, Label, Process, ProcessId};

use crate::causes::without;
use crate::error::ManagerError;
use crate::lifecycle::{End, Request};
use crate::stuck_units::StuckUnits;

/// The failure of the manager or set with this process.
pub(super) fn failure(process: &Process, error: ManagerError) -> Error {
    let is_told = error.failure().is_some_and(was_reported);
    failed(process, error, is_told)
}

/// The failure of the manager or set with this process, because of stuck units. `is_told_below` says whether hooks have
/// heard of all of them.
pub(super) fn stuck(process: &Process, units: StuckUnits, is_told_below: bool) -> Error {
    failed(process, units.into(), is_told_below)
}

fn failed(process: &Process, error: ManagerError, is_told_below: bool) -> Error {
    let error = Error::failed(process.label(), Box::new(error));
    if is_told_below && has_failure_hooks(process) {
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

/// The failure of the unit `key`, if no hook has been given it. If the error is about another process than the one that
/// failed, it is wrapped in one that is about the process with this label.
pub(super) fn unreported(error: Error, key: Arc<str>, label: Label) -> Option<Error> {
    if support::was_reported(&error) {
        return None;
    }
    if support::names_its_process(&error) {
        return Some(error);
    }
    Some(Error::failed(label, Box::new(ManagerError::NotRestarted { key, source: error })))
}

/// The error of a run without those that only say that its process was aborted.
fn without_own_abort(error: Error, process: Option<ProcessId>) -> Option<Error> {
    without(error, |error| matches!(error, Error::Aborted(label) if Some(label.id()) == process))
}
