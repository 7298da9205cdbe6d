//! The waiters [`Closing`], [`Closed`] and [`Aborting`]. Each is a future and can also block a thread.
//!
//! Their interface follows event-listener's listeners: one type has `wait`, `wait_timeout` and `wait_deadline`, and is
//! a `Future`. A waiter is not a handle: it does not keep its process open.
//!
//! A waiter can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::timeout::Timeout;
use super::waiter::Waiter;
use crate::run::waits::begin_wait;
use crate::run::{Failure, Node};
use crate::state::Moment;
use crate::value::Error;
use crate::value::time::deadline_after;

/// Waits until the process is Closing. It is also ready if the process is already Closed.
///
/// Made by [`Process::closing`](crate::Process::closing).
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.
///
/// ```
/// use procession::Process;
/// use std::time::Duration;
///
/// let process = Process::new();
/// let closing = process.closing();
/// assert_eq!(closing.wait_timeout(Duration::ZERO), None);
/// process.close();
/// assert_eq!(closing.wait_timeout(Duration::ZERO), Some(()));
/// futures_lite::future::block_on(closing);
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a waiter does nothing unless it is awaited or waited for; `is_closing` looks without waiting"]
pub struct Closing(Waiter<()>);

impl Closing {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        let read = |node: &Node, _| node.has_come(Moment::Closing).then_some(());
        Self(Waiter::new(node, Moment::Closing, read))
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.peek().is_some()
    }

    /// Blocks until the process is Closing.
    #[doc = include_str!("../../docs/blocking.md")]
    ///
    /// [`Process::background`](crate::Process::background) never closes, so waiting for it blocks for ever.
    pub fn wait(&self) {
        self.0.wait();
    }

    /// Blocks until the process is Closing; `None` if the timeout comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline_after(timeout))
    }

    /// Blocks until the process is Closing; `None` if the deadline comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<()> {
        self.0.block(Some(deadline))
    }

    /// The async form of [`wait_timeout`](Self::wait_timeout): yields `None` if the timeout ends first.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let poller = app.spawn(|p| async move {
    ///     while p.closing().timeout(Duration::from_millis(1)).await.is_none() {
    ///         // poll something
    ///     }
    /// })?;
    /// app.close_blocking()?;
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    pub fn timeout(self, timeout: Duration) -> Timeout<Self> {
        Timeout::new(self, timeout)
    }
}

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Closing", f)
    }
}

/// Waits until the process is aborting; if it is never aborted, until it is Closed. It yields whether the process was
/// aborted.
///
/// Made by [`Process::aborting`](crate::Process::aborting).
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.
///
/// ```
/// use procession::Process;
///
/// let process = Process::new();
/// let worker = process.spawn_thread(|p| assert!(p.aborting().wait()))?;
/// process.abort().wait()?;
/// assert_eq!(worker.outcome().map(|outcome| outcome.is_ok()), Some(true));
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a waiter does nothing unless it is awaited or waited for; `is_aborting` looks without waiting"]
pub struct Aborting(Waiter<bool>);

impl Aborting {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        // A Closed process never becomes aborting (S1), so this value does not change.
        let read = |node: &Node, _| node.has_come(Moment::Aborting).then(|| node.is_aborting());
        Self(Waiter::new(node, Moment::Aborting, read))
    }

    /// Blocks until the process is aborting or Closed, and returns whether it was aborted.
    #[doc = include_str!("../../docs/blocking.md")]
    ///
    /// [`Process::background`](crate::Process::background) never closes, so waiting for it blocks for ever.
    pub fn wait(&self) -> bool {
        self.0.wait()
    }

    /// [`wait`](Self::wait), but `None` if the timeout comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<bool> {
        self.0.block(deadline_after(timeout))
    }

    /// [`wait`](Self::wait), but `None` if the deadline comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<bool> {
        self.0.block(Some(deadline))
    }

    /// The async form of [`wait_timeout`](Self::wait_timeout): yields `None` if the timeout ends first.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let aborting = app.aborting().timeout(Duration::from_millis(1));
    /// assert_eq!(futures_lite::future::block_on(aborting), None);
    /// ```
    pub fn timeout(self, timeout: Duration) -> Timeout<Self> {
        Timeout::new(self, timeout)
    }
}

impl Future for Aborting {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        self.0.poll(context)
    }
}

impl fmt::Debug for Aborting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Aborting", f)
    }
}

/// Waits until the process is Closed, and yields its outcome.
///
/// Made by [`Process::closed`](crate::Process::closed) and by the calls that close a process.
///
/// For [`Process::background`](crate::Process::background), it yields [`Error::Background`] at once.
///
/// A blocking wait that could never end is refused. An `await` is not refused, because the task may stop waiting at any
/// time. So a body that awaits its own process, or a process that waits for its own, hangs until it is aborted.
///
/// # Ordering
///
/// Everything that the body and the teardown of the process did, and everything that those of the processes it waited
/// for did, happens before this waiter resolves.
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is lost, and nothing is left behind. A closing that has
/// begun goes on.
///
/// ```
/// use procession::Process;
///
/// let process = Process::with_teardown(|| println!("flushed"));
/// futures_lite::future::block_on(process.close())?;
/// process.closed().wait()?; // as often as you like
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Closed(Waiter<Result<(), Error>>);

impl Closed {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        let read = |node: &Node, _| match node.is_background() {
            true => Some(Err(Error::Background)),
            false => Some(node.outcome()?.map_err(Failure::into_error)),
        };
        Self(Waiter::new(node, Moment::Closed, read))
    }

    /// Blocks until the process is Closed, and returns its outcome.
    ///
    /// If the OS cannot create threads, this thread runs teardowns that are due.
    ///
    /// # Errors
    ///
    /// Those of the outcome; or [`Error::Deadlock`] at once if the process waits for the process whose code calls this,
    /// or for work that only this thread could do because it drives a current-thread tokio runtime.
    #[doc = include_str!("../../docs/blocking.md")]
    pub fn wait(&self) -> Result<(), Error> {
        if let Some(outcome) = self.0.peek() {
            return outcome;
        }
        let _edges = begin_wait(self.0.node())?;
        self.0.wait_and_help()
    }

    /// Blocks until the process is Closed, and returns its outcome; `None` if the timeout comes first.
    ///
    /// # Errors
    ///
    /// Those of the outcome. A wait with a timeout is never refused, unless the timeout is longer than a clock can
    /// measure.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), Error>> {
        match deadline_after(timeout) {
            Some(deadline) => self.wait_deadline(deadline),
            None => Some(self.wait()),
        }
    }

    /// Blocks until the process is Closed, and returns its outcome; `None` if the deadline comes first.
    ///
    /// # Errors
    ///
    /// Those of the outcome. A wait with a deadline is never refused.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<Result<(), Error>> {
        self.0.block(Some(deadline))
    }

    /// The async form of [`wait_timeout`](Self::wait_timeout): yields `None` if the timeout ends first. The process
    /// goes on closing.
    ///
    /// # Errors
    ///
    /// Those of the outcome.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// # futures_lite::future::block_on(async {
    /// let server = Process::with_teardown(|| println!("the last requests are answered"));
    /// match server.close().timeout(Duration::from_secs(10)).await {
    ///     Some(outcome) => outcome?,
    ///     None => eprintln!("still closing: {server:?}"),
    /// }
    /// # procession::ok()
    /// # }).unwrap()
    /// ```
    pub fn timeout(self, timeout: Duration) -> Timeout<Self> {
        Timeout::new(self, timeout)
    }
}

impl Future for Closed {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Closed", f)
    }
}
