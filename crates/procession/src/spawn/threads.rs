//! [`Threads`]: the default spawner.

use std::future::Future;

use super::{Job, Spawn};
use crate::body::{Body, BodyResult};
use crate::state::Ready;

/// The default spawner: it needs no executor in the program.
///
/// Async bodies and teardowns are polled on one small executor that the whole program shares; it is started
/// at the first need, with as many threads as there are cores. So an async body must not block. Without
/// feature `executor`, each has a thread of its own.
///
/// Blocking teardowns run on pooled threads, side by side, up to 512 at once; beyond that they queue. If the
/// system gives no thread, a teardown runs on the thread that closes, and an async body that was not started
/// has the outcome [`Error::NoThread`](crate::Error::NoThread).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads;

/// How many threads can run at the same time.
#[cfg(not(loom))]
pub(super) fn cores() -> usize {
    static CORES: once_cell::sync::Lazy<usize> =
        once_cell::sync::Lazy::new(|| std::thread::available_parallelism().map_or(1, Into::into));
    *CORES
}

impl Spawn for Threads {
    fn spawn(&self, job: Job) {
        match job.into_blocking() {
            Ok(ready) => Self::submit(vec![ready]),
            Err(job) => Self::spawn_async(job),
        }
    }
}

impl Threads {
    /// Runs blocking teardowns on pooled threads.
    #[cfg(not(loom))]
    pub(crate) fn submit(ready: Vec<Ready>) {
        super::pool::submit(ready);
    }

    /// A model has few threads, and lasts as long as they do: each job has one of its own.
    #[cfg(loom)]
    pub(crate) fn submit(ready: Vec<Ready>) {
        ready.into_iter().map(Job::teardown).for_each(on_its_own_thread);
    }

    /// Polls the job on the shared executor.
    #[cfg(all(feature = "executor", not(loom)))]
    pub(crate) fn spawn_async(job: Job) {
        match super::executor::start() {
            Ok(executor) => executor.spawn(job).detach(),
            Err(error) => job.refuse(error),
        }
    }

    /// Polls an async body on the shared executor.
    #[cfg(all(feature = "executor", not(loom)))]
    pub(crate) fn spawn_body<F>(body: Body<F>)
    where
        F: Future<Output = BodyResult> + Send + 'static,
    {
        match super::executor::start() {
            Ok(executor) => executor.spawn(body).detach(),
            Err(error) => Job::body(Box::pin(body)).refuse(error),
        }
    }

    /// Polls an async body on a thread of its own.
    #[cfg(not(all(feature = "executor", not(loom))))]
    pub(crate) fn spawn_body<F>(body: Body<F>)
    where
        F: Future<Output = BodyResult> + Send + 'static,
    {
        on_its_own_thread(Job::body(Box::pin(body)));
    }

    /// Polls the job on a thread of its own.
    #[cfg(not(all(feature = "executor", not(loom))))]
    pub(crate) fn spawn_async(job: Job) {
        on_its_own_thread(job);
    }
}

#[cfg(any(loom, not(feature = "executor")))]
fn on_its_own_thread(job: Job) {
    use std::sync::Arc;

    use crate::sync::{Mutex, spawn_thread};

    // Kept here too, since a thread that is not started drops what it was to run.
    let kept = Arc::new(Mutex::new(Some(job)));
    let job = kept.clone();
    let run = move || {
        let job = job.lock().take();
        job.into_iter().for_each(Job::run);
    };
    if let Err(error) = spawn_thread(Some("procession-job"), run) {
        let job = kept.lock().take();
        if let Some(job) = job {
            job.refuse(error);
        }
    }
}
