//! [`ManagerError`]: why a call of a manager or a set failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use procession::support::text::Escaped;
use procession::support::{labels, was_reported, with_causes};
use procession::{BoxError, Error, Process, WeakProcess};

use crate::state::State;

/// The maximum number of units in a report, and the maximum number of blockers for each of them.
const BLOCKERS: usize = 16;

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
    #[error("aborted, and has not ended: {}", listed(keys))]
    #[non_exhaustive]
    Stuck {
        /// The units. A unit of a nested set or manager has the keys down to it in front, such as `set/unit`.
        keys: Arc<[Arc<str>]>,
        /// The blockers that keep them from ending, one on each line, with their paths through all processes above.
        report: Arc<str>,
        /// Finds out whether they have ended since.
        #[doc(hidden)]
        open: OpenUnits,
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

/// The processes that are open as long as the units of an error have not ended. It does not own them (I8).
#[derive(Clone, Debug, Default)]
pub struct OpenUnits(Arc<[WeakProcess]>);

impl OpenUnits {
    /// A process that is still open, if there is one. A process that no longer exists is Closed.
    pub(crate) fn first(&self) -> Option<Process> {
        self.0.iter().filter_map(WeakProcess::upgrade).find(|process| !process.is_closed())
    }
}

/// Units that have not ended within their abort grace, here and in nested sets and managers.
#[derive(Default)]
pub(crate) struct StuckUnits {
    keys: Vec<Arc<str>>,
    reports: Vec<String>,
    open: Vec<WeakProcess>,
    /// At least one of them was not reported by a set or a manager below.
    is_new: bool,
}

impl StuckUnits {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Adds a unit, with the process that is still open. `below` is the error of its run, if that is Closed: then the
    /// units that it names are added instead.
    pub(crate) fn add(&mut self, key: Arc<str>, process: &Process, below: Option<&Error>) {
        let has_added = match below {
            Some(Error::Many(errors)) => {
                errors.iter().filter(|error| self.add_nested(&key, error)).count() > 0
            }
            Some(error) => self.add_nested(&key, error),
            None => false,
        };
        if !has_added {
            self.add_one(key, process);
        }
    }

    /// A run that ends with this error leaves the units behind as long as this process is open.
    pub(crate) fn add_open(&mut self, process: &Process) {
        self.open.push(process.downgrade());
    }

    /// The error for a caller. A run that returns it has not left these units behind, so it does not wait for them.
    pub(crate) fn for_caller(mut self) -> ManagerError {
        self.open.clear();
        self.into()
    }

    fn add_one(&mut self, key: Arc<str>, process: &Process) {
        self.keys.push(key);
        self.is_new = true;
        if self.reports.len() < BLOCKERS {
            self.reports.push(report(process));
        }
    }

    /// Adds those that an error of the unit `key`, a set or a manager, names. Returns `false` if it names none.
    fn add_nested(&mut self, key: &str, error: &Error) -> bool {
        let Error::Failed(failed) = error else { return false };
        let Some(ManagerError::Stuck { keys, report, open }) = failed.get().downcast_ref() else {
            return false;
        };
        self.keys.extend(keys.iter().map(|below| Arc::from(format!("{key}/{below}"))));
        self.open.extend(open.0.iter().cloned());
        self.is_new |= !was_reported(error);
        if self.reports.len() < BLOCKERS {
            self.reports.push(report.to_string());
        }
        true
    }
}

impl From<StuckUnits> for ManagerError {
    fn from(StuckUnits { keys, reports, open, .. }: StuckUnits) -> Self {
        let open = OpenUnits(open.into());
        Self::Stuck { keys: keys.into(), report: reports.join("\n").into(), open }
    }
}

/// The blockers of a process, one on each line, with the path from the top. Call it while the processes above are open,
/// because a Closed process has nothing above it.
fn report(process: &Process) -> String {
    let mut above = labels(&process.label());
    above.pop();
    let above: String = above.iter().map(|label| format!("{} › ", Escaped::name(label))).collect();
    let blockers = process.blockers(BLOCKERS).to_string();
    let lines: Vec<String> = blockers.lines().map(|line| format!("{above}{line}")).collect();
    lines.join("\n")
}

fn listed(keys: &[Arc<str>]) -> String {
    let names: Vec<String> = keys.iter().map(|key| format!("`{}`", Escaped::name(key))).collect();
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
        Self(Requesting { ends_all: false, error: error.into() })
    }

    /// The wrapped error.
    pub fn get(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0.error
    }
}

impl EndAll {
    /// Wraps an error or a text.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(Requesting { ends_all: true, error: error.into() })
    }

    /// The wrapped error.
    pub fn get(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0.error
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
    error: BoxError,
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
