//! The inputs of [`Lifecycle::step`](super::Lifecycle::step): events and requests. A request may also come with the
//! error of a run.

use std::sync::Arc;

use procession::support::catch;
use procession::{Error, Label};

use crate::causes::{Cause, search};
use crate::error::{ManagerError, Requesting, SharedError};
use crate::stuck_units::LeftBehind;

/// An event or a request that concerns a unit.
#[derive(Debug)]
pub(crate) enum Input {
    /// The unit should run. The front end must load its description and start it.
    Load,
    /// The unit's turn has come, and the front end already has its description. The engine starts it right after this.
    Begin,
    /// The row of the unit could not be loaded. `forget` is set for a unit that exists only because of a call.
    NotLoaded { key: Arc<str>, error: SharedError, forget: bool },
    /// A run was started.
    Started,
    /// No run could be started.
    NotStarted { error: Error, request: Request },
    /// The run is ready.
    Ready,
    /// This process of the run ended without an error before the run was ready.
    EndedUnready(Label),
    /// The run has begun to close.
    BeganToClose,
    /// The run is Closed.
    Closed(End),
    /// The run is Closed, but has left these stuck units of a nested set or manager behind.
    Outlived(End, Vec<Arc<LeftBehind>>),
    /// The units that the run had left behind have ended.
    Freed,
    /// The row of the unit has changed, and the unit should run as its current row says.
    Changed,
    /// The unit should stop.
    Stop(Then),
    /// The unit should be aborted now.
    Abort(Then),
    /// The time [`Lifecycle::due`](super::Lifecycle::due) has passed.
    Due,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) error: Option<Error>,
    /// The error, without the part that only reports the run's own abort (U3).
    pub(crate) foreign_error: Option<Error>,
    /// What the error asks for.
    pub(crate) request: Request,
    /// Was the run aborted?
    pub(crate) aborted: bool,
}

/// What follows a run that was asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    /// The unit stays stopped until a call starts it.
    #[default]
    Stay,
    /// The unit is started again at once.
    Again,
    /// The unit waits until its strategy starts it again.
    Hold,
    /// The unit is forgotten.
    Forget,
}

/// What the error of a run asks its manager or set for. The greatest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    #[default]
    None,
    DoNotRestart,
    EndAll,
}

impl Request {
    /// Searches the error and its causes, because an error type of the user may wrap a
    /// [`DoNotRestart`](crate::DoNotRestart) or an [`EndAll`](crate::EndAll). It does not search the errors inside a
    /// nested set, because the error of the set itself has the request.
    ///
    /// The causes of an error are foreign code, so no lock may be held. If that code panics, there is no request.
    pub(crate) fn of(error: &Error) -> Self {
        let mut found = Self::None;
        let look = |error: Cause<'_>| {
            let requested = match error.downcast_ref() {
                Some(ManagerError::ClosedFor { ends_all: true, .. }) => Self::EndAll,
                Some(_) => return false,
                None => match error.downcast_ref() {
                    Some(Requesting { ends_all: true, .. }) => Self::EndAll,
                    Some(Requesting { ends_all: false, .. }) => Self::DoNotRestart,
                    None => Self::None,
                },
            };
            found = found.max(requested);
            true
        };
        catch(|| search(error, look)).map_or(Self::None, |()| found)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::fmt;

    use super::*;
    use crate::error::{DoNotRestart, EndAll};

    /// An error of a user that wraps another one.
    #[derive(Debug)]
    struct Wrapped<E>(E);

    impl<E> fmt::Display for Wrapped<E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the job failed")
        }
    }

    impl<E: StdError + 'static> StdError for Wrapped<E> {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    /// An error without a last cause, or one that panics when it is asked for its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("odd")]
    struct Odd {
        panics: bool,
    }

    #[derive(Debug)]
    struct Endless(Odd);

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(&self.0, f)
        }
    }

    impl StdError for Endless {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            if self.0.panics {
                std::panic::resume_unwind(Box::new("no cause"));
            }
            Some(self)
        }
    }

    fn failed(error: impl StdError + Send + Sync + 'static) -> Error {
        Error::failed(procession::Process::new().label(), Box::new(error))
    }

    #[test]
    fn a_request_is_found_among_the_causes() {
        let requests = [
            (failed(DoNotRestart::new("no")), Request::DoNotRestart),
            (failed(Wrapped(DoNotRestart::new("no"))), Request::DoNotRestart),
            (failed(Wrapped(Wrapped(EndAll::new("no")))), Request::EndAll),
            // The error of a task has an error of the library as its cause.
            (failed(Wrapped(failed(EndAll::new("no")))), Request::EndAll),
            (failed(Wrapped(Odd { panics: false })), Request::None),
            (failed(Endless(Odd { panics: false })), Request::None),
            (failed(Endless(Odd { panics: true })), Request::None),
        ];
        for (error, request) in requests {
            assert_eq!(Request::of(&error), request, "{error:?}");
        }
    }

    #[test]
    fn the_request_of_a_unit_in_a_nested_set_is_not_taken_twice() {
        let closed = |ends_all| {
            let source = failed(EndAll::new("no"));
            failed(Wrapped(ManagerError::ClosedFor { key: "a".into(), source, ends_all }))
        };
        assert_eq!(Request::of(&closed(true)), Request::EndAll);
        assert_eq!(Request::of(&closed(false)), Request::None);
    }
}
