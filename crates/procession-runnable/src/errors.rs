//! [`Errors`]: the errors that the body of a combinator returns.

use procession::support::{pass_failures_on, pass_on};
use procession::{BoxError, Error, Process};

/// The errors of a body that reads the outcomes of its parts, in the order in which the body reports them.
///
/// Hooks above are called for the failure of a part when it happens, and not again when the body passes the error on.
/// They are called for the body's own errors when the body returns.
pub(crate) struct Errors {
    all: Vec<Error>,
    own: Vec<Error>,
}

impl Errors {
    /// For the body of this process. Call it before the first part is started.
    pub(crate) fn of_parts(process: &Process) -> Self {
        pass_failures_on(process);
        Self { all: Vec::new(), own: Vec::new() }
    }

    /// Adds the outcome of a part.
    pub(crate) fn add_outcome(&mut self, outcome: Result<(), Error>) {
        self.all.extend(outcome.err());
    }

    /// Adds an error of the body's own.
    pub(crate) fn add_own(&mut self, error: Error) {
        self.own.push(error.clone());
        self.all.push(error);
    }

    /// Adds the error of a part that could not be started.
    pub(crate) fn add_refused(&mut self, error: Error) {
        if is_failure_of_part(&error) { self.all.push(error) } else { self.add_own(error) }
    }

    /// The result of the body.
    pub(crate) fn into_result(self) -> Result<(), BoxError> {
        match merge(self.all) {
            None => Ok(()),
            Some(error) => Err(pass_on(error, merge(self.own))),
        }
    }
}

/// Is the error of a start a failure of the part's process? If so, it has already reached the parent and the hooks.
pub(crate) fn is_failure_of_part(error: &Error) -> bool {
    matches!(error, Error::NoThread(_))
}

/// A single error stays as it is, so that passing several errors on through any number of levels copies nothing.
fn merge(mut errors: Vec<Error>) -> Option<Error> {
    if errors.len() == 1 { errors.pop() } else { Error::all(errors).err() }
}
