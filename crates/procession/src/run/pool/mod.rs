//! The pool: the library's threads for blocking teardowns, for dropping the users' values that the library holds, and
//! for the actions at deadlines.
//!
//! Teardowns of siblings run in parallel, up to 512 at once. Yet 100,000 teardowns that do next to nothing do not start
//! 512 threads, because the pool grows only when it is stuck. At first, it calls at most one thread for each core.
//! While tasks wait, the deadline thread takes a *look* at the pool every 200 µs: if no task was started since the last
//! look, all running tasks seem to be blocked, so the number of threads is doubled. A pool that is at its limit is
//! looked at only for urgent tasks.
//!
//! A thread in `close_blocking` runs the teardowns that become due because of it from a queue of its own, and the pool
//! helps with that queue in the same way.
//!
//! The crate `blocking` is not used, because its pool grows with the number of waiting tasks (see `BENCHMARKS.md`), and
//! because a task for which it can create no thread stays in its queue, while a teardown must run even then (I2, I15).
//!
//! | file | subject |
//! |---|---|
//! | [`state`] | when threads are called, wait and end: the invariants P1 to P4; it has no thread and no clock |
//! | [`queues`] | the tasks that wait |
//! | [`task`] | the tasks |
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
pub(super) use threads::{OwnQueue, drop_there, run_now, submit, tasks_ahead, while_blocked};
#[cfg(not(loom))]
pub(crate) use threads::{help, wait_for_help};

#[cfg(loom)]
pub(super) use model::prepare;
#[cfg(loom)]
pub(super) use model::{OwnQueue, drop_there, run_now, submit, tasks_ahead, while_blocked};
#[cfg(loom)]
pub(crate) use model::{help, wait_for_help};

pub(super) use task::{Submit, Task, run};
