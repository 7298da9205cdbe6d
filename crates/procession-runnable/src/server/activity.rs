//! [`Activity`]: what a connection is doing. Its socket, its requests and their bodies report that.
//!
//! 1. *A request counts as open from its complete header until its response was sent or dropped*, because its
//!    [`OpenRequest`] is made when hyper calls the service, and lives first in the handler's future and then in the
//!    response body, which hyper drops when the response was sent or dropped.
//! 2. *A handler counts as working from the header until it returns its response*, except while it waits for its peer,
//!    which means that its last poll of the request body found no bytes. The wait is recorded in the [`Handler`] of
//!    that request, which exists only until the handler returns. So code that still reads the body of a request after
//!    its response was returned does not affect the count.
//!
//! The lock is held for a few instructions, and no foreign code runs under it. The list of handlers is sorted by
//! request number, because the numbers only grow. So a handler is found quickly, however many requests its client has
//! open.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::Mutex;

pub(super) struct Activity(Mutex<State>);

struct State {
    current: Sample,
    /// When the peer last took bytes of a response, on HTTP/2; before that, when the connection was accepted.
    taken_at: Instant,
    /// The handlers that have not returned, sorted by their requests.
    handlers: Vec<Handler>,
}

/// A handler that has not returned.
struct Handler {
    request: RequestNumber,
    /// Does it wait for bytes of its request body?
    is_waiting: bool,
}

/// The number of a request on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestNumber(u64);

/// The state of a connection at one moment.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    /// How many requests have begun.
    pub(super) begun: u64,
    /// How many of them are open.
    pub(super) open: usize,
    /// When the number of open requests last became zero; before the first request, when the connection was accepted.
    pub(super) idle_since: Instant,
    /// Has a byte arrived while no request was open, since the last sample?
    pub(super) has_read: bool,
    /// Is it an HTTP/2 connection?
    pub(super) is_http2: bool,
    /// Has the peer taken a byte since the last sample?
    pub(super) has_written: bool,
    /// Did the socket refuse the last write, because its buffer is full?
    pub(super) is_blocked: bool,
}

impl State {
    /// The position of the handler of this request in the list, if it has not returned.
    fn position(&self, request: RequestNumber) -> Option<usize> {
        self.handlers.binary_search_by_key(&request, |handler| handler.request).ok()
    }
}

impl Activity {
    /// The activity of a connection that was accepted at `now`.
    pub(super) fn new(now: Instant) -> Arc<Self> {
        let current = Sample {
            begun: 0,
            open: 0,
            idle_since: now,
            has_read: false,
            is_http2: false,
            has_written: false,
            is_blocked: false,
        };
        Arc::new(Self(Mutex::new(State { current, taken_at: now, handlers: Vec::new() })))
    }

    /// Takes a sample, and resets the fields that are about the time since the last one.
    pub(super) fn sample(&self) -> Sample {
        let current = &mut self.0.lock().current;
        let copy = *current;
        (current.has_read, current.has_written) = (false, false);
        copy
    }

    /// How many handlers are working, as defined in 2.
    pub(super) fn working_handlers(&self) -> usize {
        self.0.lock().handlers.iter().filter(|handler| !handler.is_waiting).count()
    }

    /// A request has begun.
    pub(super) fn begin_request(self: &Arc<Self>) -> OpenRequest {
        let mut state = self.0.lock();
        state.current.begun += 1;
        state.current.open += 1;
        let request = RequestNumber(state.current.begun);
        state.handlers.push(Handler { request, is_waiting: false });
        drop(state);
        OpenRequest { activity: self.clone(), request, is_working: true }
    }

    /// Code begins or ceases to wait for bytes of the body of this request.
    pub(super) fn set_waiting(&self, request: RequestNumber, is_waiting: bool) {
        let mut state = self.0.lock();
        // The code can also be a response body or a task of the user, which does not count.
        if let Some(position) = state.position(request) {
            state.handlers[position].is_waiting = is_waiting;
        }
    }

    /// The peer has taken bytes of a response.
    pub(super) fn record_taken(&self) {
        let now = Instant::now();
        self.0.lock().taken_at = now;
    }

    /// When the peer last took bytes of a response.
    pub(super) fn taken_at(&self) -> Instant {
        self.0.lock().taken_at
    }

    /// These bytes have arrived. `is_first` says whether they are the first ones of the connection.
    pub(super) fn record_read(&self, bytes: &[u8], is_first: bool) {
        let current = &mut self.0.lock().current;
        current.has_read |= current.open == 0;
        // No method of HTTP/1 begins with `PRI` (RFC 9113, section 11.6).
        current.is_http2 |= is_first && bytes.starts_with(b"PRI");
    }

    /// The socket has taken bytes or, if `has_written` is `false`, has refused them.
    pub(super) fn record_write(&self, has_written: bool) {
        let current = &mut self.0.lock().current;
        current.has_written |= has_written;
        current.is_blocked = !has_written;
    }
}

/// Counts a request as open.
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    request: RequestNumber,
    is_working: bool,
}

impl OpenRequest {
    /// The number of the request.
    pub(super) fn request(&self) -> RequestNumber {
        self.request
    }

    /// The handler has returned its response.
    pub(super) fn mark_answered(&mut self) {
        if std::mem::replace(&mut self.is_working, false) {
            let mut state = self.activity.0.lock();
            if let Some(position) = state.position(self.request) {
                state.handlers.remove(position);
            }
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.mark_answered();
        let now = Instant::now();
        let current = &mut self.activity.0.lock().current;
        current.open -= 1;
        if current.open == 0 {
            current.idle_since = now;
        }
    }
}
