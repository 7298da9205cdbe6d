//! [`Turn`]: the process of an HTTP/1 request.
//!
//! The task of an HTTP/1 connection answers its requests in turn. Each has a process all the same, with a body that is
//! polled by whatever polls the request at that time: first the future that hyper was given for the response, then the
//! response body. So the process is open until the response was sent.
//!
//! 1. *A request that its client gives up is not aborted*, because [`Turn`] polls the body once more when it is dropped,
//!    and the body returns when it sees that. The handler's future is dropped in that poll.
//! 2. *A failure is that of the request's process, and is reported there, once*, as on HTTP/2. [`run_named_at`]
//!    leaves failures to a caller that reads the outcome, so no outcome is read here: before the body of a request
//!    returns an error, it adds a child that keeps the process open, and only after the future of `run_named_at` was
//!    dropped does that child close. The panic of a handler is caught for the same purpose.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::hyper::{Request, Response};
use procession::support::{catch, panicked, run_named_at};
use procession::{BoxError, CloseOnDrop, Error, Process};

use super::answer::Answer;
use super::faults::{Ended, is_clients};
use super::processes::{RequestProcess, request_name};
use super::request_body::RequestBody;
use crate::start::below;
use crate::sync::Mutex;

/// The future of [`run_named_at`].
type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A request on its turn. Dropping it ends the request.
pub(super) struct Turn {
    /// `None` once it has returned. It is dropped before `state`, which may keep the process open.
    body: Option<Running>,
    state: Arc<Mutex<State>>,
}

enum State {
    /// The handler works, or its response is being sent.
    Open,
    /// The response body has failed.
    Broken(BoxError),
    /// The response was sent, or nobody waits for it any more.
    Over,
    /// The request has failed. Its process is open as long as this exists.
    Failed(#[expect(dead_code, reason = "it is only dropped")] CloseOnDrop),
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
        let body = run_named_at(site, connection, name, move |process| async move {
            request.extensions_mut().insert(RequestProcess::new(process.clone()));
            let ended = {
                let mut handler = pin!(service.answer(request));
                let polled = poll_fn(|context| match end_of(&of_body) {
                    Poll::Ready(end) => Poll::Ready(Err(end)),
                    Poll::Pending => catch(|| handler.as_mut().poll(context)).map_or_else(
                        |message| Poll::Ready(Err(Err(panicked(process.label(), message).into()))),
                        |polled| polled.map(Ok),
                    ),
                });
                polled.await
            };
            let ended = match ended {
                Ok(Ok(response)) => {
                    *answer.lock() = Some(response);
                    poll_fn(|_| end_of(&of_body)).await
                }
                Ok(Err(error)) if is_clients(&error) => Ok(()),
                Ok(Err(error)) | Err(Err(error)) => Err(error),
                Err(Ok(())) => Ok(()),
            };
            if ended.is_err() {
                *of_body.lock() = State::Failed(keep_open(&process)?);
            }
            ended
        });
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
        let has_failed = |state: &Mutex<State>| matches!(*state.lock(), State::Failed(_));
        if body.as_mut().poll(context).is_pending() && !has_failed(&self.state) {
            return Poll::Pending;
        }
        self.body = None;
        Poll::Ready(())
    }

    /// The response body has failed. Returns the error for hyper.
    pub(super) fn fail(&mut self, error: BoxError, context: &mut Context<'_>) -> Ended {
        *self.state.lock() = State::Broken(error);
        let _ended = self.poll(context);
        Ended
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.body.is_some() {
            *self.state.lock() = State::Over;
            let _ended = self.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// How the body has to end, if it has to.
fn end_of(state: &Mutex<State>) -> Poll<Result<(), BoxError>> {
    let mut state = state.lock();
    match std::mem::replace(&mut *state, State::Over) {
        State::Broken(error) => Poll::Ready(Err(error)),
        State::Over => Poll::Ready(Ok(())),
        open => {
            *state = open;
            Poll::Pending
        }
    }
}

/// Keeps a process open whose body fails, until the guard is dropped.
fn keep_open(process: &Process) -> Result<CloseOnDrop, BoxError> {
    let gate = Process::builder().site(process.site()).build()?;
    below(process).wait_for(&gate).build()?;
    Ok(gate.close_on_drop())
}
