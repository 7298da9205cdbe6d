//! The waiters [`BodyEnded`] and [`ChildrenClosed`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Process;
use super::timeout::Timeout;
use super::waiter::Waiter;
use crate::run::Node;
use crate::run::waits::{begin_leave_to_body, begin_wait_for_children};
use crate::state::Moment;
use crate::value::Error;
use crate::value::time::deadline_after;

impl Process {
    /// A waiter for the end of the body. The children of the process, and other processes that it waits for, may still
    /// be open then.
    ///
    /// A process without a body counts as one whose body has ended. A body that was dropped by an abort has ended too.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let server = app.spawn_thread(|p| {
    ///     p.spawn(|connection| async move { connection.closing().await })?;
    ///     procession::ok()
    /// })?;
    /// server.body_ended().wait()?;
    /// assert!(!server.is_closed()); // the connection is open
    /// app.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use = "this makes a waiter: `.await` it, or call `wait`"]
    pub fn body_ended(&self) -> BodyEnded {
        BodyEnded::new(&self.node)
    }

    /// A waiter for the moment when no child of this process is open. With it, a body can wait for the children that it
    /// has started.
    ///
    /// The body itself does not count, nor do no-wait children and processes that this one only [waits
    /// for](Self::wait_for). Futures given to [`wait_for_future`](Self::wait_for_future) count as children, and so do
    /// functions given to [`on_closing`](Self::on_closing) while they run. More children can be added later, and can be
    /// waited for again. Each waiter that is waiting when the last child is Closed is woken, even if another child is
    /// added at once.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let batches = app.spawn_thread(|p| {
    ///     for batch in 0..3 {
    ///         for part in 0..4 {
    ///             p.spawn_thread(move |_| println!("part {part} of batch {batch}"))?;
    ///         }
    ///         p.children_closed().wait()?;
    ///     }
    ///     procession::ok()
    /// })?;
    /// batches.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use = "this makes a waiter: `.await` it, or call `wait`; `child_count` looks without waiting"]
    pub fn children_closed(&self) -> ChildrenClosed {
        ChildrenClosed::new(&self.node)
    }
}

/// Waits until the body of the process has ended.
///
/// Made by [`Process::body_ended`](crate::Process::body_ended).
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.
///
/// ```
/// use procession::Process;
///
/// # futures_lite::future::block_on(async {
/// let app = Process::new();
/// let body = app.spawn(|_| async { println!("done") })?;
/// body.body_ended().await;
/// # procession::ok()
/// # }).unwrap()
/// ```
#[must_use = "a waiter does nothing unless it is awaited or waited for"]
pub struct BodyEnded(Waiter<()>);

impl BodyEnded {
    fn new(node: &Arc<Node>) -> Self {
        let read = |node: &Node, _| node.has_come(Moment::BodyEnded).then_some(());
        Self(Waiter::new(node, Moment::BodyEnded, read))
    }

    /// Blocks until the body has ended.
    ///
    /// If the OS cannot create threads, this thread runs teardowns that are due.
    ///
    /// # Errors
    ///
    /// [`Error::Deadlock`] at once if the caller is code of this process, or if only this thread could poll the body
    /// because it drives a current-thread tokio runtime. A longer cycle of waits is not refused.
    #[doc = include_str!("../../docs/blocking.md")]
    pub fn wait(&self) -> Result<(), Error> {
        if self.0.peek().is_none() {
            let _shown = begin_leave_to_body(self.0.node())?;
            self.0.wait_and_help();
        }
        Ok(())
    }

    /// Blocks until the body has ended; `None` if the timeout comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline_after(timeout))
    }

    /// Blocks until the body has ended; `None` if the deadline comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<()> {
        self.0.block(Some(deadline))
    }

    /// The async form of [`wait_timeout`](Self::wait_timeout): yields `None` if the timeout ends first.
    pub fn timeout(self, timeout: Duration) -> Timeout<Self> {
        Timeout::new(self, timeout)
    }
}

impl Future for BodyEnded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

impl fmt::Debug for BodyEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("BodyEnded", f)
    }
}

/// Waits until every child that the process waits for is Closed.
///
/// Made by [`Process::children_closed`](crate::Process::children_closed). It checks the children when it is first
/// polled or waited for, and can be used again after it was ready.
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is left behind. But the next waiter does not notice a
/// moment without children that passed while there was no waiter.
///
/// ```
/// use procession::Process;
///
/// # futures_lite::future::block_on(async {
/// let app = Process::new();
/// let task = app.spawn(|p| async move {
///     p.spawn(|_| async { println!("a part") })?;
///     p.children_closed().await;
///     procession::ok()
/// })?;
/// task.closed().await?;
/// # procession::ok()
/// # }).unwrap()
/// ```
#[must_use = "a waiter does nothing unless it is awaited or waited for"]
pub struct ChildrenClosed(Waiter<()>);

impl ChildrenClosed {
    fn new(node: &Arc<Node>) -> Self {
        // By now, there may be new children, so only the registered sleeper knows whether the moment has come.
        let read = |_: &Node, has_come: bool| has_come.then_some(());
        Self(Waiter::new(node, Moment::ChildrenClosed, read))
    }

    /// Blocks until no child is open. The body of the process itself may wait.
    ///
    /// If the OS cannot create threads, this thread runs teardowns that are due.
    ///
    /// # Errors
    ///
    /// [`Error::Deadlock`] at once if the caller is code of a child, or of a process below a child; or if children wait
    /// for work that only this thread could do because it drives a current-thread tokio runtime. A longer cycle of
    /// waits is not refused.
    #[doc = include_str!("../../docs/blocking.md")]
    pub fn wait(&self) -> Result<(), Error> {
        if !self.0.node().has_come(Moment::ChildrenClosed) {
            let _shown = begin_wait_for_children(self.0.node())?;
            self.0.wait_and_help();
        }
        Ok(())
    }

    /// Blocks until no child is open; `None` if the timeout comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline_after(timeout))
    }

    /// Blocks until no child is open; `None` if the deadline comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<()> {
        self.0.block(Some(deadline))
    }

    /// The async form of [`wait_timeout`](Self::wait_timeout): yields `None` if the timeout ends first.
    pub fn timeout(self, timeout: Duration) -> Timeout<Self> {
        Timeout::new(self, timeout)
    }
}

impl Future for ChildrenClosed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

impl fmt::Debug for ChildrenClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("ChildrenClosed", f)
    }
}
