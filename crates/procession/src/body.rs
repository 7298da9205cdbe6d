//! An async body: a future with the process that it belongs to.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::deadlock;
use crate::dispatch::dispatch;
use crate::error::{BoxError, Error};
use crate::failure::body_ended;
use crate::outcome::{catch, discard, outcome};
use crate::state::{Effects, Event, Node};

/// What an async body comes to.
pub(crate) type BodyResult = Result<(), BoxError>;

/// An async body under way. It reports its end to the process exactly once: when it is ready, when an abort
/// drops it, or when it is dropped itself.
pub(crate) struct Body<F: ?Sized + Future<Output = BodyResult>> {
    /// `None` once the end is reported.
    running: Option<Running<F>>,
}

struct Running<F: ?Sized + Future<Output = BodyResult>> {
    node: Arc<Node>,
    /// The place of the waker for an abort.
    place: Option<u32>,
    future: Pin<Box<F>>,
}

/// An async body that can go to a spawner.
pub(crate) type SpawnedBody = Body<dyn Future<Output = BodyResult> + Send>;

impl SpawnedBody {
    pub(crate) fn boxed(
        node: Arc<Node>,
        future: impl Future<Output = BodyResult> + Send + 'static,
    ) -> Self {
        Self { running: Some(Running { node, place: None, future: Box::pin(future) }) }
    }
}

impl<F: Future<Output = BodyResult>> Body<F> {
    pub(crate) fn new(node: Arc<Node>, future: F) -> Self {
        Self { running: Some(Running { node, place: None, future: Box::pin(future) }) }
    }
}

impl<F: ?Sized + Future<Output = BodyResult>> Body<F> {
    pub(crate) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        let running = self.running.take().expect("a body is not polled after its end");
        if running.node.is_aborting() {
            return Poll::Ready(running.end_dropped(aborted));
        }
        let Running { node, mut place, mut future } = running;
        let poll = || catch(|| future.as_mut().poll(context));
        let (node, polled) = deadlock::run_as(node, poll);
        let ended = match polled {
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panicked) => Err(panicked),
            Ok(Poll::Pending) => {
                let wait = node.register(Event::Aborting, &mut place, context.waker());
                let running = Running { node, place, future };
                if wait {
                    self.running = Some(running);
                    return Poll::Pending;
                }
                return Poll::Ready(running.end_dropped(aborted));
            }
        };
        discard(future);
        let result = outcome(ended, || node.label());
        Poll::Ready(body_ended(&node, result, place))
    }

    /// It cannot be run.
    pub(crate) fn refuse(mut self, error: Error) -> Effects {
        let running = self.running.take().expect("a body is not refused after its end");
        running.end_dropped(|_| error)
    }

    /// The system gave no thread to poll it on.
    pub(crate) fn refuse_for_want_of_a_thread(self, error: io::Error) -> Effects {
        let label = self.running.as_ref().map(|running| running.node.label());
        let label = label.expect("a body is not refused after its end");
        self.refuse(Error::no_thread(label, error))
    }
}

fn aborted(node: &Arc<Node>) -> Error {
    Error::Aborted(node.label())
}

impl<F: ?Sized + Future<Output = BodyResult>> Running<F> {
    /// Drops the future before its end.
    fn end_dropped(self, error: impl FnOnce(&Arc<Node>) -> Error) -> Effects {
        let Self { node, place, future } = self;
        let (node, ()) = deadlock::run_as(node, || discard(future));
        let error = error(&node);
        body_ended(&node, Err(error), place)
    }
}

impl<F: ?Sized + Future<Output = BodyResult>> Drop for Body<F> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            dispatch(running.end_dropped(aborted));
        }
    }
}
