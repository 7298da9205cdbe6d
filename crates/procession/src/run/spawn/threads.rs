//! [`Threads`]: the default spawner.

use super::Spawn;
#[cfg(all(feature = "executor", not(loom)))]
use super::executor::{BODIES, TEARDOWNS};
use crate::run::Job;
use crate::run::pool;

/// The default spawner, which needs no executor in the program.
///
/// Async bodies are polled on one small executor that the whole program shares, so an async body must not block. Async
/// teardowns have an executor of their own, so that a body which blocks nevertheless cannot keep a teardown from
/// running. Each executor is started when it is first needed, with as many threads as there are cores. Without the
/// feature `executor`, each async body or teardown has a thread of its own.
///
/// Blocking teardowns run on pooled threads, in parallel, up to 512 at once; any more are queued. A teardown that is
/// blocked in a wait of this crate does not count towards the 512; one that waits with another crate's `block_on` does.
/// If the OS cannot create a thread, teardowns run on threads that are blocked in a wait for a process without a
/// timeout, and an async body that could not be started has the outcome [`Error::NoThread`](crate::Error::NoThread).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads;

impl Spawn for Threads {
    fn spawn(&self, job: Job) {
        match job.into_task() {
            Ok(task) => pool::submit(vec![task]),
            Err(job) => Self::spawn_async(job),
        }
    }
}

#[cfg(all(feature = "executor", not(loom)))]
impl Threads {
    /// Polls the job on the shared executor for its kind.
    pub(crate) fn spawn_async(job: Job) {
        let shared = if job.is_body() { &BODIES } else { &TEARDOWNS };
        match shared.start() {
            Ok(executor) => executor.spawn(job).detach(),
            Err(error) => job.refuse(error),
        }
    }
}

#[cfg(not(all(feature = "executor", not(loom))))]
impl Threads {
    /// Polls the job on a thread of its own.
    pub(crate) fn spawn_async(job: Job) {
        use crate::value::sync::spawn_thread_with;

        if let Err((error, job)) = spawn_thread_with(Some("procession-job"), job, Job::run) {
            job.refuse(error);
        }
    }
}
