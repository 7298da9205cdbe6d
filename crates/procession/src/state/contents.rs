//! [`Contents`]: what nodes keep for the layers above.

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
    /// A value that is kept for a moment of a process; every caller gets the same one.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    type Token: Clone + Send;

    /// Makes one failure out of several. There is at least one. Called under a lock.
    fn merge(failures: Vec<Self::Failure>) -> Self::Failure;
}

/// The error that a body or a teardown ended with.
pub(crate) struct Failed<C: Contents> {
    pub(crate) failure: C::Failure,
    /// Its work was dropped before its end.
    pub(crate) aborted: bool,
}
