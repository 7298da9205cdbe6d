//! [`Job`]: an async body or a teardown on its way to where it runs.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Spawn, Threads};
use crate::body::AnyBody;
use crate::deadlock;
use crate::dispatch::{defer, dispatch};
use crate::error::Error;
use crate::failure::torn_down;
use crate::outcome::{catch, discard, outcome};
use crate::state::{Effects, Node, Ready, Siblings};
use crate::sync::block_on;
use crate::teardown::{Begun, TeardownFuture};

/// An async body or a teardown that a [`Spawn`] is to run: with [`run`](Self::run), or by polling it as a
/// future.
///
/// Nothing is lost with a job that is dropped before its end, as an executor does that is shut down: a body's
/// outcome is [`Error::Aborted`]; a teardown that has not begun runs on [`Threads`] instead; one that has
/// begun adds [`Error::Aborted`] to the outcome. The process gets Closed in each case.
pub struct Job(Work);

enum Work {
    Body(Pin<Box<dyn AnyBody>>),
    Teardown(Ready),
    /// An async teardown that has begun.
    TearingDown(TearingDown),
    Ended,
}

struct TearingDown {
    node: Arc<Node>,
    future: Option<TeardownFuture>,
}

impl Job {
    pub(crate) fn body(body: Pin<Box<dyn AnyBody>>) -> Self {
        Self(Work::Body(body))
    }

    pub(crate) fn teardown(ready: Ready) -> Self {
        Self(Work::Teardown(ready))
    }

    /// Does it block the thread that polls it? Then it wants a thread that may be blocked: a blocking
    /// teardown.
    pub fn is_blocking(&self) -> bool {
        matches!(&self.0, Work::Teardown(ready) if ready.teardown.is_blocking())
    }

    /// Runs the job to its end on this thread, with a small executor of its own if it is async.
    ///
    /// # Blocking
    ///
    /// Blocks until the job has ended. A job that was handed over by the end of another one, on this thread
    /// and within its `run`, is put behind it: such chains do not nest.
    pub fn run(self) {
        if let Some(job) = defer(self) {
            let effects = job.execute();
            dispatch(effects);
        }
    }

    /// Runs the job to its end, and hands back what follows from it.
    pub(crate) fn execute(mut self) -> Effects {
        block_on(poll_fn(|context| self.poll_effects(context)))
    }

    /// The teardown that it is, if it is a blocking one that has not begun.
    pub(super) fn into_blocking(mut self) -> Result<Ready, Self> {
        if !self.is_blocking() {
            return Err(self);
        }
        match self.take() {
            Work::Teardown(ready) => Ok(ready),
            work => Err(Self(work)),
        }
    }

    /// The system gives no thread for the job: a teardown runs on this one, a body is not run.
    pub(super) fn refuse(mut self, error: io::Error) {
        dispatch(match self.take() {
            Work::Body(mut body) => body.as_mut().refuse(error),
            work => Self(work).execute(),
        });
    }

    pub(super) fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        if let Work::Teardown(_) = &self.0 {
            let Work::Teardown(ready) = self.take() else { unreachable!("looked at above") };
            match call(ready) {
                (node, Called::Ended(result)) => return Poll::Ready(torn_down(&node, result)),
                (node, Called::Future(future)) => {
                    self.0 = Work::TearingDown(TearingDown { node, future: Some(future) });
                }
            }
        }
        match &mut self.0 {
            Work::Body(body) => body.as_mut().poll_effects(context),
            Work::TearingDown(tearing_down) => tearing_down.poll_effects(context),
            Work::Teardown(_) | Work::Ended => panic!("a job was polled after its end"),
        }
    }

    fn take(&mut self) -> Work {
        mem::replace(&mut self.0, Work::Ended)
    }
}

/// Runs a blocking teardown. What follows from it is `None` if it is no more than a report that `siblings`
/// makes.
pub(crate) fn tear_down(ready: Ready, siblings: &mut Siblings) -> Option<Effects> {
    let under = ready.under;
    match call(ready) {
        (node, Called::Ended(result)) => match under {
            Some(_) => siblings.end(&node, result).err().map(|result| torn_down(&node, result)),
            None => Some(torn_down(&node, result)),
        },
        (node, Called::Future(future)) => {
            Some(Job(Work::TearingDown(TearingDown { node, future: Some(future) })).execute())
        }
    }
}

enum Called {
    Ended(Result<(), Error>),
    Future(TeardownFuture),
}

/// Calls a teardown: a blocking one runs to its end.
fn call(Ready { node, teardown, .. }: Ready) -> (Arc<Node>, Called) {
    let (node, begun) = deadlock::run_as(node, || catch(|| teardown.begin()));
    let ended = match begun {
        Ok(Begun::Future(future)) => return (node, Called::Future(future)),
        Ok(Begun::Ended(result)) => Ok(result),
        Err(panicked) => Err(panicked),
    };
    let result = outcome(ended, || node.label());
    (node, Called::Ended(result))
}

impl TearingDown {
    fn poll_effects(&mut self, context: &mut Context<'_>) -> Poll<Effects> {
        let future = self.future.as_mut().expect("a teardown is not polled after its end");
        let poll = || catch(|| future.as_mut().poll(context));
        let (node, polled) = deadlock::run_as(self.node.clone(), poll);
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panicked) => Err(panicked),
        };
        discard(self.future.take());
        Poll::Ready(torn_down(&node, outcome(ended, || node.label())))
    }
}

impl Drop for TearingDown {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            discard(future);
            dispatch(torn_down(&self.node, Err(Error::Aborted(self.node.label()))));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Work::Teardown(_) = &self.0 {
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
        self.get_mut().poll_effects(context).map(dispatch)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Work::Body(_) => f.write_str("Job(body)"),
            Work::Teardown(Ready { node, .. }) | Work::TearingDown(TearingDown { node, .. }) => {
                write!(f, "Job(teardown of {})", node.label())
            }
            Work::Ended => f.write_str("Job(ended)"),
        }
    }
}
