//! [`Waiter`]: waits for one moment of one process, as a future or by blocking a thread. All waiters are built on it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::run::call_stack::innermost_label;
use crate::run::park::ThisThread;
#[cfg(not(loom))]
use crate::run::reports::report_unread;
use crate::run::{Node, drop_sleeper, flush, help, register, wait_for_help};
use crate::state::{Moment, Place};
use crate::value::model::{Waiting, model_has_failed};

/// Waits for one moment of one process, and yields a value when it has come.
pub(super) struct Waiter<T> {
    node: Arc<Node>,
    moment: Moment,
    /// Reads the value that the waiter yields; `None` before the moment. The argument says whether the moment is known
    /// to have come.
    read: fn(&Node, bool) -> Option<T>,
    /// The place of the future's waker.
    place: Option<Place>,
    /// The record of the wait, while the future is pending.
    waiting: Waiting,
}

impl<T> Waiter<T> {
    /// `read` must always return the same value, and must return it if its argument says that the moment has come.
    pub(super) fn new(
        node: &Arc<Node>,
        moment: Moment,
        read: fn(&Node, bool) -> Option<T>,
    ) -> Self {
        if moment == Moment::Closed {
            node.add_end_waiter();
        }
        Self { node: node.clone(), moment, read, place: None, waiting: Waiting::nothing() }
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The value, if it is available without waiting.
    pub(super) fn peek(&self) -> Option<T> {
        (self.read)(&self.node, false)
    }

    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<T> {
        let come = self.peek().or_else(|| {
            let waits = register(&self.node, self.moment, &mut self.place, context.waker());
            if waits { None } else { (self.read)(&self.node, true) }
        });
        match come {
            Some(value) => {
                self.place = None;
                self.waiting = Waiting::nothing();
                Poll::Ready(value)
            }
            None => {
                self.waiting = self.record();
                Poll::Pending
            }
        }
    }

    /// Blocks until the moment comes.
    pub(super) fn wait(&self) -> T {
        self.block(None).expect("without a deadline, it waits until the moment comes")
    }

    /// Blocks until the moment comes; `None` if the deadline comes first.
    pub(super) fn block(&self, deadline: Option<Instant>) -> Option<T> {
        self.peek().or_else(|| self.block_with(&ThisThread::new(), deadline, || false))
    }

    /// Blocks until the moment or the deadline comes. Whenever the thread is woken, it calls `work` until that returns
    /// `false`.
    fn block_with(
        &self,
        thread: &ThisThread,
        deadline: Option<Instant>,
        work: impl Fn() -> bool,
    ) -> Option<T> {
        flush();
        let _waiting = self.record();
        let mut place = None;
        while register(&self.node, self.moment, &mut place, thread.waker()) {
            while work() {}
            let Some(registered) = place else { continue };
            let is_in_time = self.has_come_since(registered) || thread.park(deadline);
            let has_come = self.has_come_since(registered);
            if !is_in_time {
                drop_sleeper(self.node.unregister(self.moment, registered));
                return (self.read)(&self.node, has_come);
            }
            if has_come {
                // Its sleeper was taken, or is being taken, because the moment has come (S6).
                break;
            }
        }
        (self.read)(&self.node, true)
    }

    /// Blocks until the moment comes. If the OS cannot create threads, this thread runs teardowns that are due.
    pub(super) fn wait_and_help(&self) -> T {
        let thread = ThisThread::new();
        let _helper = wait_for_help(thread.waker());
        let value = self.block_with(&thread, None, help);
        value.expect("without a deadline, it waits until the moment comes")
    }

    fn has_come_since(&self, place: Place) -> bool {
        self.node.has_come_since(self.moment, place)
    }

    /// Records that this thread waits, for the report of a failing model.
    fn record(&self) -> Waiting {
        let moment = match self.moment {
            Moment::Closing => "to be Closing",
            Moment::Aborting => "to be aborting",
            Moment::Closed => "to be Closed",
            Moment::BodyEnded => "to end its body",
            Moment::ChildrenClosed => "to close its children",
        };
        Waiting::record(innermost_label, moment, || self.node.own_label())
    }

    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(name).field(&self.node.label()).finish()
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        if let Some(place) = self.place.filter(|_| !model_has_failed()) {
            drop_sleeper(self.node.unregister(self.moment, place));
        }
        if self.moment == Moment::Closed {
            self.node.remove_end_waiter();
            #[cfg(not(loom))]
            report_unread(&self.node);
        }
    }
}
