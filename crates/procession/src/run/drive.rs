//! How jobs are run, polled, dropped and refused, and how the effects of their ends are carried out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Effects;
use super::call_stack::run_as;
use super::catch::catch;
use super::hooks::torn_down;
use super::job::{Job, State, TearingDown};
use super::later::{is_in_spawner, postpone, run_and_drain_now};
use super::perform::perform;
use super::pool::{self, Task};
use super::spawn::{Spawn, Threads};
use crate::value::Error;
use crate::value::model::model_has_failed;

impl Job {
    /// Runs the job to its end on this thread; an async one is polled here.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the job has ended. But inside [`Spawn::spawn`], it only queues the job, which then runs
    /// as soon as `spawn` has returned, so that chains of jobs do not nest.
    pub fn run(self) {
        let run = move || perform(self.execute());
        if is_in_spawner() {
            return postpone(Box::new(run));
        }
        // A user's executor may run this inside another job that blocks until this one has ended, so nothing may be
        // left to a frame further down the stack.
        run_and_drain_now(run);
    }

    /// The OS could not create a thread for the job. A body then does not run; a teardown is left to the pool's threads
    /// or to threads that wait for a process.
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
}

/// Polling a job runs it. A [blocking](Job::is_blocking) job blocks in its only poll.
impl Future for Job {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_effects(context).map(perform_polled)
    }
}

/// Carries out the effects of a job that was polled to its end or dropped: at once or, if a spawner is being called,
/// after it has returned.
pub(super) fn perform_polled(effects: Effects) {
    if is_in_spawner() {
        postpone(Box::new(move || perform(effects)));
    } else {
        perform(effects);
    }
}

impl Drop for TearingDown {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        if let Some(future) = self.future.take() {
            let (node, _dropped) = run_as(self.node.clone(), || catch(|| drop(future)));
            node.work.end();
            perform_polled(torn_down(&node, Err(Error::Aborted(node.label()).into())));
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
