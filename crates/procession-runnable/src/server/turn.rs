//! [`Turn`]: the process of an HTTP/1 request.
//!
//! The task of an HTTP/1 connection answers its requests in turn. Each has a process all the same, with a body that is
//! polled by whatever polls the request at that time: first the future that hyper was given for the response, then the
//! response body. So the process is open until the response was sent.
//!
//! 1. *A request that its client gives up is not aborted*, because [`Turn`] polls the body once more when it is dropped,
//!    and the body returns when it sees that. The handler's future is dropped in that poll.
//! 2. *A failure is that of the request's process, and is reported there, once*, as on HTTP/2, because hyper is not
//!    handed the outcome: see [`run_unattended_at`].
//! 3. *No lock is held while foreign code runs*: what is taken out of a lock is dropped after the lock is released.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use ::hyper::{Request, Response};
use procession::support::run_unattended_at;
use procession::{BoxError, Process};

use super::answer::Answer;
use super::faults::{Ended, is_clients};
use super::processes::{RequestProcess, request_name};
use super::request_body::RequestBody;
use crate::sync::Mutex;

/// A request on its turn. Dropping it ends the request.
pub(super) struct Turn {
    /// `None` once it has returned.
    body: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    state: Arc<Mutex<State>>,
}

enum State {
    /// The handler works, or its response is being sent.
    Open,
    /// The response body has failed.
    Broken(BoxError),
    /// The response was sent, or nobody waits for it any more.
    Over,
}

impl Turn {
    /// Begins a request: waits for the response, which is returned with the turn. The turn must live until the response
    /// was sent.
    ///
    /// # Errors
    ///
    /// [`Ended`], for hyper.
    pub(super) async fn begin<S: Answer>(
        connection: &Process,
        service: Arc<S>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<S::Reply>, Self), Ended> {
        let state = Arc::new(Mutex::new(State::Open));
        let answered = Arc::new(Mutex::new(None));
        let (of_body, answer) = (state.clone(), answered.clone());
        let (site, name) = (connection.site(), request_name());
        let body = run_unattended_at(site, connection, name, move |process| async move {
            request.extensions_mut().insert(RequestProcess::new(process));
            let ended = {
                let mut handler = pin!(service.answer(request));
                let polled = poll_fn(|context| match end_of(&of_body) {
                    Poll::Ready(end) => Poll::Ready(Err(end)),
                    Poll::Pending => handler.as_mut().poll(context).map(Ok),
                });
                polled.await
            };
            match ended {
                Ok(Ok(response)) => {
                    *answer.lock() = Some(response);
                    poll_fn(|_| end_of(&of_body)).await
                }
                Ok(Err(error)) if is_clients(&error) => Ok(()),
                Ok(Err(error)) => Err(error),
                Err(end) => end,
            }
        });
        // The connection's body runs while this is called, so its process accepts children.
        let body = body.map_err(|_| Ended)?;
        let mut turn = Self { body: Some(Box::pin(body)), state };
        poll_fn(|context| {
            let is_pending = turn.poll(context).is_pending();
            let response = answered.lock().take();
            match response {
                Some(response) => Poll::Ready(Ok(response)),
                None if is_pending => Poll::Pending,
                None => Poll::Ready(Err(Ended)),
            }
        })
        .await
        .map(|response| (response, turn))
    }

    /// Polls the body. Ready once that has returned.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else { return Poll::Ready(()) };
        ready!(body.as_mut().poll(context));
        self.body = None;
        Poll::Ready(())
    }

    /// Ends the request, if it has not ended.
    fn end(&mut self, state: State, context: &mut Context<'_>) {
        if self.body.is_some() {
            let _old = mem::replace(&mut *self.state.lock(), state);
            let _ended = self.poll(context);
        }
    }

    /// The response body has failed. Returns the error for hyper.
    pub(super) fn fail(&mut self, error: BoxError, context: &mut Context<'_>) -> Ended {
        self.end(State::Broken(error), context);
        Ended
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end(State::Over, &mut Context::from_waker(Waker::noop()));
    }
}

/// How the body has to end, if it has to.
fn end_of(state: &Mutex<State>) -> Poll<Result<(), BoxError>> {
    let mut state = state.lock();
    match mem::replace(&mut *state, State::Over) {
        State::Broken(error) => Poll::Ready(Err(error)),
        State::Over => Poll::Ready(Ok(())),
        open => {
            *state = open;
            Poll::Pending
        }
    }
}
