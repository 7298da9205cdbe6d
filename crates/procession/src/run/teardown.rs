//! [`Teardown`]: the function, blocking or async, that runs once between Closing and Closed.

use std::future::Future;
use std::pin::Pin;

use super::foreign::dispose;
use crate::value::{BoxError, IntoOutcome};

/// The future of an async teardown that has begun.
pub(super) type TeardownFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A teardown that has not begun. If it never runs, a thread of the library drops it.
///
/// It is a single fat pointer, because every node has space for one.
pub(crate) struct Teardown(Option<Box<dyn Run>>);

/// A teardown that has begun.
pub(super) enum Begun {
    /// A blocking teardown has ended with this result.
    Ended(Result<(), BoxError>),
    /// An async teardown has made its future.
    Future(TeardownFuture),
}

trait Run: Send {
    fn is_blocking(&self) -> bool;
    fn begin(self: Box<Self>) -> Begun;
}

struct Blocking<F>(F);

struct Async<F>(F);

impl Teardown {
    pub(crate) fn blocking<F, R>(run: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        Self(Some(Box::new(Blocking(run))))
    }

    pub(crate) fn future<F, Fut>(make: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        Self(Some(Box::new(Async(make))))
    }

    pub(super) fn is_blocking(&self) -> bool {
        self.0.as_ref().is_some_and(|run| run.is_blocking())
    }

    /// Runs a blocking teardown, or makes the future of an async one. This is foreign code: call it in a catch.
    pub(super) fn begin(mut self) -> Begun {
        let run = self.0.take().expect("a teardown begins once");
        run.begin()
    }
}

impl Drop for Teardown {
    #[inline]
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            dispose(run);
        }
    }
}

impl<F, R> Run for Blocking<F>
where
    F: FnOnce() -> R + Send,
    R: IntoOutcome,
{
    fn is_blocking(&self) -> bool {
        true
    }

    fn begin(self: Box<Self>) -> Begun {
        Begun::Ended((self.0)().into_outcome())
    }
}

impl<F, Fut> Run for Async<F>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    fn is_blocking(&self) -> bool {
        false
    }

    fn begin(self: Box<Self>) -> Begun {
        let future = (self.0)();
        Begun::Future(Box::pin(async move { future.await.into_outcome() }))
    }
}
