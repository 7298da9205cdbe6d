//! [`Contents`]: the values that nodes keep for the layers above.

use std::sync::Arc;
use std::time::Instant;

use super::inherited::Inherited;
use crate::value::{Above, Label, ProcessId, Reason, Site};

/// The types of the values that nodes keep for the layers above, opaque to this one.
///
/// Values of these types may be dropped anywhere, even under a lock, so their drop must not run foreign code on the
/// spot (S8).
pub(crate) trait Contents: Sized + 'static {
    /// Where bodies and teardowns run.
    type Spawner: Clone + Send + Sync;
    /// The teardown of a process.
    type Teardown: Send;
    /// The error of a body or a teardown.
    type Failure: Clone + Send;
    /// A function that is called for failures.
    type Hook: Clone + Send;
    /// A receiver of events.
    type Observer: Clone + PartialEq + Send + Sync;
    /// The connection from a supervised process to its supervisor.
    type Report: Send + Sync;
    /// A value that is kept for each moment of a process; every caller gets the same one.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    type Token: Clone + Send;

    /// Is the teardown a blocking one, which a thread runs to its end without polling?
    fn is_blocking(teardown: &Self::Teardown) -> bool;

    /// Merges failures, of which there is at least one. Called under a lock.
    fn merge(failures: Vec<Self::Failure>) -> Self::Failure;

    /// Notifies an observer of an event. Called under a node's lock, so it must not run foreign code.
    fn observe(observer: &Self::Observer, event: ObservedEvent<'_, Self>);

    /// Is it the observer that can be given to every process of the program, and that is looked for whenever a process
    /// is made?
    fn is_of_program(observer: &Self::Observer) -> bool;

    /// Makes the failure of a periodic process from those of its calls. Called under a lock.
    fn failed_calls(
        process: Label,
        calls: usize,
        failed: usize,
        first: Self::Failure,
        last: Self::Failure,
    ) -> Self::Failure;
}

/// The failure of a body or a teardown, or the end of a time limit.
pub(crate) struct Failed<C: Contents> {
    pub(crate) failure: C::Failure,
    /// The work was dropped before its end.
    pub(crate) aborted: bool,
}

/// An event, as an observer receives it.
#[cfg_attr(loom, expect(dead_code))]
pub(crate) struct ObservedEvent<'a, C: Contents> {
    pub(crate) id: ProcessId,
    /// The values that contain the name, if the process has one.
    pub(crate) named: Option<&'a Arc<Inherited<C::Spawner, C::Report>>>,
    pub(crate) site: Site,
    pub(crate) above: Option<&'a Arc<Above>>,
    pub(crate) at: Instant,
    pub(crate) event: NodeEvent<C>,
}

/// Something that has happened to a process. It is small, because it is moved several times. Failures are boxed,
/// because they are rare.
pub(crate) enum NodeEvent<C: Contents> {
    Made,
    Closing(Reason),
    Aborting,
    BodyEnded,
    TeardownQueued,
    TeardownStarted,
    TeardownEnded,
    Failed(Box<C::Failure>),
    Closed {
        failure: Option<Box<C::Failure>>,
        closing_millis: u32,
    },
    /// Closing for this reason and, in the same locked section, Closed without a failure. These are two events at the
    /// same time. An observer receives them together, because most processes without a body end in this way.
    ClosedAtOnce(Reason),
}

impl<C: Contents> NodeEvent<C> {
    /// The number of events that it stands for.
    #[cfg_attr(loom, expect(dead_code))]
    pub(crate) fn count(&self) -> usize {
        if matches!(self, Self::ClosedAtOnce(_)) { 2 } else { 1 }
    }
}

/// Not derived, because `derive` would require `C: Clone`.
impl<C: Contents> Clone for NodeEvent<C> {
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
            Self::ClosedAtOnce(reason) => Self::ClosedAtOnce(reason.clone()),
        }
    }
}
