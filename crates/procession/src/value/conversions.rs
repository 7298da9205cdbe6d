//! Conversions between error types, for `?`.

use std::error::Error as StdError;
use std::io;
#[cfg(all(feature = "signal", unix, not(loom)))]
use std::sync::Arc;

#[cfg(all(feature = "signal", unix, not(loom)))]
use crate::value::SignalError;
use crate::value::{Error, LinkError};

/// For functions that return an [`io::Result`]. If the cause is an I/O error, its [kind](io::Error::kind) is kept.
///
/// ```
/// use procession::Process;
/// use std::io;
///
/// fn save() -> io::Result<()> {
///     let file = Process::with_teardown(|| Err(io::Error::from(io::ErrorKind::StorageFull)));
///     Ok(file.close_blocking()?)
/// }
///
/// assert_eq!(save().unwrap_err().kind(), io::ErrorKind::StorageFull);
/// ```
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<Self>());
        let kind = cause.map_or(io::ErrorKind::Other, Self::kind);
        Self::new(kind, error)
    }
}

/// For functions that return an [`io::Result`].
impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        Self::other(error)
    }
}

/// For functions that return one error type.
///
/// ```
/// use procession::{Error, Process, signal};
///
/// fn start() -> Result<Process, Error> {
///     let app = Process::builder().name("app").build()?;
///     signal::bind(&app, [signal::SIGHUP])?;
///     Ok(app)
/// }
/// # start().unwrap();
/// ```
#[cfg(all(feature = "signal", unix, not(loom)))]
impl From<SignalError> for Error {
    fn from(error: SignalError) -> Self {
        match error {
            SignalError::Background => Self::Background,
            error => Self::Signal(Arc::new(error)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;

    use crate::Process;
    use crate::value::{Error, LinkError};

    #[test]
    fn an_io_error_keeps_its_kind_and_its_process() {
        let failed = || Err(io::Error::from(io::ErrorKind::TimedOut));
        let file = Process::builder().name("file").teardown(failed).build().unwrap();
        let error = io::Error::from(file.close_blocking().unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "process `file` failed");
        assert_eq!(io::Error::from(Error::Background).kind(), io::ErrorKind::Other);
        assert_eq!(io::Error::from(LinkError::Background).kind(), io::ErrorKind::Other);
    }

    #[cfg(all(feature = "signal", unix))]
    #[test]
    fn a_signal_error_is_an_error() {
        use crate::signal::bind;

        let bound = |process: &Process, signal| Error::from(bind(process, [signal]).unwrap_err());
        let error = bound(&Process::new(), 9);
        assert!(matches!(error, Error::Signal(_)));
        assert_eq!(error.to_string(), "SIGKILL cannot be caught");
        assert!(error.process().is_none());
        assert!(matches!(bound(Process::background(), 1), Error::Background));
    }
}
