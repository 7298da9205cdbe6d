//! [`ManagerError`]: why a call of a manager failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use procession::Error;
use procession::support::with_causes;

use crate::status::State;

/// An error that can be shared.
pub type SharedError = Arc<dyn StdError + Send + Sync>;

/// Why a call of a [`Manager`](crate::Manager) failed. What concerns a unit names its key.
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
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager is not running, or stops.
    NotRunning,
    /// There is no such unit.
    NotFound {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit is still starting.
    NotReady {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit has a run already, which may be stopping.
    Exists {
        /// The unit.
        key: Arc<str>,
    },
    /// The call does not fit the state.
    InvalidState {
        /// The unit.
        key: Arc<str>,
        /// Where it stands.
        state: State,
        /// The call.
        call: &'static str,
    },
    /// The unit's row could not be loaded.
    Load {
        /// The unit.
        key: Arc<str>,
        /// What the table said.
        source: SharedError,
    },
    /// The unit was stopped while it started.
    Stopped {
        /// The unit.
        key: Arc<str>,
    },
    /// Units that did not stop, although they were aborted: they keep their keys until they end.
    Stuck {
        /// The units.
        keys: Arc<[Arc<str>]>,
    },
    /// A unit was started again too often, and the manager closes for it.
    GaveUp {
        /// The unit.
        key: Arc<str>,
        /// Its last error; `None` if it ended without one.
        source: Option<Error>,
    },
    /// The unit failed: its outcome.
    Failed(Error),
}

impl ManagerError {
    /// Displays the error with its causes, separated by colons.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        with_causes(self)
    }
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("the manager is not running"),
            Self::NotFound { key } => write!(f, "there is no unit `{key}`"),
            Self::NotReady { key } => write!(f, "unit `{key}` is still starting"),
            Self::Exists { key } => write!(f, "unit `{key}` has a run already"),
            Self::InvalidState { key, state, call } => {
                write!(f, "unit `{key}` is {state}: no {call}")
            }
            Self::Load { key, .. } => write!(f, "unit `{key}` could not be loaded"),
            Self::Stopped { key } => write!(f, "unit `{key}` was stopped while it started"),
            Self::Stuck { keys } => {
                let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                write!(f, "aborted, and did not stop: {}", names.join(", "))
            }
            Self::GaveUp { key, .. } => write!(f, "unit `{key}` was started again too often"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl StdError for ManagerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Load { source, .. } => Some(source),
            Self::GaveUp { source: Some(error), .. } => Some(error),
            Self::Failed(error) => error.source(),
            _ => None,
        }
    }
}
