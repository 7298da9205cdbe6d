//! [`Event`]: something that happened to a unit, for logs and for readers.

mod channel;

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use procession::Error;
use procession::support::text::{Count, Elapsed, Escaped};
use procession::support::with_causes;
use tracing::{error, info, warn};

pub(crate) use self::channel::EventSource;
pub use self::channel::Events;
use crate::error::SharedError;
use crate::name::Name;

/// Something that happened to a unit, or to its manager or set. Each event goes to all [`Events`] readers and to
/// `tracing`.
///
/// Its `Display` is one line: ``workers: unit `importer` was aborted after 10 s``.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event<K> {
    /// The name of the manager or set.
    pub manager: Arc<str>,
    /// The key of the unit, if the event is about one.
    pub key: Option<K>,
    /// What happened.
    pub what: Happening,
}

/// The kind of an [`Event`], with its details.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// A run of the unit was started.
    Started,
    /// The unit is ready.
    Ready,
    /// The unit ended without an error, and was not asked to stop.
    Ended,
    /// The unit failed: with an error, by a panic, or because it ended before it was ready.
    Failed {
        /// Its error.
        error: Error,
        /// The pause before its restart, which also waits for [`Freed`](Self::Freed) if the unit is
        /// [`Stuck`](Self::Stuck). `None` if it will not be restarted, or if its set restarts it together with other
        /// units.
        restart_in: Option<Duration>,
    },
    /// The unit will be restarted.
    Restarting {
        /// The pause before the restart.
        delay: Duration,
        /// The number of its restarts, including this one.
        restarts: u64,
    },
    /// The unit was restarted too often, or all units together were, and is given up.
    GaveUp {
        /// Its last error; `None` if it ended without one.
        error: Option<Error>,
    },
    /// The row of the unit could not be loaded.
    LoadFailed {
        /// The error of the table.
        error: SharedError,
        /// The pause before the next attempt. `None` if no unit is waiting to be started from the row.
        delay: Option<Duration>,
    },
    /// A scan of the table, or another call to a shared table, has failed.
    TableFailed {
        /// The error of the table.
        error: SharedError,
        /// The pause before the next attempt.
        delay: Duration,
    },
    /// The row of the unit is gone and the unit was not running, so the manager has forgotten it.
    Gone,
    /// The row of the unit has a new version. The unit is restarted now, or uses the new row at its next start.
    Changed,
    /// The unit was asked to stop.
    Stopping,
    /// The unit was aborted, because it did not stop in time or because everything is being aborted.
    Aborted {
        /// The time since it began to close.
        after: Duration,
    },
    /// The unit has not ended within its abort grace, or has ended and left such a unit of a nested set or manager
    /// behind. It keeps its key until all of them have ended.
    Stuck,
    /// The stuck units that the last run of this unit had left behind have ended, so its key is free. If a restart was
    /// announced, it comes now, or at the end of its pause.
    Freed,
    /// The unit has stopped after it was asked to.
    Stopped {
        /// Its error, except one that only reports its own abort.
        error: Option<Error>,
        /// Was it aborted?
        forced: bool,
    },
    /// A shared manager has claimed the unit.
    Claimed {
        /// The number of the claim's fencing token.
        token: u64,
    },
    /// The lease of a shared manager was not renewed for half of its time.
    LeaseAtRisk {
        /// The time until it ends.
        remaining: Duration,
    },
    /// The store of a shared manager, or the code that uses it, has panicked. The manager gives its lease up and
    /// registers again.
    TablePanicked {
        /// The panic's message.
        message: Arc<str>,
    },
    /// The lease of a shared manager has ended. Its units are aborted, and the manager registers again.
    LeaseEnded,
    /// The reader was too slow, and has lost the oldest events.
    Missed {
        /// The number of lost events.
        count: u64,
    },
}

impl<K> Event<K> {
    /// The key of the unit, if the event is about one.
    pub fn key(&self) -> Option<&K> {
        self.key.as_ref()
    }

    /// A stable name for the kind of event, such as `started`, `ready` or `load_failed`.
    pub fn kind(&self) -> &'static str {
        match self.what {
            Happening::Started => "started",
            Happening::Ready => "ready",
            Happening::Ended => "ended",
            Happening::Failed { .. } => "failed",
            Happening::Restarting { .. } => "restarting",
            Happening::GaveUp { .. } => "gave_up",
            Happening::LoadFailed { .. } => "load_failed",
            Happening::TableFailed { .. } => "table_failed",
            Happening::Gone => "gone",
            Happening::Changed => "changed",
            Happening::Stopping => "stopping",
            Happening::Aborted { .. } => "aborted",
            Happening::Stuck => "stuck",
            Happening::Freed => "freed",
            Happening::Stopped { .. } => "stopped",
            Happening::Claimed { .. } => "claimed",
            Happening::LeaseAtRisk { .. } => "lease_at_risk",
            Happening::TablePanicked { .. } => "table_panicked",
            Happening::LeaseEnded => "lease_ended",
            Happening::Missed { .. } => "missed",
        }
    }
}

impl<K: Display> Display for Event<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", Escaped::name(&self.manager))?;
        if let Some(key) = &self.key {
            write!(f, "unit `{}` ", Name(key))?;
        }
        self.what.fmt(f)
    }
}

impl Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("was started"),
            Self::Ready => f.write_str("is ready"),
            Self::Ended => f.write_str("has ended"),
            Self::Failed { error, restart_in } => {
                write!(f, "failed: {}", Text(error))?;
                match restart_in {
                    Some(time) => write!(f, "; it will be restarted in {}", Elapsed(*time)),
                    None => Ok(()),
                }
            }
            Self::Restarting { delay, restarts } => {
                write!(f, "will be restarted in {} (restart {restarts})", Elapsed(*delay))
            }
            Self::GaveUp { error: None } => f.write_str("was restarted too often"),
            Self::GaveUp { error: Some(error) } => {
                write!(f, "was restarted too often: {}", Text(error))
            }
            Self::LoadFailed { error, delay } => {
                write!(f, "could not be loaded: {}", Text(error))?;
                match delay {
                    Some(time) => write!(f, "; the next attempt is in {}", Elapsed(*time)),
                    None => Ok(()),
                }
            }
            Self::TableFailed { error, delay } => {
                write!(f, "the table failed: {}", Text(error))?;
                write!(f, "; the next attempt is in {}", Elapsed(*delay))
            }
            Self::Gone => f.write_str("is forgotten, because its row is gone"),
            Self::Changed => f.write_str("has changed"),
            Self::Stopping => f.write_str("was asked to stop"),
            Self::Aborted { after } => write!(f, "was aborted after {}", Elapsed(*after)),
            Self::Stuck => {
                f.write_str("is stuck: it, or a unit inside it, was aborted and has not ended")
            }
            Self::Freed => f.write_str("is no longer stuck"),
            Self::Stopped { error, forced } => {
                f.write_str(if *forced { "was stopped by force" } else { "has stopped" })?;
                match error {
                    Some(error) => write!(f, ": {}", Text(error)),
                    None => Ok(()),
                }
            }
            Self::Claimed { token } => write!(f, "was claimed with token {token}"),
            Self::LeaseAtRisk { remaining } => {
                write!(f, "the lease could not be renewed, and ends in {}", Elapsed(*remaining))
            }
            Self::TablePanicked { message } => {
                write!(f, "the table panicked: {}", Escaped::error(message))
            }
            Self::LeaseEnded => f.write_str("the lease has ended"),
            Self::Missed { count } => {
                let words = if *count == 1 { "event is" } else { "events are" };
                write!(f, "the reader was too slow: {} {words} missing", Count(*count as usize))
            }
        }
    }
}

/// An error with its causes, escaped for terminals.
struct Text<'a, E: ?Sized>(&'a E);

impl<E: std::error::Error + 'static> Display for Text<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::error(&with_causes(self.0).to_string()).fmt(f)
    }
}

impl<K: Display> Event<K> {
    /// Writes the event to `tracing`.
    fn log(&self) {
        let manager = &*self.manager;
        let unit = self.key.as_ref().map(|key| tracing::field::display(Name(key)));
        let kind = self.kind();
        let what = &self.what;
        match what {
            Happening::Missed { .. } => {}
            Happening::GaveUp { .. } | Happening::Stuck | Happening::TablePanicked { .. } => {
                error!(manager, unit, kind, "{what}")
            }
            Happening::Failed { .. }
            | Happening::LoadFailed { .. }
            | Happening::TableFailed { .. }
            | Happening::Aborted { .. }
            | Happening::LeaseAtRisk { .. }
            | Happening::LeaseEnded
            | Happening::Stopped { error: Some(_), .. } => warn!(manager, unit, kind, "{what}"),
            _ => info!(manager, unit, kind, "{what}"),
        }
    }
}
