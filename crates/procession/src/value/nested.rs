//! Values that may own others of their kind, to any depth: an [`Error`](crate::Error) contains a user's error, which
//! may contain another [`Error`](crate::Error), and so on.
//!
//! Nothing recurses over them (I11), and the cost of formatting them is linear in the depth (I16). Argument:
//!
//! 1. *Drop*: each value is held in a [`Nested`], whose drop is in `run/nested.rs`, because layer 2 runs foreign code
//!    and catches its panics.
//! 2. *`Debug`, and the `Display` of lists*: the types in between belong to others, so the depth cannot be passed
//!    along. [`one_level_deeper`] counts it for each thread. Beyond [`MAX_DEPTH`], an error is formatted without those
//!    inside it, or with its causes, one after the other.
//! 3. Other `Display`s do not format what is inside; that is the [`source`](std::error::Error::source).

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
// Also in a model: formatting does not switch to another of its threads.
use std::thread_local;

use crate::value::{BoxError, with_causes};

/// The maximum number of drops, or of calls that format, that nest for values inside each other.
pub(crate) const MAX_DEPTH: usize = 8;

thread_local! {
    /// The number of calls of [`one_level_deeper`] on the stack of this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// A value that may own others in a [`Nested`]. Dropping it does not recurse over those, and does not panic.
#[derive(Clone)]
pub struct Nested<T: 'static> {
    /// `None` only while it is dropped.
    pub(crate) value: Option<T>,
}

impl<T: 'static> Nested<T> {
    /// Holds the value.
    pub fn new(value: T) -> Self {
        Self { value: Some(value) }
    }
}

impl<T: 'static> Deref for Nested<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only the drop takes it")
    }
}

impl fmt::Debug for Nested<BoxError> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error: &BoxError = self;
        one_level_deeper(|is_too_deep| {
            if is_too_deep { write!(f, "{}", with_causes(&**error)) } else { error.fmt(f) }
        })
    }
}

/// Calls `format`, which formats errors inside the one that is being formatted. Its argument is true if this one is too
/// deep inside others, so that it must not format those inside it.
pub(crate) fn one_level_deeper<R>(format: impl FnOnce(bool) -> R) -> R {
    struct Level(usize);

    impl Drop for Level {
        fn drop(&mut self) {
            DEPTH.set(self.0);
        }
    }

    let level = Level(DEPTH.get());
    let is_too_deep = level.0 >= MAX_DEPTH;
    if !is_too_deep {
        DEPTH.set(level.0 + 1);
    }
    format(is_too_deep)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::MAX_DEPTH;
    use crate::Process;
    use crate::value::Error;

    /// Lists inside each other, each with another error behind the inner list.
    fn lists(depth: usize) -> Error {
        let label = Process::background().label();
        let other = |text: &str| Error::failed(label.clone(), text.into());
        (0..depth).fold(other("innermost"), |inside, _| {
            let inside = Error::failed(label.clone(), Box::new(Inside(inside)));
            Error::all([inside, other("other")]).unwrap_err()
        })
    }

    #[derive(Debug, thiserror::Error)]
    #[error("inside")]
    struct Inside(#[source] Error);

    #[test]
    fn a_list_deep_inside_others_is_only_counted() {
        let text = lists(MAX_DEPTH).to_string();
        assert!(text.contains(": process `background` failed: innermost\n"), "{text}");
        assert_eq!(text.matches("2 errors:\n").count(), MAX_DEPTH, "{text}");
        let text = lists(MAX_DEPTH + 1).to_string();
        assert!(text.contains("failed: inside: 2 errors\n"), "{text}");
        assert_eq!(text.matches("2 errors").count(), MAX_DEPTH + 1, "{text}");
        // The depth is counted anew for each call.
        assert_eq!(lists(MAX_DEPTH + 1).to_string(), text);
    }

    #[test]
    fn debug_of_an_error_deep_inside_others_shows_its_causes() {
        let label = Process::background().label();
        let debug = |depth| {
            let first = Error::failed(label.clone(), "innermost".into());
            let wrap = |inside, _| Error::failed(label.clone(), Box::new(Inside(inside)));
            format!("{:?}", (0..depth).fold(first, wrap))
        };
        let text = debug(MAX_DEPTH - 1);
        assert_eq!(text.matches("Inside(").count(), MAX_DEPTH - 1, "{text}");
        assert!(text.contains("source: \"innermost\" }"), "{text}");
        let text = debug(MAX_DEPTH + 1);
        assert_eq!(text.matches("Inside(").count(), MAX_DEPTH, "{text}");
        assert!(
            text.contains("source: inside: process `background` failed: innermost }"),
            "{text}"
        );
    }
}
