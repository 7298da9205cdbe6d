//! [`FailedCalls`]: the calls of a periodic process that failed.

use std::fmt;
use std::sync::Arc;

use crate::value::nested::{Nested, one_level_deeper};
use crate::value::text::Count;
use crate::value::{Error, Label};

/// Calls of a periodic process failed. It keeps the first and the last error, and the number of failed calls.
///
/// This is the outcome of a [`Periodic`](crate::Periodic) process that goes on after a failed call.
///
/// ```
/// use procession::{ChildFailure, Error, Periodic, Process};
///
/// let app = Process::new();
/// let mut count = 0;
/// let ticks = futures_lite::stream::iter(0..4);
/// let periodic = Periodic::on(ticks).on_failure(ChildFailure::Ignore).spawn_thread(&app, move |_| {
///     count += 1;
///     if count == 1 { Ok(()) } else { Err(format!("call {count}")) }
/// })?;
/// let Err(Error::FailedCalls(failed)) = periodic.closed().wait() else { panic!() };
/// assert_eq!((failed.calls(), failed.failed()), (4, 3));
/// assert!(failed.to_string().starts_with("3 of 4 calls failed; first: "));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct FailedCalls(Arc<Parts>);

struct Parts {
    label: Label,
    calls: usize,
    failed: usize,
    /// The first and the last.
    errors: Nested<(Error, Error)>,
}

impl FailedCalls {
    pub(crate) fn new(
        label: Label,
        calls: usize,
        failed: usize,
        first: Error,
        last: Error,
    ) -> Self {
        Self(Arc::new(Parts { label, calls, failed, errors: Nested::new((first, last)) }))
    }

    /// The periodic process.
    pub fn process(&self) -> &Label {
        &self.0.label
    }

    /// The number of all calls.
    pub fn calls(&self) -> usize {
        self.0.calls
    }

    /// The number of calls that failed.
    pub fn failed(&self) -> usize {
        self.0.failed
    }

    /// The error of the first call that failed.
    pub fn first(&self) -> &Error {
        &self.0.errors.0
    }

    /// The error of the last call that failed.
    pub fn last(&self) -> &Error {
        &self.0.errors.1
    }

    /// The errors, which may hold users' values; `None` if another clone still shares them.
    pub(crate) fn into_foreign(self) -> Option<Box<dyn Send>> {
        Some(Box::new(Arc::into_inner(self.0)?.errors))
    }
}

impl fmt::Debug for FailedCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { label, calls, failed, .. } = &*self.0;
        let mut parts = f.debug_struct("FailedCalls");
        parts.field("label", label).field("calls", calls).field("failed", failed);
        one_level_deeper(|is_too_deep| match is_too_deep {
            false => parts.field("first", self.first()).field("last", self.last()).finish(),
            true => parts.finish_non_exhaustive(),
        })
    }
}

impl fmt::Display for FailedCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { calls, failed, .. } = *self.0;
        write!(f, "{} of {} calls failed", Count(failed), Count(calls))?;
        one_level_deeper(|is_too_deep| match is_too_deep {
            false => {
                let (first, last) = (self.first().with_causes(), self.last().with_causes());
                write!(f, "; first: {first}; last: {last}")
            }
            true => Ok(()),
        })
    }
}

impl std::error::Error for FailedCalls {}
