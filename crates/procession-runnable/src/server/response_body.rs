//! [`ResponseBody`]: the body of a response. Its drop ends the request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use procession::BoxError;

use super::activity::OpenRequest;
use super::stream::Stream;
use super::turn::Turn;
use super::untaken::Piece;

pin_project! {
    pub(super) struct ResponseBody<B> {
        #[pin]
        body: B,
        request: Answered,
        // Dropped last.
        _open: OpenRequest,
    }
}

/// A request whose handler has returned.
enum Answered {
    InTurn(Turn),
    OnStream(Stream),
}

impl<B> ResponseBody<B> {
    /// The response body of a request on HTTP/1.
    pub(super) fn in_turn(body: B, turn: Turn, open: OpenRequest) -> Self {
        Self { body, request: Answered::InTurn(turn), _open: open }
    }

    /// The response body of a request on HTTP/2.
    pub(super) fn on_stream(body: B, stream: Stream, open: OpenRequest) -> Self {
        Self { body, request: Answered::OnStream(stream), _open: open }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for ResponseBody<B> {
    type Data = Piece<B::Data>;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece<B::Data>>, BoxError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        Poll::Ready(frame.map(|frame| match (frame, this.request) {
            (Ok(frame), Answered::InTurn(_)) => Ok(frame.map_data(|data| Piece::new(data, None))),
            (Ok(frame), Answered::OnStream(stream)) => {
                Ok(frame.map_data(|data| Piece::new(data, Some(&stream.untaken))))
            }
            (Err(error), Answered::InTurn(turn)) => Err(turn.fail(error.into(), context).into()),
            (Err(error), Answered::OnStream(stream)) => Err(stream.fail(error.into()).into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
