//! A teardown: the one function that runs between Closing and Closed, blocking or async.

use std::future::Future;
use std::pin::Pin;

use crate::error::BoxError;
use crate::outcome::IntoOutcome;

/// A teardown under way on an executor.
pub(crate) type TeardownFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A teardown that has not run.
///
/// One fat pointer, since every process has room for one.
pub(crate) struct Teardown(Box<dyn Run>);

/// A teardown that was begun.
pub(crate) enum Begun {
    /// A blocking one; this is what it returned.
    Ended(Result<(), BoxError>),
    /// An async one.
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
        Self(Box::new(Blocking(run)))
    }

    pub(crate) fn future<F, Fut>(make: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        Self(Box::new(Async(make)))
    }

    pub(crate) fn is_blocking(&self) -> bool {
        self.0.is_blocking()
    }

    /// Runs a blocking teardown, or makes the future of an async one.
    pub(crate) fn begin(self) -> Begun {
        self.0.begin()
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
