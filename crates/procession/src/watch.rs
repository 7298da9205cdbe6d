//! [`Watch`]: tells `Main` of the signals of its root.

/// Hears of the signals of a process. All methods are called on the thread that receives signals, with no lock held,
/// and must return at once.
pub(crate) trait Watch: Send + Sync {
    /// The signal is about to close the process.
    fn closes(&self, signal: i32);

    /// The signal is about to abort the process.
    fn aborts(&self, signal: i32);

    /// The closing or the abort has begun.
    fn has_begun(&self);

    /// The signal is about to end the program. This may take a moment, for a last word.
    fn exits(&self, signal: i32);
}

/// A function that is called for a signal.
pub(crate) type Listener = dyn Fn() + Send + Sync;
