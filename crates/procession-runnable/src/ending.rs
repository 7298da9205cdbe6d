//! [`Ending`]: the future of a run, which reports if the run ends before it is ready.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use procession::{BoxError, IntoOutcome, Process};

use crate::ready::{NotReady, Ready};

pin_project! {
    /// The future of a run. The fields are dropped in this order.
    pub(crate) struct Ending<Fut> {
        #[pin]
        future: Option<Fut>,
        // It is answerable for the readiness of the run.
        ready: Ready,
        process: Process,
    }
}

impl<Fut> Ending<Fut> {
    pub(crate) fn new(process: Process, ready: Ready, future: Fut) -> Self {
        Self { future: Some(future), ready, process }
    }
}

impl<Fut: Future<Output: IntoOutcome>> Future for Ending<Fut> {
    type Output = Result<(), BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let future = this.future.as_mut().as_pin_mut().expect("a run is not polled after its end");
        let output = ready!(future.poll(context));
        this.future.set(None);
        let result = output.into_outcome();
        ended(this.process, this.ready, &result);
        Poll::Ready(result)
    }
}

/// Reports that the body of a run ended without an error, so that the run cannot become ready any more. If the run
/// failed or was closed, the drop of `ready` reports that instead.
#[inline]
pub(crate) fn ended(process: &Process, ready: &Ready, result: &Result<(), BoxError>) {
    if result.is_ok() && !process.is_closing() {
        ready.lose(|| NotReady::Ended(process.label()));
    }
}
