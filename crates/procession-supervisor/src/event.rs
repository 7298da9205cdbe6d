//! [`Event`]s: all that happens to units, for logs and for the caller.

mod channel;

use std::fmt;
use std::time::Duration;

use procession::Error;
use tracing::{error, info, warn};

use procession::support::with_causes;

pub(crate) use self::channel::EventSource;
pub use self::channel::Events;
use crate::error::SharedError;

/// Something that happened. Each event is also a `tracing` event, and goes to all readers of [`Events`].
///
/// ```
/// use procession_supervisor::Event;
/// use std::time::Duration;
///
/// let event = Event::Aborted { key: "importer", grace: Duration::from_secs(10) };
/// assert_eq!(event.key(), Some(&"importer"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<K> {
    /// A run of the unit has started.
    Started {
        /// The unit.
        key: K,
    },
    /// The unit is ready.
    Ready {
        /// The unit.
        key: K,
    },
    /// The unit ended without an error, and without having been asked to.
    Ended {
        /// The unit.
        key: K,
    },
    /// The unit failed: an error, a panic, or an end before it was ready.
    Failed {
        /// The unit.
        key: K,
        /// Why.
        error: Error,
    },
    /// The unit is to be started again.
    Restarting {
        /// The unit.
        key: K,
        /// In how long a time.
        delay: Duration,
        /// How often it was started again, this time included.
        restarts: u64,
    },
    /// The unit was started again too often, and is not any more.
    GaveUp {
        /// The unit.
        key: K,
        /// Its last error; `None` if it ended without one.
        error: Option<Error>,
    },
    /// The row of the unit could not be loaded.
    LoadFailed {
        /// The unit.
        key: K,
        /// What the table said.
        error: SharedError,
        /// In how long a time it is tried again, if a unit is to be started from it.
        delay: Option<Duration>,
    },
    /// The table could not be read to its end.
    ScanFailed {
        /// What the table said.
        error: SharedError,
        /// When it is tried again.
        delay: Duration,
    },
    /// The row of the unit, which does not run, is gone: it is not started again.
    Gone {
        /// The unit.
        key: K,
    },
    /// The unit is asked to stop.
    Stopping {
        /// The unit.
        key: K,
    },
    /// The unit did not stop in time, and is aborted.
    Aborted {
        /// The unit.
        key: K,
        /// How long it had.
        grace: Duration,
    },
    /// The unit was aborted, and did not stop. It keeps its key until it has.
    Stuck {
        /// The unit.
        key: K,
    },
    /// The unit has stopped, as it was asked to.
    Stopped {
        /// The unit.
        key: K,
        /// What went wrong with it.
        error: Option<Error>,
    },
    /// Who reads is too slow: so many events were dropped, the oldest first.
    Missed {
        /// How many.
        count: u64,
    },
}

impl<K> Event<K> {
    /// The unit that it is of, if it is of one.
    pub fn key(&self) -> Option<&K> {
        match self {
            Self::Started { key }
            | Self::Ready { key }
            | Self::Ended { key }
            | Self::Failed { key, .. }
            | Self::Restarting { key, .. }
            | Self::GaveUp { key, .. }
            | Self::LoadFailed { key, .. }
            | Self::Gone { key }
            | Self::Stopping { key }
            | Self::Aborted { key, .. }
            | Self::Stuck { key }
            | Self::Stopped { key, .. } => Some(key),
            Self::ScanFailed { .. } | Self::Missed { .. } => None,
        }
    }
}

impl<K: fmt::Display> Event<K> {
    /// Tells `tracing`.
    fn log(&self) {
        match self {
            Self::Started { key } => info!(unit = %key, "started"),
            Self::Ready { key } => info!(unit = %key, "ready"),
            Self::Ended { key } => info!(unit = %key, "ended"),
            Self::Failed { key, error } => {
                warn!(unit = %key, error = %error.with_causes(), "failed");
            }
            Self::Restarting { key, delay, restarts } => {
                info!(unit = %key, ?delay, restarts, "is to be started again");
            }
            Self::GaveUp { key, error } => match error {
                Some(error) => error!(unit = %key, error = %error.with_causes(), "given up"),
                None => error!(unit = %key, "given up"),
            },
            Self::LoadFailed { key, error, delay } => {
                warn!(unit = %key, error = %with_causes(error), ?delay, "could not be loaded");
            }
            Self::Gone { key } => info!(unit = %key, "its row is gone"),
            Self::ScanFailed { error, delay } => {
                warn!(error = %with_causes(error), ?delay, "the table was not read");
            }
            Self::Stopping { key } => info!(unit = %key, "stopping"),
            Self::Aborted { key, grace } => warn!(unit = %key, ?grace, "aborted"),
            Self::Stuck { key } => error!(unit = %key, "stuck: it ignores its abort"),
            Self::Stopped { key, error } => match error {
                Some(error) => warn!(unit = %key, error = %error.with_causes(), "stopped"),
                None => info!(unit = %key, "stopped"),
            },
            Self::Missed { .. } => {}
        }
    }
}
