//! Deadlines: graces, time limits, stalls, and sleeps. The [deadline thread](super::timer) keeps them.
//!
//! The effects of an abort and of the end of a sleep are handed to the pool, ahead of everything that is queued there,
//! except that the library's own sleepers are woken at once.
//!
//! The entry of a process is removed when the process is Closed (I12), because the call that inserts it also registers
//! a sleeper for Closed that removes it, or removes it at once if the process is already Closed.

#[cfg(not(loom))]
mod actions;
#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod stalls;

#[cfg(not(loom))]
pub(crate) use actions::{
    Sleep, abort_after, abort_past_grace, begin_grace, limit_time, sleep_until,
};
#[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
pub(crate) use actions::{act_at, force_elsewhere};
#[cfg(loom)]
pub(crate) use model::{Sleep, abort_after, begin_grace, limit_time, sleep_until};
#[cfg(not(loom))]
pub(crate) use stalls::watch_for_stalls;
