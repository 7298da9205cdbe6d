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
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager is not running, or stops.
    #[error("the manager is not running")]
    NotRunning,
    /// There is no such unit.
    #[error("there is no unit `{key}`")]
    NotFound {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit is still starting.
    #[error("unit `{key}` is still starting")]
    NotReady {
        /// The unit.
        key: Arc<str>,
    },
    /// The unit has a run already, which may be stopping.
    #[error("unit `{key}` has a run already")]
    Exists {
        /// The unit.
        key: Arc<str>,
    },
    /// The call does not fit the state.
    #[error("cannot {call} unit `{key}` while it is {state}")]
    InvalidState {
        /// The unit.
        key: Arc<str>,
        /// Where it stands.
        state: State,
        /// The call.
        call: &'static str,
    },
    /// The unit's row could not be loaded.
    #[error("unit `{key}` could not be loaded")]
    Load {
        /// The unit.
        key: Arc<str>,
        /// What the table said.
        source: SharedError,
    },
    /// The unit was stopped while it started.
    #[error("unit `{key}` was stopped while it started")]
    Stopped {
        /// The unit.
        key: Arc<str>,
    },
    /// Units that did not stop, although they were aborted: they keep their keys until they end.
    #[error("aborted, and did not stop: {}", quoted(keys))]
    Stuck {
        /// The units.
        keys: Arc<[Arc<str>]>,
    },
    /// A unit was started again too often, and the manager closes for it.
    #[error("unit `{key}` was started again too often")]
    GaveUp {
        /// The unit.
        key: Arc<str>,
        /// Its last error; `None` if it ended without one.
        source: Option<Error>,
    },
    /// The unit failed: its outcome.
    #[error(transparent)]
    Failed(Error),
}

impl ManagerError {
    /// Displays the error with its causes, separated by colons.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        with_causes(self)
    }
}

fn quoted(keys: &[Arc<str>]) -> String {
    let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    names.join(", ")
}
