//! smol's global executor as a spawner.

use super::Spawn;
use crate::run::Job;

/// Runs async jobs on smol's global executor, and blocking ones on its thread pool (feature `smol`).
///
/// ```
/// use procession::{Process, Smol};
///
/// let process = Process::builder()
///     .spawner(Smol)
///     .teardown_async(|| async { println!("on smol") })
///     .build()?;
/// smol::block_on(process.close())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smol;

impl Spawn for Smol {
    fn spawn(&self, job: Job) {
        if job.is_blocking() {
            smol::unblock(move || job.run()).detach();
        } else {
            smol::spawn(job).detach();
        }
    }
}
