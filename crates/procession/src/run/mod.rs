//! Layer 2: the one interpreter of the state machine's effects. Foreign code runs here and nowhere else, and is caught
//! here.
//!
//! | file | subject |
//! |---|---|
//! | [`mod@perform`] | carries effects out: wakes sleepers and hands teardowns over; begin here |
//! | [`catch`] | runs foreign code and catches its panic |
//! | [`foreign`] | users' values, and where they are dropped |
//! | [`contents`] | the values that a node holds for the layers above |
//! | [`body`], [`teardown`], [`job`] | bodies, teardowns, and the jobs that are given to spawners |
//! | [`hooks`] | hooks for failures, and how bodies and teardowns report their ends |
//! | [`spawn`] | spawners |
//! | [`pool`] | the library's threads for blocking work |
//! | [`deadlines`] | the thread that keeps deadlines |
//! | [`park`] | how a thread sleeps until it is woken |
//! | [`call_stack`] | which code is on a thread's stack, so that waits that cannot end are refused |

pub(crate) mod body;
pub(crate) mod call_stack;
pub(crate) mod catch;
mod contents;
pub(crate) mod deadlines;
pub(crate) mod foreign;
pub(crate) mod hooks;
mod job;
pub(crate) mod park;
mod perform;
mod pool;
mod spawn;
mod teardown;

use crate::state;

pub(crate) use contents::{Failure, Held};
pub use job::Job;
#[cfg(all(feature = "signal", unix, not(loom)))]
pub(crate) use perform::perform_elsewhere;
pub(crate) use perform::{drop_sleeper, flush, perform, perform_here, register};
pub(crate) use pool::{help, prepare, wait_for_help};
#[cfg(all(feature = "smol", not(loom)))]
pub use spawn::Smol;
pub use spawn::{Inline, Spawn, Threads};
pub(crate) use spawn::{Spawner, inherited_from_context, spawn_body};
pub(crate) use teardown::Teardown;

pub(crate) type Node = state::Node<Held>;
pub(crate) type Seed = state::Seed<Held>;
pub(crate) type Extras = state::Extras<Held>;
pub(crate) type Effects = state::Effects<Held>;
pub(crate) type Inherited = state::Inherited<Held>;
