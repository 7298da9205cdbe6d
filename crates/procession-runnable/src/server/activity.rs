//! [`Activity`]: what a connection is doing, as its socket, its requests and their bodies report it.
//!
//! 1. *A request is counted as open from its complete header until its response was sent or dropped*, because the
//!    [`Open`] that counts it is made when hyper calls the service, and lives in the handler's future and then in the
//!    response body, one of which exists for as long as that takes.
//! 2. *A handler counts as working from the header until it returns its response*, except while it waits for its peer:
//!    while the body that it last polled has no bytes.
//!
//! The lock is held for a few instructions, and no foreign code runs under it.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::Mutex;

pub(super) struct Activity(Mutex<Seen>);

/// What is known about a connection.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// How many requests have begun.
    pub(super) begun: u64,
    /// How many of them are open.
    pub(super) open: usize,
    /// When the last of them ended; before the first, when the connection was accepted.
    pub(super) idle_since: Instant,
    /// How many handlers have not returned.
    handlers: usize,
    /// How many bodies have no bytes for the code that has polled them.
    waiting: usize,
    /// Has a byte arrived while no request was open, since the last look?
    pub(super) has_read: bool,
    /// Is it an HTTP/2 connection?
    pub(super) is_http2: bool,
    /// Has the peer taken a byte since the last look?
    pub(super) has_written: bool,
    /// Is there something to write that the socket does not take?
    pub(super) is_blocked: bool,
}

impl Seen {
    /// How many handlers work, and are not waiting for their peer.
    pub(super) fn working(&self) -> usize {
        self.handlers.saturating_sub(self.waiting)
    }
}

impl Activity {
    /// That of a connection that was accepted now.
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Seen {
            begun: 0,
            open: 0,
            idle_since: now,
            handlers: 0,
            waiting: 0,
            has_read: false,
            is_http2: false,
            has_written: false,
            is_blocked: false,
        })))
    }

    /// Looks at everything, and forgets what has happened since the last look.
    pub(super) fn look(&self) -> Seen {
        let mut seen = self.0.lock();
        let copy = *seen;
        (seen.has_read, seen.has_written) = (false, false);
        copy
    }

    /// A request has begun.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        let mut seen = self.0.lock();
        seen.begun += 1;
        seen.open += 1;
        seen.handlers += 1;
        drop(seen);
        Open { activity: self.clone(), is_working: true }
    }

    /// Code waits for bytes of a request body, or no longer does.
    pub(super) fn waits(&self, is_waiting: bool) {
        let mut seen = self.0.lock();
        seen.waiting = if is_waiting { seen.waiting + 1 } else { seen.waiting - 1 };
    }

    /// These bytes have arrived.
    pub(super) fn has_read(&self, bytes: &[u8], is_first: bool) {
        let mut seen = self.0.lock();
        seen.has_read |= seen.open == 0;
        // No method of HTTP/1 begins with `PRI` (RFC 9113, section 11.6).
        seen.is_http2 |= is_first && bytes.starts_with(b"PRI");
    }

    /// The socket has taken bytes, or does not take any.
    pub(super) fn writes(&self, has_written: bool) {
        let mut seen = self.0.lock();
        seen.has_written |= has_written;
        seen.is_blocked = !has_written;
    }
}

/// Counts a request as open.
pub(super) struct Open {
    activity: Arc<Activity>,
    is_working: bool,
}

impl Open {
    /// The handler has returned its response.
    pub(super) fn is_answered(&mut self) {
        if std::mem::replace(&mut self.is_working, false) {
            self.activity.0.lock().handlers -= 1;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.is_answered();
        let now = Instant::now();
        let mut seen = self.activity.0.lock();
        seen.open -= 1;
        if seen.open == 0 {
            seen.idle_since = now;
        }
    }
}
