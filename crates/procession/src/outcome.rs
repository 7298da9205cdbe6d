//! What bodies and teardowns return, and how their panics are caught (I7).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{BoxError, Error};
use crate::name::Label;

/// What a body or a teardown may return: `()`, `!`, or `Result<(), E>` with any `E` that goes into a boxed
/// error: error types, [`Error`] itself (kept as it is), `&str`, `String`, `anyhow::Error`.
///
/// ```
/// use procession::Process;
///
/// let process = Process::with_teardown(|| Err("no such table"));
/// assert!(process.close_blocking().is_err());
/// ```
pub trait IntoOutcome: sealed::Sealed {
    /// The result with its error boxed.
    fn into_outcome(self) -> Result<(), BoxError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for super::Never {}
    impl<E> Sealed for Result<(), E> {}

    pub trait Returns {
        type Type;
    }

    impl<T> Returns for fn() -> T {
        type Type = T;
    }
}

/// `!`, which cannot be named on stable Rust: the return type of a closure that only panics or loops.
type Never = <fn() -> ! as sealed::Returns>::Type;

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl IntoOutcome for Never {
    fn into_outcome(self) -> Result<(), BoxError> {
        self
    }
}

impl<E: Into<BoxError>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Runs the code of a process; the message of its panic is the error.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Arc<str>> {
    // What the closure captured is not used after a panic, or is the user's own to share.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let message = message(&*payload).into();
        discard(payload);
        message
    })
}

/// The result of code that was run with [`catch`], as a part of the outcome of the process.
pub(crate) fn outcome(
    caught: Result<Result<(), BoxError>, Arc<str>>,
    label: impl FnOnce() -> Label,
) -> Result<(), Error> {
    match caught {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::failed(label(), error)),
        Err(message) => Err(Error::panicked(label(), message)),
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "(the panic's payload is no string)"
    }
}

/// Drops what may panic while it is dropped.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its drop may panic again.
        std::mem::forget(payload);
    }
}
