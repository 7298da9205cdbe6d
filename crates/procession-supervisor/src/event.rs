//! [`Event`]s: all that happens to units, for logs and for the caller.

use std::fmt;
use std::time::Duration;

use async_broadcast::{InactiveReceiver, Receiver, RecvError, Sender, TryRecvError, broadcast};
use procession::Error;
use tracing::{error, info, warn};

use procession::support::with_causes;

use crate::error::SharedError;
use crate::table::Key;

/// Something that happened. Each is a `tracing` event too, and goes to who reads [`Events`].
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
    /// The unit ended by itself, without an error.
    Ended {
        /// The unit.
        key: K,
    },
    /// The unit failed by itself: an error, a panic, or an end before it was ready.
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

/// Where events come from.
pub(crate) struct EventSource<K> {
    sender: Sender<Event<K>>,
    /// Keeps the channel open while nobody reads.
    _open: InactiveReceiver<Event<K>>,
}

impl<K: Key> EventSource<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        let (mut sender, receiver) = broadcast(capacity.max(1));
        sender.set_overflow(true);
        Self { sender, _open: receiver.deactivate() }
    }

    /// Tells everybody. To be called with no lock held: it wakes who reads.
    pub(crate) fn tell(&self, event: Event<K>) {
        event.log();
        if self.sender.receiver_count() > 0 {
            // Nobody reads any more.
            let _unread = self.sender.try_broadcast(event);
        }
    }

    pub(crate) fn read(&self) -> Events<K> {
        Events { receiver: self.sender.new_receiver() }
    }
}

/// Reads the events of a manager, from when it was made on. Made by [`Manager::events`](crate::Manager::events).
///
/// It holds back a bounded number of events: who reads too slowly loses the oldest, and is told how many with
/// [`Event::Missed`]. It ends when the manager is gone.
///
/// ```
/// use procession_runnable::nop;
/// use procession_supervisor::{Event, Manager, MemoryTable};
///
/// let table = MemoryTable::new();
/// table.insert("job", nop());
/// let manager = Manager::new(table);
/// let mut events = manager.events();
/// futures_lite::future::block_on(async {
///     manager.run(|_| async {}).await?;
///     assert!(matches!(events.recv().await, Some(Event::Started { key: "job" })));
///     assert!(matches!(events.recv().await, Some(Event::Ready { key: "job" })));
///     Ok::<(), procession::Error>(())
/// })?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Events<K> {
    receiver: Receiver<Event<K>>,
}

impl<K: Key> Events<K> {
    /// The next event; `None` when the manager is gone.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Event<K>> {
        received(self.receiver.recv_direct().await)
    }

    /// [`recv`](Self::recv), blocking.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn recv_blocking(&mut self) -> Option<Event<K>> {
        received(self.receiver.recv_blocking())
    }

    /// The next event, if it is there.
    pub fn try_recv(&mut self) -> Option<Event<K>> {
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Overflowed(count)) => Some(Event::Missed { count }),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

fn received<K>(received: Result<Event<K>, RecvError>) -> Option<Event<K>> {
    match received {
        Ok(event) => Some(event),
        Err(RecvError::Overflowed(count)) => Some(Event::Missed { count }),
        Err(RecvError::Closed) => None,
    }
}

impl<K> fmt::Debug for Events<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
