//! What `procession-runnable` and `procession-supervisor` share with this crate. It is not part of the public interface,
//! and may change in any release.

use std::time::Duration;

use crate::process::Process;

pub use crate::run::catch::catch;
pub use crate::run::deadlines::deadline_after;
pub use crate::run::park::block_on;
pub use crate::value::sleeper::{Sleeper, register};
pub use crate::value::{sync, with_causes};

/// Aborts the process if it is still Closing `grace` after it began to close, whoever closed it. The library's thread for
/// deadlines does it, so it happens even while the tasks of users block every executor.
#[cfg(not(loom))]
pub fn abort_past_grace(process: &Process, grace: Duration) {
    crate::run::deadlines::abort_past_grace(&process.node, grace);
}
