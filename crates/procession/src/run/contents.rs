//! The values that a node holds for the layers above the state machine. All of them may be dropped anywhere: see
//! [`Foreign`].
//!
//! [`Foreign`]: super::foreign::Foreign

use super::foreign::dispose;
use super::hooks::Hook;
use super::spawn::Spawner;
use super::teardown::Teardown;
use crate::state::{Contents, ObservedEvent};
use crate::value::{Error, FailedCalls, Label};

// A leaf without a name or a teardown is one allocation: this, and the two counters of an `Arc`.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<super::Node>() == 96);

/// The types of the values that a node holds.
pub(crate) enum NodeContents {}

impl Contents for NodeContents {
    type Spawner = Spawner;
    type Teardown = Teardown;
    type Failure = Failure;
    type Hook = Hook;
    #[cfg(not(loom))]
    type Observer = super::observers::Observer;
    type Report = super::report::Report;
    // A model has no events.
    #[cfg(loom)]
    type Observer = std::convert::Infallible;
    #[cfg(all(feature = "tokio-util", not(loom)))]
    type Token = tokio_util::sync::CancellationToken;

    #[inline]
    fn is_blocking(teardown: &Teardown) -> bool {
        teardown.is_blocking()
    }

    fn merge(failures: Vec<Failure>) -> Failure {
        let merged = Error::all(failures.into_iter().map(Failure::into_error));
        Failure::new(merged.expect_err("there is at least one"))
    }

    fn failed_calls(
        process: Label,
        calls: usize,
        failed: usize,
        first: Failure,
        last: Failure,
    ) -> Failure {
        let (first, last) = (first.into_error(), last.into_error());
        Failure::new(Error::FailedCalls(FailedCalls::new(process, calls, failed, first, last)))
    }

    #[cfg(not(loom))]
    fn observe(observer: &Self::Observer, event: ObservedEvent<'_, Self>) {
        observer.push(event);
    }

    #[cfg(not(loom))]
    fn is_of_program(observer: &Self::Observer) -> bool {
        observer.is_tracing()
    }

    #[cfg(loom)]
    fn observe(observer: &Self::Observer, _event: ObservedEvent<'_, Self>) {
        match *observer {}
    }

    #[cfg(loom)]
    fn is_of_program(observer: &Self::Observer) -> bool {
        match *observer {}
    }
}

/// An error as the library holds it. If it contains a user's error, a thread of the library drops that.
pub(crate) struct Failure(Option<Error>);

impl Failure {
    pub(crate) fn new(error: Error) -> Self {
        Self(Some(error))
    }

    /// Does `is_it` hold for the error?
    #[cfg(all(feature = "metrics", not(loom)))]
    pub(super) fn is(&self, is_it: impl FnOnce(&Error) -> bool) -> bool {
        self.0.as_ref().is_some_and(is_it)
    }

    #[cfg(not(loom))]
    pub(crate) fn get(&self) -> &Error {
        self.0.as_ref().expect("it is taken by value")
    }

    pub(crate) fn into_error(mut self) -> Error {
        self.0.take().expect("it is taken by value")
    }
}

impl Clone for Failure {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        let last = self.0.take().and_then(Error::into_foreign);
        last.into_iter().for_each(dispose);
    }
}
