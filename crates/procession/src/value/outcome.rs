//! [`IntoOutcome`]: what bodies and teardowns may return.

use crate::value::BoxError;

/// What a body or a teardown may return: `()`, `!`, or `Result<(), E>` with any `E` that converts into a boxed
/// error: error types, [`Error`](crate::Error) itself (kept as it is), `&str`, `String`, `anyhow::Error`.
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
