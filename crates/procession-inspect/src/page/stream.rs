//! [`Stream`]: the body of `/events`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use event_listener::EventListener;
use http_body::{Body, Frame};
use procession::{Clock, Sleep, SystemClock};

use super::hub::Viewer;

/// The time between two comments, which tell both sides that the other one still exists.
const COMMENT: Duration = Duration::from_secs(10);

/// The first lines: the time after which a browser connects again.
const FIRST: &str = "retry: 2000\n\n";

pub(crate) struct Stream {
    viewer: Viewer,
    listener: Option<EventListener>,
    comment: Sleep,
    has_begun: bool,
}

impl Stream {
    pub(crate) fn new(viewer: Viewer) -> Self {
        Self { viewer, listener: None, comment: SystemClock.sleep(COMMENT), has_begun: false }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        if !std::mem::replace(&mut self.has_begun, true) {
            return data(Bytes::from_static(FIRST.as_bytes()));
        }
        loop {
            // It listens before it looks, so that nothing is missed in between.
            let listener = match self.listener.take() {
                Some(listener) => listener,
                None => self.viewer.listen(),
            };
            let mut listener = listener;
            match self.viewer.take() {
                Some(Some(event)) => return data(Bytes::from_owner(event)),
                Some(None) => return Poll::Ready(None),
                None => {}
            }
            if Pin::new(&mut listener).poll(context).is_ready() {
                continue;
            }
            self.listener = Some(listener);
            if Pin::new(&mut self.comment).poll(context).is_ready() {
                self.comment = SystemClock.sleep(COMMENT);
                return data(Bytes::from_static(b":\n\n"));
            }
            return Poll::Pending;
        }
    }
}
