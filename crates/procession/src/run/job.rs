//! [`Job`]: an async body or a teardown on its way to where it runs.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::body::AnyBody;
use super::call_stack::run_as;
use super::catch::catch;
use super::hooks::{outcome, torn_down};
use super::park;
use super::perform::{perform, perform_polled, run_on_the_spot};
use super::pool::{self, Task};
use super::spawn::{Spawn, Threads};
use super::teardown::{Begun, TeardownFuture};
use super::{Effects, Held, Node};
use crate::state::Due;
use crate::value::model::model_has_failed;
use crate::value::{Error, Work};

/// An async body or a teardown that a [`Spawn`] has to run: with [`run`](Self::run), or by polling it as a future.
///
/// A job that is dropped before its end, for example by an executor that shuts down, is not lost: the outcome of a body
/// is [`Error::Aborted`]; a teardown that has not begun runs on [`Threads`] instead; one that has begun adds
/// [`Error::Aborted`] to the outcome. The process becomes Closed in each case.
#[must_use = "a job runs with `run`, or when it is polled"]
pub struct Job(State);

enum State {
    Body(Pin<Box<dyn AnyBody>>),
    Teardown(Due<Held>),
    /// An async teardown that has begun.
    TearingDown(TearingDown),
    Ended,
}

struct TearingDown {
    node: Arc<Node>,
    future: Option<TeardownFuture>,
}

impl Job {
    pub(super) fn body(body: Pin<Box<dyn AnyBody>>) -> Self {
        Self(State::Body(body))
    }

    pub(super) fn teardown(due: Due<Held>) -> Self {
        let is_blocking = due.teardown.is_blocking();
        due.node.work.set(if is_blocking { Work::BlockingTeardown } else { Work::AsyncTeardown });
        Self(State::Teardown(due))
    }

    /// Runs a blocking teardown to its end on this thread.
    pub(super) fn tear_down(due: Due<Held>) -> Effects {
        due.node.work.set(Work::BlockingTeardown);
        match begin(due) {
            (node, Ok(Begun::Ended(result))) => ended(&node, Ok(result)),
            (node, Ok(Begun::Future(future))) => {
                Self(State::TearingDown(TearingDown { node, future: Some(future) })).execute()
            }
            (node, Err(panicked)) => ended(&node, Err(panicked)),
        }
    }

    /// Is it a blocking teardown? It then blocks the thread that runs or polls it.
    pub fn is_blocking(&self) -> bool {
        matches!(&self.0, State::Teardown(due) if due.teardown.is_blocking())
    }

    #[cfg(all(feature = "executor", not(loom)))]
    pub(super) fn is_body(&self) -> bool {
        matches!(&self.0, State::Body(_))
    }

    /// Runs the job to its end on this thread; an async one is polled here.
    ///
    /// # Blocking
    ///
    /// Blocks until the job has ended. But a call inside another job's `run`, or inside a call of
    /// [`Spawn::spawn`], only queues the job: it runs as soon as that job or call has returned, so that chains of jobs
    /// do not nest.
    pub fn run(self) {
        run_on_the_spot(self);
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
            State::Teardown(due) => Ok(Task::TearDown(due)),
            state => Err(Self(state)),
        }
    }

    /// The OS could not create a thread for the job: a body does not run; a teardown is left to the pool's threads, or
    /// to threads that wait for a process.
    pub(super) fn refuse(mut self, error: io::Error) {
        match self.take() {
            State::Body(mut body) => perform(body.as_mut().refuse(error)),
            state => {
                let job = Self(state);
                let run = Box::new(move || perform(job.execute()));
                pool::submit(vec![Task::Call(run)]);
            }
        }
    }

    pub(super) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        if let State::Teardown(_) = &self.0 {
            let State::Teardown(due) = self.take() else { unreachable!("looked at above") };
            match begin(due) {
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

    fn take(&mut self) -> State {
        mem::replace(&mut self.0, State::Ended)
    }
}

/// Begins a teardown: a blocking one runs to its end.
fn begin(Due { node, teardown }: Due<Held>) -> (Arc<Node>, Result<Begun, Arc<str>>) {
    run_as(node, || catch(|| teardown.begin()))
}

/// Reports the end of a teardown.
fn ended(
    node: &Arc<Node>,
    caught: Result<Result<(), crate::value::BoxError>, Arc<str>>,
) -> Effects {
    node.work.set(Work::None);
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

impl Drop for TearingDown {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        if let Some(future) = self.future.take() {
            let (node, _dropped) = run_as(self.node.clone(), || catch(|| drop(future)));
            node.work.set(Work::None);
            perform_polled(torn_down(&node, Err(Error::Aborted(node.label()))));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        if let State::Teardown(_) = &self.0 {
            Threads.spawn(Self(self.take()));
        }
    }
}

/// Polls the job.
///
/// A job that [blocks](Job::is_blocking) does so in its only poll.
impl Future for Job {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_effects(context).map(perform_polled)
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
