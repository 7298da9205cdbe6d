//! An async body: a future, and the end of the body that is reported when the future has ended.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
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

/// An async body that was not polled yet.
pub(crate) struct Body<F> {
    /// Stands before `end`, so that it is gone when the end is reported.
    future: F,
    end: End,
}

impl<F: Future<Output = BodyResult>> Body<F> {
    pub(crate) fn new(node: Arc<Node>, future: F) -> Self {
        Self { future, end: End { node: Some(node), place: None } }
    }
}

/// Polls an async body to its end, and reports that. The body stands in this future: whoever takes this one needs
/// no box.
pub(crate) async fn run_body(body: Body<impl Future<Output = BodyResult>>) {
    let Body { future, mut end } = body;
    // Declared after `end`, and so dropped before it.
    let mut future = pin!(Some(future));
    let ended = poll_fn(|context| {
        let future = future.as_mut().as_pin_mut().expect("a body is not polled after its end");
        end.poll(future, context)
    });
    let ended = ended.await;
    dispatch(end.report(ended, || future.set(None)));
}

/// The end of an async body. It is reported to the process exactly once: when the future is ready, when an abort drops
/// that, or when this is dropped itself.
struct End {
    /// `None` once it is reported.
    node: Option<Arc<Node>>,
    /// The place of the waker for an abort.
    place: Option<u32>,
}

/// How a body ended.
enum Ended {
    Returned(BodyResult),
    Panicked(Arc<str>),
    Aborted,
}

impl End {
    /// Polls the body.
    fn poll(
        &mut self,
        future: Pin<&mut (impl Future<Output = BodyResult> + ?Sized)>,
        context: &mut Context<'_>,
    ) -> Poll<Ended> {
        let node = self.node.take().expect("a body is not polled after its end");
        if node.is_aborting() {
            self.node = Some(node);
            return Poll::Ready(Ended::Aborted);
        }
        let (node, polled) = deadlock::run_as(node, || catch(|| future.poll(context)));
        let ended = match polled {
            Ok(Poll::Ready(result)) => Poll::Ready(Ended::Returned(result)),
            Err(message) => Poll::Ready(Ended::Panicked(message)),
            Ok(Poll::Pending) => {
                match node.register(Event::Aborting, &mut self.place, context.waker()) {
                    true => Poll::Pending,
                    false => Poll::Ready(Ended::Aborted),
                }
            }
        };
        self.node = Some(node);
        ended
    }

    /// Drops the future, and reports the end.
    fn report(mut self, ended: Ended, drop_future: impl FnOnce()) -> Effects {
        let node = self.node.take().expect("a body ends once");
        let drop_future = || drop(catch(drop_future));
        let (node, result) = match ended {
            Ended::Aborted => {
                let (node, ()) = deadlock::run_as(node, drop_future);
                let error = Error::Aborted(node.label());
                (node, Err(error))
            }
            Ended::Returned(result) => {
                drop_future();
                let result = outcome(Ok(result), || node.label());
                (node, result)
            }
            Ended::Panicked(message) => {
                drop_future();
                let result = outcome(Err(message), || node.label());
                (node, result)
            }
        };
        body_ended(&node, result, self.place)
    }

    /// The body cannot be run.
    fn refuse(mut self, error: impl FnOnce(&Arc<Node>) -> Error) -> Effects {
        let node = self.node.take().expect("a body ends once");
        let error = error(&node);
        body_ended(&node, Err(error), self.place)
    }
}

/// Dropped before its end, as an executor does that is shut down.
impl Drop for End {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            let error = Error::Aborted(node.label());
            dispatch(body_ended(&node, Err(error), self.place));
        }
    }
}

/// An async body of any type.
pub(crate) struct BoxedBody {
    future: Option<Pin<Box<dyn Future<Output = BodyResult> + Send>>>,
    end: Option<End>,
}

impl BoxedBody {
    pub(crate) fn new<F>(body: Body<F>) -> Self
    where
        F: Future<Output = BodyResult> + Send + 'static,
    {
        Self { future: Some(Box::pin(body.future)), end: Some(body.end) }
    }

    pub(crate) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        let (Some(future), Some(end)) = (&mut self.future, &mut self.end) else {
            panic!("a body was polled after its end")
        };
        let Poll::Ready(ended) = end.poll(future.as_mut(), context) else { return Poll::Pending };
        let (future, end) = (self.future.take(), self.end.take());
        Poll::Ready(end.expect("a body ends once").report(ended, || drop(future)))
    }

    /// It cannot be run.
    pub(crate) fn refuse(mut self, error: impl FnOnce(&Arc<Node>) -> Error) -> Effects {
        discard(self.future.take());
        self.end.take().map_or_else(Effects::default, |end| end.refuse(error))
    }
}

/// The future is gone when the end is reported.
impl Drop for BoxedBody {
    fn drop(&mut self) {
        discard(self.future.take());
    }
}
