//! [`Timeout`]: a waiter with a timeout.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::run::deadlines::{Sleep, sleep_until};
use crate::value::time::deadline_after;

/// Waits like another waiter, but no longer than a timeout. Made by the `timeout` methods of
/// [`Closing`](crate::Closing), [`Aborting`](crate::Aborting), [`Closed`](crate::Closed),
/// [`BodyEnded`](crate::BodyEnded), [`ChildrenClosed`](crate::ChildrenClosed) and [`Task`](crate::Task).
///
/// It yields `None` if the timeout ends first. The timeout begins with the call that makes this value. One that is
/// longer than a clock can measure never ends. The library's deadline thread measures it, so this works with every
/// executor.
///
/// In a loom model, which has no clock, a timeout of zero ends at once, and any other never.
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is lost, and nothing is left behind.
#[must_use = "a timeout does nothing unless it is awaited; in blocking code, call `wait_timeout` of the waiter"]
pub struct Timeout<W> {
    waiter: W,
    /// `None` if the timeout never ends.
    sleep: Option<Sleep>,
}

impl<W> Timeout<W> {
    pub(super) fn new(waiter: W, timeout: Duration) -> Self {
        Self { waiter, sleep: deadline_after(timeout).map(sleep_until) }
    }
}

impl<W: Future + Unpin> Future for Timeout<W> {
    type Output = Option<W::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.waiter).poll(context) {
            self.sleep = None;
            return Poll::Ready(Some(output));
        }
        match &mut self.sleep {
            Some(sleep) => Pin::new(sleep).poll(context).map(|()| None),
            None => Poll::Pending,
        }
    }
}

impl<W: fmt::Debug> fmt::Debug for Timeout<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timeout").field(&self.waiter).finish()
    }
}
