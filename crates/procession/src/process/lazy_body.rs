//! [`LazyBody`]: an async body that begins when it is first polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Process;
use crate::run::body::BodyResult;
use crate::value::IntoOutcome;

pin_project! {
    /// A body that has not begun, or its future. An `async` block would have space for both at once.
    #[project = Stage]
    pub(super) enum LazyBody<F, Fut> {
        Lazy { body: Option<(F, Process)> },
        Begun { #[pin] future: Fut },
        Ended,
    }
}

impl<F, Fut> LazyBody<F, Fut> {
    pub(super) fn new(process: Process, body: F) -> Self {
        Self::Lazy { body: Some((body, process)) }
    }
}

impl<F, Fut> Future for LazyBody<F, Fut>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    type Output = BodyResult;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<BodyResult> {
        if let Stage::Lazy { body } = self.as_mut().project() {
            let (body, process) = body.take().expect("a body that has panicked is not polled");
            let future = body(process);
            self.set(Self::Begun { future });
        }
        let Stage::Begun { future } = self.as_mut().project() else {
            panic!("a body is not polled after its end");
        };
        let output = ready!(future.poll(context));
        self.set(Self::Ended);
        Poll::Ready(output.into_outcome())
    }
}
