//! [`IntoOutcome`]: the results that bodies and teardowns may return; [`ok`] and [`ok_with`].

use crate::value::BoxError;

/// A result that a body or a teardown may return: `()`, `!`, or `Result<(), E>` with any `E` that converts into a boxed
/// error: error types, [`Error`](crate::Error) itself (kept as it is), `&str`, `String`, `anyhow::Error`.
///
/// ```
/// use procession::Process;
///
/// let process = Process::with_teardown(|| Err("no such table"));
/// assert!(process.close_blocking().is_err());
/// ```
///
/// A body with a value has another call, [`spawn_task`](crate::Process::spawn_task):
///
/// ```compile_fail,E0277
/// procession::Process::new().spawn_thread(|_| 42)?;
/// # Ok::<(), procession::BoxError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a body or a teardown cannot return `{Self}`",
    label = "this returns `{Self}`",
    note = "bodies and teardowns return `()` or a `Result<(), E>`, for which `E: Into<Box<dyn Error + Send + Sync>>`",
    note = "for a body with a value, call `spawn_task` or `spawn_task_thread`"
)]
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

#[diagnostic::do_not_recommend]
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

/// `Ok(())` with the error type [`BoxError`]: ends a closure, in place of the `Ok::<(), BoxError>(())` by which the
/// compiler would otherwise learn the type of the error.
///
/// ```
/// use procession::Process;
///
/// let app = Process::new();
/// let reader = app.spawn_thread(|_| {
///     let _port: u16 = "8080".parse()?;
///     let _name = String::from_utf8(vec![b'a'])?;
///     procession::ok()
/// })?;
/// reader.closed().wait()?;
/// # Ok::<(), procession::BoxError>(())
/// ```
///
/// # Errors
///
/// Never.
pub const fn ok() -> Result<(), BoxError> {
    Ok(())
}

/// [`ok`] with a value, for the body of a [`Task`](crate::Task).
///
/// ```
/// use procession::{Process, ok_with};
///
/// let app = Process::new();
/// let port = app.spawn_task_thread(|_| {
///     let port: u16 = "8080".parse()?;
///     ok_with(port)
/// })?;
/// assert_eq!(port.wait()?, 8080);
/// # Ok::<(), procession::BoxError>(())
/// ```
///
/// # Errors
///
/// Never.
pub const fn ok_with<T>(value: T) -> Result<T, BoxError> {
    Ok(value)
}
