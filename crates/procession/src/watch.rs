//! [`SignalObserver`]: notifies `Main` of the signals to its root.

/// Is notified of the signals to a process. All methods are called on the thread that receives signals, with no lock
/// held, and must return at once, except [`before_exit`](Self::before_exit).
pub(crate) trait SignalObserver: Send + Sync {
    /// The signal is about to close the process.
    fn before_close(&self, signal: i32);

    /// The signal is about to abort the process.
    fn before_abort(&self, signal: i32);

    /// The closing or the abort of the process has begun.
    fn after_begin(&self);

    /// The signal is about to end the program. This may block for a short time, to write a last report.
    fn before_exit(&self, signal: i32);
}

/// A function that is called for a signal.
pub(crate) type Listener = dyn Fn() + Send + Sync;
