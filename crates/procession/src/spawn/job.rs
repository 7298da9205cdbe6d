//! [`Job`]: an async body or a teardown on its way to where it runs.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Spawn, Threads};
use crate::body::SpawnedBody;
use crate::deadlock;
use crate::dispatch::{defer, dispatch};
use crate::error::Error;
use crate::outcome::{catch, discard};
use crate::state::{Effects, Node, Ready};
use crate::sync::block_on;
use crate::teardown::{Begun, Teardown, TeardownFuture};

/// An async body or a teardown that a [`Spawn`](super::Spawn) is to run: with [`run`](Self::run), or by
/// polling it as a future.
///
/// Nothing is lost with a job that is dropped before its end, as an executor does that is shut
/// down: a body's outcome is [`Error::Aborted`]; a teardown that has not begun runs on [`Threads`]
/// instead; one that has begun adds [`Error::Aborted`] to the outcome. The process gets Closed in each case.
pub struct Job(Work);

enum Work {
    Body(SpawnedBody),
    Teardown(TeardownJob),
}

struct TeardownJob {
    node: Arc<Node>,
    stage: Stage,
}

enum Stage {
    Waiting(Teardown),
    Polling(TeardownFuture),
    Ended,
}

impl Job {
    pub(crate) fn body(body: SpawnedBody) -> Self {
        Self(Work::Body(body))
    }

    pub(crate) fn teardown(ready: Ready) -> Self {
        let Ready { node, teardown } = ready;
        Self(Work::Teardown(TeardownJob { node, stage: Stage::Waiting(teardown) }))
    }

    /// Does it block the thread that polls it? Then it wants a thread that may be blocked: a blocking teardown.
    pub fn is_blocking(&self) -> bool {
        match &self.0 {
            Work::Body(_) => false,
            Work::Teardown(job) => job.is_blocking(),
        }
    }

    /// Runs the job to its end on this thread, with a small executor of its own if it is async.
    ///
    /// # Blocking
    ///
    /// Blocks until the job has ended. A job that was handed over by the end of another one, on this
    /// thread and within its `run`, is put behind it: such chains do not nest.
    pub fn run(self) {
        if let Some(job) = defer(self) {
            let effects = job.execute();
            dispatch(effects);
        }
    }

    /// Runs the job to its end, and hands back what follows from it.
    pub(crate) fn execute(mut self) -> Effects {
        match &mut self.0 {
            Work::Teardown(job) if job.is_blocking() => job.execute(),
            _ => block_on(poll_fn(|context| self.poll_effects(context))),
        }
    }

    /// The system gives no thread for the job: a teardown runs on this one, a body is not run.
    pub(super) fn refuse(self, error: io::Error) {
        dispatch(match self.0 {
            Work::Body(body) => body.refuse(error),
            Work::Teardown(_) => self.execute(),
        });
    }

    pub(super) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        match &mut self.0 {
            Work::Body(body) => body.poll_effects(context),
            Work::Teardown(job) => job.poll_effects(context),
        }
    }
}

impl TeardownJob {
    fn is_blocking(&self) -> bool {
        matches!(&self.stage, Stage::Waiting(teardown) if teardown.is_blocking())
    }

    /// Runs a blocking teardown.
    fn execute(&mut self) -> Effects {
        let Begun::Ended(result) = self.begin() else {
            unreachable!("a blocking teardown ends at once")
        };
        self.node.torn_down(result)
    }

    fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        if let Stage::Waiting(_) = self.stage {
            match self.begin() {
                Begun::Ended(result) => return Poll::Ready(self.node.torn_down(result)),
                Begun::Future(future) => self.stage = Stage::Polling(future),
            }
        }
        let Stage::Polling(future) = &mut self.stage else {
            panic!("a job was polled after its end")
        };
        let frame = deadlock::enter(&self.node);
        let polled = catch(|| self.node.label(), || future.as_mut().poll(context));
        drop(frame);
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => {
                result.map_err(|error| Error::failed(self.node.label(), error))
            }
            Err(panicked) => Err(panicked),
        };
        let ended = mem::replace(&mut self.stage, Stage::Ended);
        discard(ended);
        Poll::Ready(self.node.torn_down(result))
    }

    /// Leaves the waiting stage: calls the teardown.
    fn begin(&mut self) -> Begun<Error> {
        let Stage::Waiting(teardown) = mem::replace(&mut self.stage, Stage::Ended) else {
            panic!("a job was polled after its end")
        };
        let _frame = deadlock::enter(&self.node);
        match catch(|| self.node.label(), || teardown.begin()) {
            Ok(begun) => begun.map_err(|error| Error::failed(self.node.label(), error)),
            Err(panicked) => Begun::Ended(Err(panicked)),
        }
    }
}

impl Drop for TeardownJob {
    fn drop(&mut self) {
        match mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Ended => {}
            Stage::Waiting(teardown) => {
                let ready = Ready { node: self.node.clone(), teardown };
                Threads.spawn(Job::teardown(ready));
            }
            Stage::Polling(future) => {
                discard(future);
                dispatch(self.node.torn_down(Err(Error::Aborted(self.node.label()))));
            }
        }
    }
}

/// Polls the job.
///
/// A job that [blocks](Job::is_blocking) does so in its only poll.
impl Future for Job {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_effects(context).map(dispatch)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Work::Body(_) => f.write_str("Job(body)"),
            Work::Teardown(job) => write!(f, "Job(teardown of {})", job.node.label()),
        }
    }
}
