//! The waiters, [`Closing`], [`Closed`] and [`Aborting`]: each is a future and can block a thread.
//!
//! They follow event-listener's listeners, with `wait`, `wait_timeout` and `wait_deadline` beside `Future` on
//! one value. A waiter is no handle: it does not keep its process open.
//!
//! # Cancel safety
//!
//! A waiter can be dropped at any time, and made anew: nothing is lost, and nothing is left behind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::deadlock;
use crate::dispatch::flush;
use crate::error::Error;
use crate::park;
use crate::state::{Event, Node};

/// Waits for one event of one process.
struct Waiter {
    node: Arc<Node>,
    event: Event,
    /// The place of the future's waker.
    place: Option<u32>,
}

impl Waiter {
    fn new(node: &Arc<Node>, event: Event) -> Self {
        Self { node: node.clone(), event, place: None }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let happened = self.node.has_happened(self.event)
            || !self.node.register(self.event, &mut self.place, context.waker());
        if happened {
            self.place = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Blocks until the event; `false` if the deadline comes first.
    fn block(&self, deadline: Option<Instant>) -> bool {
        if self.node.has_happened(self.event) {
            return true;
        }
        flush();
        let waker = park::waker();
        let mut place = None;
        while !self.node.has_happened(self.event)
            && self.node.register(self.event, &mut place, &waker)
        {
            if !park::park(deadline) {
                if let Some(place) = place {
                    self.node.unregister(self.event, place);
                }
                return self.node.has_happened(self.event);
            }
        }
        true
    }

    fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(name).field(&self.node.label()).finish()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.node.unregister(self.event, place);
        }
    }
}

/// When the timeout is over; `None` if that is beyond what a clock can say.
fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Waits until the process is Closing (or Closed already).
///
/// Made by [`Process::closing`](crate::Process::closing).
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
#[must_use = "a waiter does nothing unless it is awaited or waited for"]
pub struct Closing(Waiter);

impl Closing {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Waiter::new(node, Event::Closing))
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.0.node.has_happened(Event::Closing)
    }

    /// Blocks until the process is Closing.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit; for [`Process::background`](crate::Process::background), for ever.
    pub fn wait(&self) {
        self.0.block(None);
    }

    /// Blocks until the process is Closing; `None` if the timeout comes first.
    ///
    /// # Blocking
    ///
    /// Blocks the thread at most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline(timeout)).then_some(())
    }

    /// Blocks until the process is Closing; `None` if the deadline comes first.
    ///
    /// # Blocking
    ///
    /// Blocks the thread at most until `deadline`.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<()> {
        self.0.block(Some(deadline)).then_some(())
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

/// Waits until the process is aborting; if it is never aborted, until it is Closed.
///
/// Made by [`Process::aborting`](crate::Process::aborting). Which of the two it was,
/// [`Process::is_aborting`](crate::Process::is_aborting) tells.
///
/// ```
/// use procession::Process;
///
/// let process = Process::new();
/// let worker = process.spawn_thread(|p| {
///     p.aborting().wait();
///     assert!(p.is_aborting());
/// })?;
/// process.abort().wait()?;
/// assert_eq!(worker.outcome().map(|outcome| outcome.is_ok()), Some(true));
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a waiter does nothing unless it is awaited or waited for"]
pub struct Aborting(Waiter);

impl Aborting {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Waiter::new(node, Event::Aborting))
    }

    /// Blocks until the process is aborting or Closed.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit; for [`Process::background`](crate::Process::background), for ever.
    pub fn wait(&self) {
        self.0.block(None);
    }

    /// Blocks until the process is aborting or Closed; `None` if the timeout comes first.
    ///
    /// # Blocking
    ///
    /// Blocks the thread at most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline(timeout)).then_some(())
    }

    /// Blocks until the process is aborting or Closed; `None` if the deadline comes first.
    ///
    /// # Blocking
    ///
    /// Blocks the thread at most until `deadline`.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<()> {
        self.0.block(Some(deadline)).then_some(())
    }
}

impl Future for Aborting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
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
/// Made by [`Process::closed`](crate::Process::closed) and by the calls that close. It may be dropped: a
/// closing that has begun goes on.
///
/// For [`Process::background`](crate::Process::background) it yields [`Error::Background`] at once.
///
/// ```
/// use procession::Process;
///
/// let process = Process::with_teardown(|| println!("flushed"));
/// futures_lite::future::block_on(process.close())?;
/// process.closed().wait()?; // for ever after
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Closed(Waiter);

impl Closed {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Waiter::new(node, Event::Closed))
    }

    /// Blocks until the process is Closed, and returns its outcome.
    ///
    /// # Errors
    ///
    /// The outcome's, or [`Error::Deadlock`] at once if the caller is a body or a teardown that the process
    /// waits for.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn wait(&self) -> Result<(), Error> {
        if self.outcome().is_none() {
            deadlock::check(&self.0.node)?;
            self.0.block(None);
        }
        self.outcome().unwrap_or(Ok(()))
    }

    /// Blocks until the process is Closed, and returns its outcome; `None` if the timeout comes first.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait). A deadlock is looked for only if the timeout is longer than a clock can
    /// measure.
    ///
    /// # Blocking
    ///
    /// Blocks the thread at most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), Error>> {
        match deadline(timeout) {
            Some(deadline) => self.wait_deadline(deadline),
            None => Some(self.wait()),
        }
    }

    /// Blocks until the process is Closed, and returns its outcome; `None` if the deadline comes first.
    ///
    /// # Blocking
    ///
    /// Blocks the thread at most until `deadline`.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<Result<(), Error>> {
        self.outcome().or_else(|| {
            self.0.block(Some(deadline));
            self.outcome()
        })
    }

    fn outcome(&self) -> Option<Result<(), Error>> {
        if self.0.node.is_background() {
            return Some(Err(Error::Background));
        }
        self.0.node.outcome()
    }
}

impl Future for Closed {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            self.0.place = None;
            return Poll::Ready(outcome);
        }
        self.0.poll(context).map(|()| self.outcome().unwrap_or(Ok(())))
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Closed", f)
    }
}
