//! [`Activity`]: what a connection is doing, as its socket, its requests and their bodies report it.
//!
//! 1. *A request is counted as open from its complete header until its response was sent or dropped*, because the
//!    [`Open`] that counts it is made when hyper calls the service, and lives in the handler's future and then in the
//!    response body, one of which exists for as long as that takes.
//! 2. *A handler counts as working from the header until it returns its response*, except while it waits for its peer:
//!    while the body that it last polled has no bytes. The wait is recorded in the [`Handler`] of its own request, which
//!    exists only until the handler returns, so a request that is answered already, and still reads its body, hides no
//!    other handler.
//!
//! The lock is held for a few instructions, and no foreign code runs under it. The list of handlers is sorted by
//! request number, because these only grow, so a handler is found quickly however many requests its client has open.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::Mutex;

pub(super) struct Activity(Mutex<State>);

struct State {
    seen: Seen,
    /// When the peer last took bytes of a response, on HTTP/2; before that, when the connection was accepted.
    taken_at: Instant,
    /// Those that have not returned, sorted by their requests.
    handlers: Vec<Handler>,
}

/// A handler that has not returned.
struct Handler {
    request: Number,
    /// Does it wait for bytes of its request body?
    is_waiting: bool,
}

/// The number of a request on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

/// What is known about a connection.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// How many requests have begun.
    pub(super) begun: u64,
    /// How many of them are open.
    pub(super) open: usize,
    /// When the last of them ended; before the first, when the connection was accepted.
    pub(super) idle_since: Instant,
    /// Has a byte arrived while no request was open, since the last look?
    pub(super) has_read: bool,
    /// Is it an HTTP/2 connection?
    pub(super) is_http2: bool,
    /// Has the peer taken a byte since the last look?
    pub(super) has_written: bool,
    /// Is there something to write that the socket does not take?
    pub(super) is_blocked: bool,
}

impl State {
    /// Where the handler of this request is in the list, if it has not returned.
    fn position(&self, request: Number) -> Option<usize> {
        self.handlers.binary_search_by_key(&request, |handler| handler.request).ok()
    }
}

impl Activity {
    /// That of a connection that was accepted now.
    pub(super) fn new(now: Instant) -> Arc<Self> {
        let seen = Seen {
            begun: 0,
            open: 0,
            idle_since: now,
            has_read: false,
            is_http2: false,
            has_written: false,
            is_blocked: false,
        };
        Arc::new(Self(Mutex::new(State { seen, taken_at: now, handlers: Vec::new() })))
    }

    /// Looks at everything, and forgets what has happened since the last look.
    pub(super) fn look(&self) -> Seen {
        let seen = &mut self.0.lock().seen;
        let copy = *seen;
        (seen.has_read, seen.has_written) = (false, false);
        copy
    }

    /// How many handlers work, and are not waiting for their peer.
    pub(super) fn working(&self) -> usize {
        self.0.lock().handlers.iter().filter(|handler| !handler.is_waiting).count()
    }

    /// A request has begun.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        let mut state = self.0.lock();
        state.seen.begun += 1;
        state.seen.open += 1;
        let request = Number(state.seen.begun);
        state.handlers.push(Handler { request, is_waiting: false });
        drop(state);
        Open { activity: self.clone(), request, is_working: true }
    }

    /// Code waits for bytes of the body of this request, or no longer does.
    pub(super) fn waits(&self, request: Number, is_waiting: bool) {
        let mut state = self.0.lock();
        // The code can also be a response body, or a task of the user.
        if let Some(position) = state.position(request) {
            state.handlers[position].is_waiting = is_waiting;
        }
    }

    /// The peer has taken bytes of a response.
    pub(super) fn takes(&self) {
        let now = Instant::now();
        self.0.lock().taken_at = now;
    }

    /// When the peer last took bytes of a response.
    pub(super) fn taken_at(&self) -> Instant {
        self.0.lock().taken_at
    }

    /// These bytes have arrived.
    pub(super) fn has_read(&self, bytes: &[u8], is_first: bool) {
        let seen = &mut self.0.lock().seen;
        seen.has_read |= seen.open == 0;
        // No method of HTTP/1 begins with `PRI` (RFC 9113, section 11.6).
        seen.is_http2 |= is_first && bytes.starts_with(b"PRI");
    }

    /// The socket has taken bytes, or does not take any.
    pub(super) fn writes(&self, has_written: bool) {
        let seen = &mut self.0.lock().seen;
        seen.has_written |= has_written;
        seen.is_blocked = !has_written;
    }
}

/// Counts a request as open.
pub(super) struct Open {
    activity: Arc<Activity>,
    request: Number,
    is_working: bool,
}

impl Open {
    /// The number of the request.
    pub(super) fn request(&self) -> Number {
        self.request
    }

    /// The handler has returned its response.
    pub(super) fn is_answered(&mut self) {
        if std::mem::replace(&mut self.is_working, false) {
            let mut state = self.activity.0.lock();
            if let Some(position) = state.position(self.request) {
                state.handlers.remove(position);
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.is_answered();
        let now = Instant::now();
        let seen = &mut self.activity.0.lock().seen;
        seen.open -= 1;
        if seen.open == 0 {
            seen.idle_since = now;
        }
    }
}
