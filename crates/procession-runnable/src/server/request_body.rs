//! [`RequestBody`]: the body of a request, with a timeout for a client that stalls.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use procession::support::text::Span;

use super::activity::{Activity, RequestNumber};
use super::timer::Timer;

/// The body of a request: hyper's [`Incoming`] with the [`body_timeout`](super::Server::body_timeout) of the server. A
/// read that gets no bytes within this time fails. The time counts only while the handler waits for bytes, so a handler
/// may take any time between two reads.
pub struct RequestBody {
    /// `None` after the timeout. hyper then reads no more of the body.
    incoming: Option<Incoming>,
    timeout: Duration,
    activity: Arc<Activity>,
    request: RequestNumber,
    /// When the current wait began, if there is one.
    waiting_since: Option<Instant>,
    timer: Timer,
}

/// A request failed because its body did not arrive.
///
/// If a service returns this error, or an error that has it among its [sources](std::error::Error::source), the request
/// has not failed: the connection ends, and nothing is reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// No byte arrived within the [`body_timeout`](super::Server::body_timeout) of the server.
    #[error("the client sent nothing of the request body for {}", Span(*.0))]
    TimedOut(Duration),
    /// The connection broke, or the client broke the protocol.
    #[error("the request body did not arrive")]
    Failed(#[source] ::hyper::Error),
}

impl RequestBody {
    /// The body of a request on the connection of `activity`.
    pub(super) fn new(
        incoming: Incoming,
        timeout: Duration,
        activity: Arc<Activity>,
        request: RequestNumber,
    ) -> Self {
        let timer = Timer::default();
        Self { incoming: Some(incoming), timeout, activity, request, waiting_since: None, timer }
    }

    /// The code that reads the body has waited since then or, with `None`, no longer waits.
    fn wait(&mut self, since: Option<Instant>) {
        if self.waiting_since.is_some() != since.is_some() {
            self.activity.set_waiting(self.request, since.is_some());
        }
        self.waiting_since = since;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = &mut *self;
        let Some(incoming) = &mut body.incoming else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(context) {
            body.wait(None);
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Failed)));
        }
        let since = body.waiting_since.unwrap_or_else(Instant::now);
        body.wait(Some(since));
        match body.timer.poll(since.checked_add(body.timeout), context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                body.wait(None);
                body.incoming = None;
                Poll::Ready(Some(Err(BodyError::TimedOut(body.timeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.wait(None);
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}
