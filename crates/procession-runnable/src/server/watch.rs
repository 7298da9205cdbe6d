//! [`Watch`]: decides when to end a connection that does not end on its own.
//!
//! The task of the connection polls it after hyper. In each state there is one deadline:
//!
//! | state | deadline | what it does |
//! |---|---|---|
//! | the socket takes nothing | `body_timeout` after it last took something | [`Cut`](Act::Cut) |
//! | a request is open | none, except the end of the grace; a [stream](super::stream) has its own for its response | – |
//! | a header has begun | `header_timeout` after its first byte | [`Cut`](Act::Cut) |
//! | no request yet | `header_timeout` after the connection was accepted | [`Cut`](Act::Cut), on HTTP/2 [`Stop`](Act::Stop) |
//! | no request any more | `idle_timeout` after the last one | [`Stop`](Act::Stop) |
//! | stopping, without an open request | [`LINGER`] after the stop, the last request or the last byte, whichever is the latest | [`Cut`](Act::Cut) |
//! | the server is closing | `grace` after that began | [`Cut`](Act::Cut) |
//!
//! 1. *Every connection ends* if its server closes, because from then on the deadline is never later than the end of the
//!    grace, and each poll hands it to the [`Timer`], which wakes the task.
//! 2. *No request is cut while it makes progress*, except by the end of the grace, because all other deadlines hold only
//!    without an open request, or while the socket takes nothing.
//! 3. *No deadline is missed because a request ends on another task*: while a request is open, the timer wakes the task
//!    at intervals no longer than the shortest deadline that could follow, but not shorter than [`LOOK`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use procession::{Closing, Process};

use super::activity::{Activity, Seen};
use super::settings::Timeouts;
use super::timer::Timer;

/// How long a connection that stops may take without a request: for its first header, or for the peer's answer to
/// GOAWAY. Go's HTTP/2 server waits as long.
const LINGER: Duration = Duration::from_secs(1);

/// The shortest interval at which a connection with an open request is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What must be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It must take no more requests, and end when it has none.
    Stop,
    /// It must end now.
    Cut,
}

pub(super) struct Watch {
    activity: Arc<Activity>,
    timeouts: Timeouts,
    timer: Timer,
    /// `None` once the server is closing.
    closing: Option<Closing>,
    /// When the grace ends, if the server is closing.
    grace_end: Option<Instant>,
    /// When the connection began to stop.
    stopping_since: Option<Instant>,
    /// Was [`Act::Stop`] returned?
    is_told: bool,
    /// The number of requests that had begun at the last poll.
    begun: u64,
    /// When the header began that is not complete.
    header_since: Option<Instant>,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
    /// When the socket last took something after it had taken nothing.
    unblocked_at: Instant,
}

impl Watch {
    /// That of a connection which was accepted at `now`.
    pub(super) fn new(
        connection: &Process,
        activity: Arc<Activity>,
        timeouts: Timeouts,
        now: Instant,
    ) -> Self {
        Self {
            activity,
            timeouts,
            timer: Timer::default(),
            closing: Some(connection.closing()),
            grace_end: None,
            stopping_since: None,
            is_told: false,
            begun: 0,
            header_since: Some(now),
            blocked_since: None,
            unblocked_at: now,
        }
    }

    /// Waits until something must be done.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Act> {
        loop {
            let now = Instant::now();
            let seen = self.activity.look();
            self.see(&seen, now);
            let closing = self.closing.as_mut().map(|closing| Pin::new(closing).poll(context));
            if closing.is_some_and(|closing| closing.is_ready()) {
                self.closing = None;
                self.grace_end = now.checked_add(self.timeouts.grace);
                self.stopping_since.get_or_insert(now);
            }
            // A connection without a request is not told, because hyper would then drop what it is about to read.
            let has_something_to_end = seen.begun > 0 || seen.is_http2;
            if self.stopping_since.is_some() && has_something_to_end && !self.is_told {
                self.is_told = true;
                return Poll::Ready(Act::Stop);
            }
            let (deadline, act) = self.deadline(&seen, now);
            ready!(self.timer.poll(deadline, context));
            let Some(act) = act else { continue };
            if act == Act::Stop {
                self.stopping_since = Some(Instant::now());
                self.is_told = true;
            }
            return Poll::Ready(act);
        }
    }

    /// Is the grace of the server over?
    pub(super) fn is_grace_over(&self) -> bool {
        self.grace_end.is_some_and(|end| end <= Instant::now())
    }

    fn see(&mut self, seen: &Seen, now: Instant) {
        if seen.begun != self.begun {
            (self.begun, self.header_since) = (seen.begun, None);
        } else if seen.has_read && !seen.is_http2 {
            self.header_since.get_or_insert(now);
        }
        let has_progress = seen.has_written || !seen.is_blocked;
        if has_progress && self.blocked_since.take().is_some() {
            self.unblocked_at = now;
        }
        if seen.is_blocked {
            self.blocked_since.get_or_insert(now);
        }
    }

    /// The next deadline, and what must be done then; nothing if it is only time for another look.
    fn deadline(&self, seen: &Seen, now: Instant) -> (Option<Instant>, Option<Act>) {
        let Timeouts { header, body, idle, .. } = self.timeouts;
        let (deadline, act) = match (self.blocked_since, self.stopping_since, self.header_since) {
            (Some(blocked_since), ..) => (blocked_since.checked_add(body), Some(Act::Cut)),
            (None, stopping_since, _) if seen.open > 0 => {
                let next = if stopping_since.is_some() { LINGER } else { header.min(idle) };
                (now.checked_add(next.max(LOOK)), None)
            }
            (None, Some(stopping_since), _) => {
                let last = stopping_since.max(seen.idle_since).max(self.unblocked_at);
                (last.checked_add(LINGER), Some(Act::Cut))
            }
            (None, None, Some(header_since)) => {
                let act = if seen.is_http2 { Act::Stop } else { Act::Cut };
                (header_since.checked_add(header), Some(act))
            }
            (None, None, None) => (seen.idle_since.checked_add(idle), Some(Act::Stop)),
        };
        match self.grace_end {
            Some(end) if deadline.is_none_or(|deadline| end < deadline) => {
                (Some(end), Some(Act::Cut))
            }
            _ => (deadline, act),
        }
    }
}
