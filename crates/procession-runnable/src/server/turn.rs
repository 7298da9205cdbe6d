//! [`Turn`]: the process of an HTTP/1 request.
//!
//! The task of an HTTP/1 connection answers its requests one after the other. Each request still has a process with a
//! body. The code that hyper polls for the request also polls this body: first the future of the response, then the
//! response body. So the process is open until the response was sent.
//!
//! 1. *A request whose client gives up is not aborted*: when [`Turn`] is dropped, it marks the request as over and
//!    polls the body once more, and the body then returns. That poll also drops the handler's future.
//! 2. *A failure is that of the request's process, which reports it once*, as on HTTP/2, because the outcome is not
//!    given to hyper: see [`run_unattended_at`].
//! 3. *No lock is held while foreign code runs*: values that are taken out from under a lock are dropped after the lock
//!    is released.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use ::hyper::{Request, Response};
use procession::support::run_unattended_at;
use procession::{BoxError, Process};

use super::answer::Answer;
use super::faults::{Ended, is_client_fault};
use super::processes::{RequestProcess, request_name};
use super::request_body::RequestBody;
use crate::sync::Mutex;

/// The request that an HTTP/1 connection is answering. Dropping it ends the request.
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
    /// The response was sent, or hyper no longer wants it.
    Over,
}

impl Turn {
    /// Begins a request, and waits for its response. The returned turn must live until the response was sent.
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
                Ok(Err(error)) if is_client_fault(&error) => Ok(()),
                Ok(Err(error)) => Err(error),
                Err(end) => end,
            }
        });
        // The connection's body calls this, so its process accepts children.
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

    /// Polls the body. Ready once the body has returned.
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

/// The result with which the body must end. Pending while the request is open.
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
