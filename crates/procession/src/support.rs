//! Items that `procession-runnable` and `procession-supervisor` share with this crate. They are not part of the public
//! interface, and may change in any release.

use std::time::Duration;

use crate::process::Process;

pub use crate::run::catch::catch;
pub use crate::run::park::block_on;
pub use crate::value::model::model_has_failed;
pub use crate::value::sleeper::{Sleeper, register};
pub use crate::value::time::deadline_after;
pub use crate::value::{sync, text, with_causes};

/// Waits until the hooks of [`Process::on_event`] were called for every event so far; `false` if that takes longer than
/// `timeout`.
#[cfg(not(loom))]
pub fn flush_events(timeout: Duration) -> bool {
    crate::run::observers::flush(timeout)
}

/// Aborts the process if it is still Closing `grace` after it began to close, for whatever reason. The library's
/// deadline thread does this, so it happens even while users' tasks block every executor.
pub fn abort_past_grace(process: &Process, grace: Duration) {
    crate::run::deadlines::abort_past_grace(&process.node, grace);
}
