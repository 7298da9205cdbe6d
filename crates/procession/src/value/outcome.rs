//! [`IntoOutcome`]: the results that bodies and teardowns may return; [`ok`] and [`ok_with`].

use crate::value::BoxError;

/// A result that a body or a teardown may return: `()`, `!`, or `Result<(), E>` if `E` converts into a boxed error.
/// Such types are all error types, `&str`, `String`, `anyhow::Error`, and [`Error`](crate::Error), which is kept as it
/// is.
///
/// ```
/// use procession::Process;
///
/// let process = Process::with_teardown(|| Err("no such table"));
/// assert!(process.close_blocking().is_err());
/// ```
///
/// A body that returns a value is spawned with [`spawn_task`](crate::Process::spawn_task) instead:
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
    /// Converts the result, boxing its error.
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

/// The type `!`, which cannot be named on stable Rust: the return type of a closure that never returns.
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

/// `Ok(())` with the error type [`BoxError`]. A closure that ends with it need not spell out `Ok::<(), BoxError>(())`
/// to fix the type of its error.
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
