//! The pool: the library's threads for blocking teardowns, for dropping the users' values that the library holds, and
//! for the actions at deadlines.
//!
//! Teardowns of siblings run side by side, up to 512 at once, and yet 100,000 that do next to nothing do not start 512
//! threads, because the pool grows only when it is stuck. A thread for each core is called at once. While tasks wait,
//! the deadline thread looks every 200 µs whether any task was started since the last look; if none was, all that run
//! are blocked, and the number of threads is doubled. A pool that is at its limit is looked at only for urgent tasks.
//!
//! A thread in `close_blocking` runs the teardowns that become due by it from a queue of its own, and the pool helps
//! with that in the same way.
//!
//! This is not the crate `blocking`, because that pool grows by the number of tasks that wait (see `BENCHMARKS.md`),
//! and because it keeps a task for which no thread can be created, while a teardown must run even then (I2, I15).
//!
//! | file | subject |
//! |---|---|
//! | [`state`] | when a thread is called, waits, ends: the invariants P1 to P4; it has no thread and no clock |
//! | [`queues`] | the tasks that wait |
//! | [`threads`] | the threads, and everything else that calls into the state |
//! | `explore` | a test that runs the state through every order of events |
//! | `model` | the stand-in for all of it under loom |

#[cfg(all(test, not(loom)))]
mod explore;
#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod queues;
#[cfg(not(loom))]
mod state;
mod task;
#[cfg(not(loom))]
mod threads;

#[cfg(not(loom))]
pub(super) use threads::prepare;
#[cfg(not(loom))]
pub(super) use threads::{OwnQueue, busy, drop_there, run_now, submit, while_blocked};
#[cfg(not(loom))]
pub(crate) use threads::{help, wait_for_help};

#[cfg(loom)]
pub(super) use model::prepare;
#[cfg(loom)]
pub(super) use model::{OwnQueue, busy, drop_there, run_now, submit, while_blocked};
#[cfg(loom)]
pub(crate) use model::{help, wait_for_help};

pub(super) use task::{Submit, Task, run};
