//! [`Watch`]: decides when to end a connection that does not end on its own.
//!
//! The task of the connection polls it after hyper. In each state, there is one deadline:
//!
//! | state | deadline | action |
//! |---|---|---|
//! | the socket takes nothing | `body_timeout` after it last took something | [`Cut`](Action::Cut) |
//! | a request is open | none, except the end of the grace; an HTTP/2 [stream](super::stream) has a deadline of its own for its response | – |
//! | a header has begun | `header_timeout` after its first byte | [`Cut`](Action::Cut) |
//! | no request yet | `header_timeout` after the connection was accepted | [`Cut`](Action::Cut), on HTTP/2 [`Stop`](Action::Stop) |
//! | no request any more | `idle_timeout` after the last one | [`Stop`](Action::Stop) |
//! | stopping, without an open request | [`LINGER`] after the beginning of the stop, the end of the last request or the last write, whichever is the latest | [`Cut`](Action::Cut) |
//! | the server is closing | `grace` after that began | [`Cut`](Action::Cut) |
//!
//! 1. *Every connection ends* if its server closes, because from then on, the deadline is never later than the end of
//!    the grace, and each poll passes it to the [`Timer`], which wakes the task.
//! 2. *No request is cut while it makes progress*, except at the end of the grace, because all other deadlines apply
//!    only while no request is open, or while the socket takes nothing.
//! 3. *No deadline is missed because a request ends on another task*: while a request is open, the timer wakes the task
//!    at intervals no longer than the shortest deadline that could follow, but not shorter than [`MIN_CHECK_INTERVAL`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use procession::{Closing, Process};

use super::activity::{Activity, Sample};
use super::settings::Timeouts;
use super::timer::Timer;

/// How long a stopping connection without a request may stay open, for the rest of its first header or for the peer's
/// answer to GOAWAY. Go's HTTP/2 server waits just as long.
const LINGER: Duration = Duration::from_secs(1);

/// The shortest interval at which a connection with an open request is checked.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// What the task of the connection must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Take no more requests, and end when none is open.
    Stop,
    /// End now.
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
    /// Was [`Action::Stop`] returned?
    has_requested_stop: bool,
    /// The number of requests that had begun at the last poll.
    begun: u64,
    /// When the header that is not complete yet began.
    header_since: Option<Instant>,
    /// The time since which the socket takes nothing.
    blocked_since: Option<Instant>,
    /// When the socket last began to take bytes again.
    unblocked_at: Instant,
}

impl Watch {
    /// For a connection that was accepted at `now`.
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
            has_requested_stop: false,
            begun: 0,
            header_since: Some(now),
            blocked_since: None,
            unblocked_at: now,
        }
    }

    /// Waits until something must be done.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Action> {
        loop {
            let now = Instant::now();
            let sample = self.activity.sample();
            self.update(&sample, now);
            let closing = self.closing.as_mut().map(|closing| Pin::new(closing).poll(context));
            if closing.is_some_and(|closing| closing.is_ready()) {
                self.closing = None;
                self.grace_end = now.checked_add(self.timeouts.grace);
                self.stopping_since.get_or_insert(now);
            }
            // Before the first request, hyper is not asked to stop, because it would drop the request that may just be
            // arriving.
            let has_something_to_end = sample.begun > 0 || sample.is_http2;
            if self.stopping_since.is_some() && has_something_to_end && !self.has_requested_stop {
                self.has_requested_stop = true;
                return Poll::Ready(Action::Stop);
            }
            let (deadline, act) = self.deadline(&sample, now);
            ready!(self.timer.poll(deadline, context));
            let Some(act) = act else { continue };
            if act == Action::Stop {
                self.stopping_since = Some(Instant::now());
                self.has_requested_stop = true;
            }
            return Poll::Ready(act);
        }
    }

    /// Is the grace of the server over?
    pub(super) fn is_grace_over(&self) -> bool {
        self.grace_end.is_some_and(|end| end <= Instant::now())
    }

    fn update(&mut self, sample: &Sample, now: Instant) {
        if sample.begun != self.begun {
            (self.begun, self.header_since) = (sample.begun, None);
        } else if sample.has_read && !sample.is_http2 {
            self.header_since.get_or_insert(now);
        }
        let has_progress = sample.has_written || !sample.is_blocked;
        if has_progress && self.blocked_since.take().is_some() {
            self.unblocked_at = now;
        }
        if sample.is_blocked {
            self.blocked_since.get_or_insert(now);
        }
    }

    /// The next deadline and the action that is due then. No action means that the connection is only checked again.
    fn deadline(&self, sample: &Sample, now: Instant) -> (Option<Instant>, Option<Action>) {
        let Timeouts { header, body, idle, .. } = self.timeouts;
        let (deadline, act) = match (self.blocked_since, self.stopping_since, self.header_since) {
            (Some(blocked_since), ..) => (blocked_since.checked_add(body), Some(Action::Cut)),
            (None, stopping_since, _) if sample.open > 0 => {
                let next = if stopping_since.is_some() { LINGER } else { header.min(idle) };
                (now.checked_add(next.max(MIN_CHECK_INTERVAL)), None)
            }
            (None, Some(stopping_since), _) => {
                let last = stopping_since.max(sample.idle_since).max(self.unblocked_at);
                (last.checked_add(LINGER), Some(Action::Cut))
            }
            (None, None, Some(header_since)) => {
                let act = if sample.is_http2 { Action::Stop } else { Action::Cut };
                (header_since.checked_add(header), Some(act))
            }
            (None, None, None) => (sample.idle_since.checked_add(idle), Some(Action::Stop)),
        };
        match self.grace_end {
            Some(end) if deadline.is_none_or(|deadline| end < deadline) => {
                (Some(end), Some(Action::Cut))
            }
            _ => (deadline, act),
        }
    }
}
