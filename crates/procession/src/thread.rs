//! The blocking front end: bodies on threads, and closing on the caller's own.

use std::io;

use crate::deadlock;
use crate::dispatch::dispatch;
use crate::error::Error;
use crate::failure::body_ended;
use crate::outcome::{IntoOutcome, catch, outcome};
use crate::process::Process;
use crate::reason::Reason;
use crate::spawn::Queue;
use crate::state::Effects;
use crate::sync;

impl Process {
    /// Runs `body` on a new thread, as a child of this process. The child is Closed after the body has
    /// returned, the child's own children are Closed, and its teardown has run.
    ///
    /// The thread is named after the process. The body is told to end by [`closing`](Self::closing) of the
    /// process that it is given, and by force by [`aborting`](Self::aborting); what the child ends with is
    /// its outcome. A body that returns `Ok` lets the child's children finish; one that fails or panics
    /// closes them. On a Closing process, the body runs, with a child that is Closing already.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of this process has started, [`Error::NoThread`] if the system gives
    /// no thread. Then the body is not run.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let poller = app.spawn_thread(|p| {
    ///     while p.closing().wait_timeout(Duration::from_millis(1)).is_none() {
    ///         // poll something
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// app.close_blocking()?;
    /// assert!(poller.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn spawn_thread<F, R>(&self, body: F) -> Result<Self, Error>
    where
        F: FnOnce(Self) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let child = self.child_with_body()?;
        child.start_thread(body)?;
        Ok(child)
    }

    /// Runs the body that this process was made with on a thread.
    pub(crate) fn start_thread<F, R>(&self, body: F) -> Result<(), Error>
    where
        F: FnOnce(Self) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let process = self.clone();
        let name = self.name();
        let spawned = sync::spawn_thread(name.as_deref(), move || run(process, body));
        spawned.map_err(|error| self.refuse_body(error))
    }

    /// The system gave no thread for the body.
    pub(crate) fn refuse_body(&self, error: io::Error) -> Error {
        let error = Error::no_thread(self.label(), error);
        dispatch(body_ended(&self.node, Err(error.clone()), None));
        error
    }

    /// Closes the process, and returns when it is Closed, with its outcome.
    ///
    /// This thread runs blocking teardowns itself, as far as they are the default spawner's; other threads
    /// help when it is stuck in one.
    ///
    /// # Errors
    ///
    /// The outcome's. [`Error::Deadlock`] at once if the caller is a body or a teardown that the process
    /// waits for; the closing has begun all the same. [`Error::Background`] on the background.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit. In async code, `close().await`.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::with_teardown(|| println!("on this thread"));
    /// process.close_blocking()?;
    /// assert!(process.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_blocking(&self) -> Result<(), Error> {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        let effects = if self.is_closing() {
            Effects::default()
        } else {
            self.node.close(Reason::Asked, false)
        };
        if !self.is_closed() {
            if let Err(deadlock) = deadlock::check(&self.node) {
                dispatch(effects);
                return Err(deadlock);
            }
        }
        Queue::run_here(effects);
        self.closed().wait()
    }
}

/// Runs the body that the process was made with on this thread.
pub(crate) fn run<R: IntoOutcome>(process: Process, body: impl FnOnce(Process) -> R) {
    let node = process.node.clone();
    let (node, ended) = deadlock::run_as(node, || catch(|| body(process).into_outcome()));
    dispatch(body_ended(&node, outcome(ended, || node.label()), None));
}
