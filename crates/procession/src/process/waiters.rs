//! The waiters, [`Closing`], [`Closed`] and [`Aborting`]: each is a future and can block a thread.
//!
//! They follow event-listener's listeners, with `wait`, `wait_timeout` and `wait_deadline` next to `Future` on one
//! value. A waiter is not a handle: it does not keep its process open.
//!
//! A waiter can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::run::call_stack::innermost_label;
use crate::run::park::ThisThread;
use crate::run::waits::begin_wait;
use crate::run::{Failure, Node, drop_sleeper, flush, help, register, wait_for_help};
use crate::state::{Moment, Place};
use crate::value::Error;
use crate::value::model::{Waiting, model_has_failed};
use crate::value::time::deadline_after;

/// Waits for one moment of one process.
struct Waiter {
    node: Arc<Node>,
    moment: Moment,
    /// The place of the future's waker.
    place: Option<Place>,
    /// While the future waits.
    waiting: Waiting,
}

impl Waiter {
    fn new(node: &Arc<Node>, moment: Moment) -> Self {
        Self { node: node.clone(), moment, place: None, waiting: Waiting::nothing() }
    }

    fn has_come(&self) -> bool {
        self.node.has_come(self.moment)
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let has_come =
            self.has_come() || !register(&self.node, self.moment, &mut self.place, context.waker());
        if has_come {
            self.place = None;
            self.waiting = Waiting::nothing();
            return Poll::Ready(());
        }
        self.waiting = self.record();
        Poll::Pending
    }

    /// Records that this thread waits.
    fn record(&self) -> Waiting {
        let moment = match self.moment {
            Moment::Closing => "to be Closing",
            Moment::Aborting => "to be aborting",
            Moment::Closed => "to be Closed",
        };
        Waiting::record(innermost_label, moment, || self.node.own_label())
    }

    /// Blocks until the moment comes; `false` if the deadline comes first.
    fn block(&self, deadline: Option<Instant>) -> bool {
        self.has_come() || self.block_with(&ThisThread::new(), deadline, || false)
    }

    /// Blocks. Whenever the thread is woken, it calls `work` until that returns `false`.
    fn block_with(
        &self,
        thread: &ThisThread,
        deadline: Option<Instant>,
        work: impl Fn() -> bool,
    ) -> bool {
        flush();
        let _waiting = self.record();
        let mut place = None;
        while register(&self.node, self.moment, &mut place, thread.waker()) {
            while work() {}
            if !self.has_come() && !thread.park(deadline) {
                let taken = place.and_then(|place| self.node.unregister(self.moment, place));
                drop_sleeper(taken);
                return self.has_come();
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
        if let Some(place) = self.place.filter(|_| !model_has_failed()) {
            drop_sleeper(self.node.unregister(self.moment, place));
        }
    }
}

/// Waits until the process is Closing (or Closed already).
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
#[must_use = "a waiter does nothing unless it is awaited or waited for"]
pub struct Closing(Waiter);

impl Closing {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Waiter::new(node, Moment::Closing))
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.has_come()
    }

    /// Blocks until the process is Closing.
    #[doc = include_str!("../../docs/blocking.md")]
    ///
    /// [`Process::background`](crate::Process::background) never closes, so waiting for it blocks for ever.
    pub fn wait(&self) {
        self.0.block(None);
    }

    /// Blocks until the process is Closing; `None` if the timeout comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline_after(timeout)).then_some(())
    }

    /// Blocks until the process is Closing; `None` if the deadline comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
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
/// Made by [`Process::aborting`](crate::Process::aborting). [`Process::is_aborting`](crate::Process::is_aborting) tells
/// which of the two it was.
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.
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
        Self(Waiter::new(node, Moment::Aborting))
    }

    /// Blocks until the process is aborting or Closed.
    #[doc = include_str!("../../docs/blocking.md")]
    ///
    /// [`Process::background`](crate::Process::background) never closes, so waiting for it blocks for ever.
    pub fn wait(&self) {
        self.0.block(None);
    }

    /// Blocks until the process is aborting or Closed; `None` if the timeout comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<()> {
        self.0.block(deadline_after(timeout)).then_some(())
    }

    /// Blocks until the process is aborting or Closed; `None` if the deadline comes first.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
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
/// Made by [`Process::closed`](crate::Process::closed) and by the calls that close a process.
///
/// For [`Process::background`](crate::Process::background), it yields [`Error::Background`] at once.
///
/// A blocking wait that could never end is refused. An `await` is not, because the task may stop waiting at any time: a
/// body that awaits its own process, or one that waits for it, hangs until it is aborted.
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: a closing that has begun goes on, and
/// nothing is left behind.
///
/// ```
/// use procession::Process;
///
/// let process = Process::with_teardown(|| println!("flushed"));
/// futures_lite::future::block_on(process.close())?;
/// process.closed().wait()?; // as often as you like
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Closed(Waiter);

impl Closed {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Waiter::new(node, Moment::Closed))
    }

    /// Blocks until the process is Closed, and returns its outcome.
    ///
    /// If the OS cannot create threads, this thread runs teardowns that are due.
    ///
    /// # Errors
    ///
    /// Those of the outcome; or [`Error::Deadlock`] at once if the process waits for the caller, or for work that only
    /// this thread could do because it drives a current-thread tokio runtime.
    #[doc = include_str!("../../docs/blocking.md")]
    pub fn wait(&self) -> Result<(), Error> {
        if let Some(outcome) = self.outcome() {
            return outcome;
        }
        let _edges = begin_wait(&self.0.node)?;
        let thread = ThisThread::new();
        let _helper = wait_for_help(thread.waker());
        self.0.block_with(&thread, None, help);
        self.outcome().unwrap_or(Ok(()))
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
        self.outcome().or_else(|| {
            self.0.block(Some(deadline));
            self.outcome()
        })
    }

    fn outcome(&self) -> Option<Result<(), Error>> {
        if self.0.node.is_background() {
            return Some(Err(Error::Background));
        }
        Some(self.0.node.outcome()?.map_err(Failure::into_error))
    }
}

impl Future for Closed {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            self.0.place = None;
            self.0.waiting = Waiting::nothing();
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
