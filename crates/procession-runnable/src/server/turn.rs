//! [`Turn`]: the process of an HTTP/1 request.
//!
//! The task of an HTTP/1 connection answers its requests in turn. Each has a process all the same: a body that is polled
//! by whoever polls the request at that time. First, that is the future that hyper was given for the response; then it
//! is the response body. So the process is open until the response was sent, and its body ends when the response body is
//! dropped.
//!
//! A panic of the handler is caught by the process, which hands it to the connection as its error.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::hyper::{Request, Response};
use procession::support::run_at;
use procession::{BoxError, Error, Process};

use super::answer::Answer;
use super::faults::{Ended, is_clients};
use super::processes::RequestProcess;
use super::request_body::RequestBody;
use crate::sync::Mutex;

/// A request on its turn. Dropping it ends the request.
pub(super) struct Turn {
    body: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
    sending: Arc<Mutex<Sending>>,
}

/// How the sending of a response ended.
enum Sending {
    Unfinished,
    Failed(BoxError),
    Finished,
}

impl Turn {
    /// Begins a request: the response, and the turn, which must live until that was sent.
    pub(super) async fn begin<S: Answer>(
        connection: &Process,
        service: Arc<S>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<S::Reply>, Self), BoxError> {
        let sending = Arc::new(Mutex::new(Sending::Unfinished));
        let answered = Arc::new(Mutex::new(None));
        let (ended, response) = (sending.clone(), answered.clone());
        let body = run_at(connection.site(), connection, move |process| async move {
            request.extensions_mut().insert(RequestProcess::new(process));
            let answer = match service.answer(request).await {
                Err(error) if is_clients(&error) => return Ok(()),
                answer => answer?,
            };
            *answered.lock() = Some(answer);
            poll_fn(|_| sent(&ended)).await
        });
        let mut turn = Self { body: Box::pin(body), sending };
        poll_fn(|context| match turn.body.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Err(error_of(result))),
            Poll::Pending => response.lock().take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        })
        .await
        .map(|response| (response, turn))
    }

    /// The response body has failed. Returns the error for hyper.
    pub(super) fn fail(&mut self, error: BoxError, context: &mut Context<'_>) -> BoxError {
        *self.sending.lock() = Sending::Failed(error);
        match self.body.as_mut().poll(context) {
            Poll::Ready(result) => error_of(result),
            // Something below the request is still open. The process reports the failure on its own.
            Poll::Pending => Ended.into(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut sending = self.sending.lock();
        if matches!(*sending, Sending::Unfinished) {
            *sending = Sending::Finished;
            drop(sending);
            // The body ends in this poll if the response was made. Otherwise, dropping it ends it.
            let _ended = self.body.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

fn sent(sending: &Mutex<Sending>) -> Poll<Result<(), BoxError>> {
    let mut sending = sending.lock();
    match std::mem::replace(&mut *sending, Sending::Unfinished) {
        Sending::Unfinished => Poll::Pending,
        Sending::Finished => Poll::Ready(Ok(())),
        Sending::Failed(error) => Poll::Ready(Err(error)),
    }
}

/// The error for hyper of a request that has ended without a response, or in the middle of one.
fn error_of(result: Result<(), Error>) -> BoxError {
    result.err().map_or_else(|| Ended.into(), BoxError::from)
}
