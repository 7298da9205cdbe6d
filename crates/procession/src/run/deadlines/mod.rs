//! Deadlines: one thread of the library, a sorted map and a parker (I15).
//!
//! The thread needs no file descriptor and no executor, and no foreign code runs on it. It changes states and wakes the
//! library's own sleepers; all further effects are handed to the pool, ahead of everything that is queued there.
//!
//! # Invariants
//!
//! - The thread sleeps at most until the first deadline in the map. *Because* it reads the first deadline under the
//!   lock before it parks, and a thread that inserts a new first deadline unparks it, which a parker remembers.
//! - The entry of a process is removed when the process is Closed (I12). *Because* the call that inserts it also
//!   registers a sleeper for Closed that removes it, or removes it at once if the process is already Closed.
//!
//! Lock order: the map's lock is the last. It may be taken under the pool's lock, and thereby under a node's, and no
//! lock is taken under it.

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod thread;

#[cfg(loom)]
pub(crate) use model::{abort_after, abort_past_grace, sleep_until};
#[cfg(not(loom))]
pub(crate) use thread::{abort_after, abort_past_grace, sleep_until};
#[cfg(not(loom))]
pub(super) use thread::{prepare, schedule_pool_check};
