//! [`Inline`]: runs blocking jobs on the spot.

use super::{Spawn, Threads};
use crate::run::Job;

/// Runs each blocking job on the thread that spawns it, before `spawn` returns. This is for tests, and for programs
/// with a single thread. Async jobs go to the shared executor, as with [`Threads`], so nothing is polled inside a
/// waker.
///
/// With a spawner that runs jobs on the spot, [`close`](crate::Process::close) runs teardowns on the stack of its
/// caller, so do not call it while you hold a lock that a teardown takes. `Inline` is the only such spawner in this
/// crate. A job that becomes due inside another job, or inside a waker that `close` calls, runs after that has
/// returned.
///
/// ```
/// use procession::{Inline, Process};
///
/// let process = Process::builder().spawner(Inline).teardown(|| println!("torn down")).build()?;
/// process.close();
/// assert!(process.is_closed());
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inline;

impl Spawn for Inline {
    fn spawn(&self, job: Job) {
        if job.is_blocking() { job.run() } else { Threads.spawn(job) }
    }
}
