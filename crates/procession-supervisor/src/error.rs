//! [`ManagerError`]: why a call of a manager or a set failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use procession::support::text::{Count, Escaped};
use procession::support::{Nested, with_causes};
use procession::{BoxError, Error};

use crate::state::State;

/// An error that can be shared.
pub type SharedError = Arc<dyn StdError + Send + Sync>;

/// Why a call of a [`Manager`](crate::Manager) or a [`Supervisor`](crate::Supervisor) failed. Errors about a unit have
/// its key.
///
/// ```
/// use procession_supervisor::{Manager, ManagerError, MemoryTable};
///
/// let manager = Manager::new(MemoryTable::<String>::new());
/// assert!(matches!(manager.get(&"job".to_owned()), Err(ManagerError::NotRunning)));
/// manager.run_blocking(|_| {
///     let error = manager.get(&"job".to_owned()).unwrap_err();
///     assert_eq!(error.to_string(), "there is no unit `job`");
/// })?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager is not running, or is stopping.
    #[error("the manager is not running")]
    NotRunning,
    /// The manager cannot hand its units over, because no other manager could run them.
    #[error("cannot hand over: no other manager is registered that could run the units")]
    NoOtherManager,
    /// There is no such unit.
    #[error("there is no unit `{}`", Escaped::name(key))]
    NotFound {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit is still starting.
    #[error("unit `{}` is still starting", Escaped::name(key))]
    NotReady {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit already has a run, which may be stopping.
    #[error("unit `{}` already has a run", Escaped::name(key))]
    HasRun {
        /// The unit.
        key: Arc<str>,
    },
    /// The set already has a unit with this name.
    #[error("there is already a unit `{}`", Escaped::name(key))]
    Exists {
        /// The unit.
        key: Arc<str>,
    },
    /// The call is not possible in this state.
    #[error("cannot {call} unit `{}` while it is {state}", Escaped::name(key))]
    InvalidState {
        /// The unit.
        key: Arc<str>,
        /// Its state.
        state: State,
        /// The call.
        call: &'static str,
    },
    /// The row of the unit could not be loaded.
    #[error("unit `{}` could not be loaded", Escaped::name(key))]
    Load {
        /// The unit.
        key: Arc<str>,
        /// The error of the table.
        source: SharedError,
    },
    /// The table could not be read to its end.
    #[error("the table could not be read")]
    Scan {
        /// The error of the table.
        source: SharedError,
    },
    /// The unit was stopped before it was ready.
    #[error("unit `{}` was stopped while it started", Escaped::name(key))]
    Stopped {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit ended without an error before the call could be answered.
    #[error("unit `{}` has ended", Escaped::name(key))]
    Ended {
        /// The unit.
        key: Arc<str>,
    },
    /// Some units have not ended within their abort grace. They keep their keys until they end.
    #[error("aborted, and has not ended: {}", listed(keys, *count))]
    #[non_exhaustive]
    Stuck {
        /// At most 16 of the units. A unit of a nested set or manager is named by the keys down to it, such as
        /// `set/unit`; if there are more than 16, by the nearest 16, after `…/`.
        keys: Arc<[Arc<str>]>,
        /// The number of units.
        count: usize,
        /// The blockers that keep these units from ending, one on each line, with their paths through the processes
        /// above.
        report: Arc<str>,
    },
    /// A unit was restarted too often, so its manager or set closes.
    #[error("unit `{}` was restarted too often", Escaped::name(key))]
    GaveUp {
        /// The unit.
        key: Arc<str>,
        /// Its last error; `None` if it ended without one.
        source: Option<Error>,
    },
    /// A unit failed, and its manager or set closes because of that: its error requires it ([`EndAll`]), its
    /// [`OnFailure`](crate::OnFailure) requires it, or the unit failed to start in a set that must start as a whole
    /// ([`start_together`](crate::Supervisor::start_together)).
    #[error("unit `{}` failed, so everything closes", Escaped::name(key))]
    ClosedFor {
        /// The unit.
        key: Arc<str>,
        /// Its error.
        source: Error,
        /// Whether the error of the unit also closes the sets and managers above ([`EndAll`]).
        ends_all: bool,
    },
    /// A unit failed, or returned an error while it stopped, and no restart follows.
    #[error("unit `{}` failed, and is not restarted", Escaped::name(key))]
    NotRestarted {
        /// The unit.
        key: Arc<str>,
        /// Its error.
        source: Error,
    },
    /// The unit failed, with this outcome.
    #[error(transparent)]
    Failed(Error),
}

impl ManagerError {
    /// Displays the error with its causes, separated by colons.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        with_causes(self)
    }

    /// The failure because of which everything closes; `None` if that is not the failure of a process.
    pub(crate) fn failure(&self) -> Option<&Error> {
        match self {
            Self::ClosedFor { source, .. } => Some(source),
            Self::GaveUp { source, .. } => source.as_ref(),
            _ => None,
        }
    }
}

/// Names the units. There are `count` of them, and `keys` has the first ones.
fn listed(keys: &[Arc<str>], count: usize) -> String {
    let mut names: Vec<String> =
        keys.iter().map(|key| format!("`{}`", Escaped::name(key))).collect();
    if count > keys.len() {
        names.push(format!("and {} more", Count(count - keys.len())));
    }
    names.join(", ")
}

/// An error that ends a unit for good: the unit is not restarted, whatever its [`Restart`](crate::Restart) says. To end
/// everything, return [`EndAll`].
///
/// An error that has this among its [sources](std::error::Error::source) does the same, and so does one that wraps it
/// transparently, such as an `anyhow::Error` made from it.
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::DoNotRestart;
///
/// let login = body(|_| async { Err(DoNotRestart::new("the password is wrong")) });
/// let with_anyhow = body(|_| async { Err(anyhow::Error::from(DoNotRestart::new("the password is wrong"))) });
/// # let _ = (login, with_anyhow);
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the unit must not be restarted")]
pub struct DoNotRestart(#[source] Requesting);

/// An error that ends the whole supervision tree: the set or manager of the unit that returns it, and all sets and
/// managers around that. To end only the unit, return [`DoNotRestart`].
///
/// An error that has this among its [sources](std::error::Error::source) does the same, and so does one that wraps it
/// transparently, such as an `anyhow::Error` made from it.
#[derive(Debug, thiserror::Error)]
#[error("everything must close")]
pub struct EndAll(#[source] Requesting);

impl DoNotRestart {
    /// Wraps an error or a text.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(Requesting { ends_all: false, error: Nested::new(error.into()) })
    }

    /// The wrapped error.
    pub fn get(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &**self.0.error
    }
}

impl EndAll {
    /// Wraps an error or a text.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(Requesting { ends_all: true, error: Nested::new(error.into()) })
    }

    /// The wrapped error.
    pub fn get(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &**self.0.error
    }
}

/// The error in a [`DoNotRestart`] or an [`EndAll`], with its text and its source.
///
/// It makes the request findable. An error type that wraps another one transparently, as `anyhow::Error` does, hides
/// the type of the wrapped error, but passes on the source of that error, which is this value.
#[derive(Debug)]
pub(crate) struct Requesting {
    /// Is it in an [`EndAll`]?
    pub(crate) ends_all: bool,
    error: Nested<BoxError>,
}

impl fmt::Display for Requesting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Requesting {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}
