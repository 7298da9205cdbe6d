//! An async body: a future that reports the end of the body to its process.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::deadlock;
use crate::dispatch::dispatch;
use crate::error::{BoxError, Error};
use crate::failure::body_ended;
use crate::outcome::{catch, outcome};
use crate::state::{Effects, Event, Node};

/// What an async body comes to.
pub(crate) type BodyResult = Result<(), BoxError>;

pin_project! {
    /// An async body. The future stands in it, so that a spawner which takes any future needs no box.
    pub(crate) struct Body<F: Future<Output = BodyResult>> {
        #[pin]
        future: Option<F>,
        end: End,
    }

    /// Dropped before its end, as an executor does that is shut down.
    impl<F: Future<Output = BodyResult>> PinnedDrop for Body<F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(error) = this.end.aborted() {
                dispatch(this.end_early(error));
            }
        }
    }
}

/// The end of an async body. It is reported to the process exactly once: when the future is ready, or when
/// that is dropped before, by an abort or with the body.
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
    Early(Error),
}

/// An async body of any type.
pub(crate) trait AnyBody: Send {
    /// Polls the body, and hands back what follows from its end.
    fn poll_effects(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Effects>;

    /// The system gave no thread to poll it on.
    fn refuse(self: Pin<&mut Self>, error: io::Error) -> Effects;
}

impl<F: Future<Output = BodyResult>> Body<F> {
    pub(crate) fn new(node: Arc<Node>, future: F) -> Self {
        Self { future: Some(future), end: End { node: Some(node), place: None } }
    }

    fn poll_effects(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Effects> {
        let mut this = self.project();
        let future = this.future.as_mut().as_pin_mut();
        let future = future.expect("a body is not polled after its end");
        this.end.poll(future, context).map(|ended| this.end.report(ended, || this.future.set(None)))
    }

    fn end_early(self: Pin<&mut Self>, error: Error) -> Effects {
        let mut this = self.project();
        this.end.report(Ended::Early(error), || this.future.set(None))
    }
}

impl<F: Future<Output = BodyResult>> Future for Body<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_effects(context).map(dispatch)
    }
}

impl<F: Future<Output = BodyResult> + Send> AnyBody for Body<F> {
    fn poll_effects(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Effects> {
        self.poll_effects(context)
    }

    fn refuse(self: Pin<&mut Self>, error: io::Error) -> Effects {
        let label = self.end.node.as_ref().map(Node::label);
        let label = label.expect("a body is refused before it is polled");
        self.end_early(Error::no_thread(label, error))
    }
}

impl End {
    /// The error of a body that does not come to its end; `None` if it has.
    fn aborted(&self) -> Option<Error> {
        self.node.as_ref().map(|node| Error::Aborted(node.label()))
    }

    /// Polls the future of the body.
    fn poll<F: Future<Output = BodyResult>>(
        &mut self,
        future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Ended> {
        let node = self.node.take().expect("a body is not polled after its end");
        if node.is_aborting() {
            return self.abort(node);
        }
        let (node, polled) = deadlock::run_as(node, || catch(|| future.poll(context)));
        let ended = match polled {
            Ok(Poll::Pending) => {
                if !node.register(Event::Aborting, &mut self.place, context.waker()) {
                    return self.abort(node);
                }
                Poll::Pending
            }
            Ok(Poll::Ready(result)) => Poll::Ready(Ended::Returned(result)),
            Err(message) => Poll::Ready(Ended::Panicked(message)),
        };
        self.node = Some(node);
        ended
    }

    fn abort(&mut self, node: Arc<Node>) -> Poll<Ended> {
        let error = Error::Aborted(node.label());
        self.node = Some(node);
        Poll::Ready(Ended::Early(error))
    }

    /// Drops the future, and reports the end.
    fn report(&mut self, ended: Ended, drop_future: impl FnOnce()) -> Effects {
        let node = self.node.take().expect("a body ends once");
        let (node, _dropped) = deadlock::run_as(node, || catch(drop_future));
        let result = match ended {
            Ended::Returned(result) => outcome(Ok(result), || node.label()),
            Ended::Panicked(message) => outcome(Err(message), || node.label()),
            Ended::Early(error) => Err(error),
        };
        body_ended(&node, result, self.place)
    }
}
