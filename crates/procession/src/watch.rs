//! [`SignalObserver`]: tells `Main` of the signals of its root.

/// Hears of the signals of a process. All methods are called on the thread that receives signals, with no lock held,
/// and must return at once.
pub(crate) trait SignalObserver: Send + Sync {
    /// The signal is about to close the process.
    fn before_close(&self, signal: i32);

    /// The signal is about to abort the process.
    fn before_abort(&self, signal: i32);

    /// The closing or the abort has begun.
    fn after_begin(&self);

    /// The signal is about to end the program. This may take a moment, for a last word.
    fn before_exit(&self, signal: i32);
}

/// A function that is called for a signal.
pub(crate) type Listener = dyn Fn() + Send + Sync;
