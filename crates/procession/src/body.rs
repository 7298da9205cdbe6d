//! An async body: a future with the process that it belongs to.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::deadlock;
use crate::dispatch::dispatch;
use crate::error::{BoxError, Error};
use crate::outcome::{catch, discard, outcome};
use crate::state::{Effects, Event, Node};

/// What an async body comes to.
pub(crate) type BodyResult = Result<(), BoxError>;

/// An async body under way. It reports its end to the process exactly once: when it is ready, when an abort
/// drops it, or when it is dropped itself.
pub(crate) struct Body<F: ?Sized + Future<Output = BodyResult>> {
    node: Arc<Node>,
    /// `None` once the end is reported.
    future: Option<Pin<Box<F>>>,
    /// The place of the waker for an abort.
    place: Option<u32>,
}

/// An async body that can go to a spawner.
pub(crate) type SpawnedBody = Body<dyn Future<Output = BodyResult> + Send>;

impl SpawnedBody {
    pub(crate) fn boxed(
        node: Arc<Node>,
        future: impl Future<Output = BodyResult> + Send + 'static,
    ) -> Self {
        Self { node, future: Some(Box::pin(future)), place: None }
    }
}

impl<F: Future<Output = BodyResult>> Body<F> {
    pub(crate) fn new(node: Arc<Node>, future: F) -> Self {
        Self { node, future: Some(Box::pin(future)), place: None }
    }
}

impl<F: ?Sized + Future<Output = BodyResult>> Body<F> {
    pub(crate) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        if self.node.is_aborting() {
            return Poll::Ready(self.end_dropped(|node| Error::Aborted(node.label())));
        }
        let future = self.future.as_mut().expect("a body is not polled after its end");
        let poll = || catch(|| future.as_mut().poll(context));
        let (node, polled) = deadlock::run_as(self.node.clone(), poll);
        let ended = match polled {
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panicked) => Err(panicked),
            Ok(Poll::Pending) => {
                if node.register(Event::Aborting, &mut self.place, context.waker()) {
                    return Poll::Pending;
                }
                return Poll::Ready(self.end_dropped(|node| Error::Aborted(node.label())));
            }
        };
        discard(self.future.take());
        Poll::Ready(self.end(outcome(ended, || node.label())))
    }

    /// The system gave no thread to poll it on.
    pub(crate) fn refuse(mut self, error: io::Error) -> Effects {
        self.end_dropped(|node| Error::no_thread(node.label(), error))
    }

    /// Drops the future before its end.
    fn end_dropped(&mut self, error: impl FnOnce(&Arc<Node>) -> Error) -> Effects {
        let future = self.future.take();
        let (node, ()) = deadlock::run_as(self.node.clone(), || discard(future));
        let error = error(&node);
        self.end(Err(error))
    }

    fn end(&mut self, result: Result<(), Error>) -> Effects {
        if let Some(place) = self.place.take() {
            self.node.unregister(Event::Aborting, place);
        }
        self.node.body_ended(result)
    }
}

impl<F: ?Sized + Future<Output = BodyResult>> Drop for Body<F> {
    fn drop(&mut self) {
        if self.future.is_some() {
            dispatch(self.end_dropped(|node| Error::Aborted(node.label())));
        }
    }
}
