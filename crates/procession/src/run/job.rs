//! [`Job`]: an async body or a teardown on its way to where it runs.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::call_stack::run_as;
use super::catch::catch;
use super::faults::TeardownFault;
use super::hooks::{outcome, torn_down};
use super::park;
use super::pool::Task;
use super::teardown::{Begun, Teardown, TeardownFuture};
use super::workplaces::run_on_this_thread;
use super::{Effects, Node, NodeContents};
use crate::state::{Due, NodeEvent};
use crate::value::Work;

/// An async body or a teardown that a [`Spawn`](crate::Spawn) must run, with [`run`](Self::run) or by polling it as a
/// future.
///
/// A job that is dropped before its end, for example by an executor that shuts down, is not lost. A body then has the
/// outcome [`Error::Aborted`](crate::Error::Aborted). A teardown that has not begun runs on [`Threads`](crate::Threads)
/// instead; one that has begun adds [`Error::Aborted`](crate::Error::Aborted) to the outcome. In each case, the process
/// becomes Closed.
#[must_use = "a job runs with `run`, or when it is polled"]
pub struct Job(pub(super) State);

pub(super) enum State {
    Body(Pin<Box<dyn AnyBody>>),
    Teardown(Due<NodeContents>),
    /// An async teardown that has begun.
    TearingDown(TearingDown),
    Ended,
}

pub(super) struct TearingDown {
    pub(super) node: Arc<Node>,
    pub(super) future: Option<TeardownFuture>,
}

/// An async body of any type.
pub(super) trait AnyBody: Send {
    /// Polls the body, and returns the effects of its end.
    fn poll_effects(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Effects>;

    /// The OS could not create a thread to poll it on.
    fn refuse(self: Pin<&mut Self>, error: io::Error) -> Effects;
}

impl Job {
    pub(super) fn body(body: Pin<Box<dyn AnyBody>>) -> Self {
        Self(State::Body(body))
    }

    pub(super) fn teardown(due: Due<NodeContents>) -> Self {
        due.node.work.mark_given_to_spawner(due.teardown.is_blocking());
        Self(State::Teardown(due))
    }

    /// Runs a blocking teardown to its end on this thread.
    #[inline]
    pub(super) fn tear_down(node: Arc<Node>, teardown: Teardown) -> Effects {
        debug_assert!(teardown.is_blocking());
        match begin(node, teardown, true) {
            (node, Ok(Begun::Ended(result))) => ended(&node, Ok(result)),
            (node, Ok(Begun::Future(future))) => {
                Self(State::TearingDown(TearingDown { node, future: Some(future) })).execute()
            }
            (node, Err(panicked)) => ended(&node, Err(panicked)),
        }
    }

    /// Is the job a blocking teardown, which blocks the thread that runs or polls it?
    pub fn is_blocking(&self) -> bool {
        matches!(&self.0, State::Teardown(due) if due.teardown.is_blocking())
    }

    #[cfg(all(feature = "executor", not(loom)))]
    pub(super) fn is_body(&self) -> bool {
        matches!(&self.0, State::Body(_))
    }

    /// Runs the job to its end, and returns the effects.
    pub(super) fn execute(mut self) -> Effects {
        park::block_on(poll_fn(|context| self.poll_effects(context)))
    }

    /// Turns a blocking teardown that has not begun into a task of the pool; any other job is returned.
    pub(super) fn into_task(mut self) -> Result<Task, Self> {
        if !self.is_blocking() {
            return Err(self);
        }
        match self.take() {
            State::Teardown(due) => {
                due.node.work.mark(Work::TeardownQueued);
                Ok(Task::TearDown(due))
            }
            state => Err(Self(state)),
        }
    }

    pub(super) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        if let State::Teardown(_) = &self.0 {
            let State::Teardown(Due { node, teardown }) = self.take() else {
                unreachable!("looked at above")
            };
            let is_blocking = teardown.is_blocking();
            match begin(node, teardown, is_blocking) {
                (node, Ok(Begun::Ended(result))) => return Poll::Ready(ended(&node, Ok(result))),
                (node, Ok(Begun::Future(future))) => {
                    self.0 = State::TearingDown(TearingDown { node, future: Some(future) });
                }
                (node, Err(panicked)) => return Poll::Ready(ended(&node, Err(panicked))),
            }
        }
        match &mut self.0 {
            State::Body(body) => body.as_mut().poll_effects(context),
            State::TearingDown(tearing_down) => tearing_down.poll_effects(context),
            State::Teardown(_) | State::Ended => panic!("a job was polled after its end"),
        }
    }

    pub(super) fn take(&mut self) -> State {
        mem::replace(&mut self.0, State::Ended)
    }
}

/// Begins a teardown. A blocking one runs to its end.
#[inline(always)]
fn begin(
    node: Arc<Node>,
    teardown: Teardown,
    is_blocking: bool,
) -> (Arc<Node>, Result<Begun, Arc<str>>) {
    node.notify_observers(|| NodeEvent::TeardownStarted);
    if is_blocking {
        node.work.begin_teardown();
        let fault = TeardownFault::of(&node);
        run_on_this_thread(node, || catch(|| fault.begin(teardown)))
    } else {
        node.work.begin(Work::AsyncTeardown);
        let fault = TeardownFault::of(&node);
        run_as(node, || catch(|| fault.begin(teardown)))
    }
}

/// Reports the end of a teardown.
#[inline(always)]
fn ended(
    node: &Arc<Node>,
    caught: Result<Result<(), crate::value::BoxError>, Arc<str>>,
) -> Effects {
    node.work.end();
    torn_down(node, outcome(caught, || node.label()))
}

impl TearingDown {
    fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        let future = self.future.as_mut().expect("a teardown is not polled after its end");
        let poll = || catch(|| future.as_mut().poll(context));
        let (node, polled) = run_as(self.node.clone(), poll);
        let caught = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panicked) => Err(panicked),
        };
        let future = self.future.take();
        let (node, _dropped) = run_as(node, || catch(|| drop(future)));
        Poll::Ready(ended(&node, caught))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Body(_) => f.write_str("Job(body)"),
            State::Teardown(Due { node, .. }) | State::TearingDown(TearingDown { node, .. }) => {
                write!(f, "Job(teardown of {})", node.label())
            }
            State::Ended => f.write_str("Job(ended)"),
        }
    }
}
