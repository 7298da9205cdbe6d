//! [`Contents`]: the values that nodes keep for the layers above.

use std::sync::Arc;
use std::time::Instant;

use super::inherited::Inherited;
use crate::value::{Above, Label, ProcessId, Reason, Site};

/// The types of the values that nodes keep for the layers above, opaque to this one.
///
/// A value of these types may be dropped anywhere, also under a lock, so its drop must not run foreign code on the
/// spot (S8).
pub(crate) trait Contents: Sized + 'static {
    /// Where bodies and teardowns run.
    type Spawner: Clone + Send + Sync;
    /// The function that runs between Closing and Closed.
    type Teardown: Send;
    /// The error of a body or a teardown.
    type Failure: Clone + Send;
    /// A function that is called for failures.
    type Hook: Clone + Send;
    /// Hears of events.
    type Observer: Clone + PartialEq + Send + Sync;
    /// Tells the supervisor of a process what happens to it.
    type Report: Send + Sync;
    /// A value that is kept for a moment of a process; every caller gets the same one.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    type Token: Clone + Send;

    /// Can a thread run the teardown to its end, without polling anything?
    fn is_blocking(teardown: &Self::Teardown) -> bool;

    /// Makes one failure out of several. There is at least one. Called under a lock.
    fn merge(failures: Vec<Self::Failure>) -> Self::Failure;

    /// Tells an observer of an event. Called under a node's lock, so it must not run foreign code.
    fn observe(observer: &Self::Observer, seen: Seen<'_, Self>);

    /// Is it the observer that everything in the program may have, and that is looked for when a process is made?
    fn is_of_program(observer: &Self::Observer) -> bool;

    /// Makes the failure of a periodic process out of those of its calls. Called under a lock.
    fn failed_calls(
        process: Label,
        calls: usize,
        failed: usize,
        first: Self::Failure,
        last: Self::Failure,
    ) -> Self::Failure;
}

/// The error that a body or a teardown ended with.
pub(crate) struct Failed<C: Contents> {
    pub(crate) failure: C::Failure,
    /// Its work was dropped before its end.
    pub(crate) aborted: bool,
}

/// An event, as an observer is told of it.
#[cfg_attr(loom, expect(dead_code))]
pub(crate) struct Seen<'a, C: Contents> {
    pub(crate) id: ProcessId,
    /// The values with its name, if it has one.
    pub(crate) named: Option<&'a Arc<Inherited<C::Spawner, C::Report>>>,
    pub(crate) site: Site,
    pub(crate) above: Option<&'a Arc<Above>>,
    pub(crate) at: Instant,
    pub(crate) what: Happening<C>,
}

/// Something that has happened. It is small, because it is moved several times: failures are rare, and boxed.
pub(crate) enum Happening<C: Contents> {
    Made,
    Closing(Reason),
    Aborting,
    BodyEnded,
    TeardownQueued,
    TeardownStarted,
    TeardownEnded,
    Failed(Box<C::Failure>),
    Closed { failure: Option<Box<C::Failure>>, closing_millis: u32 },
}

/// Not derived, because that would ask for `C: Clone`.
impl<C: Contents> Clone for Happening<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Made => Self::Made,
            Self::Closing(reason) => Self::Closing(reason.clone()),
            Self::Aborting => Self::Aborting,
            Self::BodyEnded => Self::BodyEnded,
            Self::TeardownQueued => Self::TeardownQueued,
            Self::TeardownStarted => Self::TeardownStarted,
            Self::TeardownEnded => Self::TeardownEnded,
            Self::Failed(failure) => Self::Failed(failure.clone()),
            Self::Closed { failure, closing_millis } => {
                Self::Closed { failure: failure.clone(), closing_millis: *closing_millis }
            }
        }
    }
}
