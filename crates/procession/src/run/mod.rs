//! Layer 2: the one interpreter of the state machine's effects. Foreign code runs here and nowhere else, and is caught
//! here.
//!
//! | file | subject |
//! |---|---|
//! | [`mod@perform`] | carries effects out: wakes sleepers and hands teardowns over; begin here |
//! | [`wakers`], [`later`] | how wakers are called; the work that waits until a spawner has returned |
//! | [`catch`] | runs foreign code and catches its panic |
//! | [`foreign`] | users' values, and where they are dropped |
//! | [`contents`] | the values that a node holds for the layers above |
//! | [`body`], [`teardown`], [`job`], [`drive`] | bodies, teardowns, and the jobs that are given to spawners; how jobs are driven |
//! | [`faults`], `fault` | faults that tests inject, and their kinds |
//! | [`hooks`] | hooks for failures, and how bodies and teardowns report their ends |
//! | [`report`] | what supervised processes tell their supervisors |
//! | `observers` | hooks for events, their queues, and the thread that calls them |
//! | `tracing`, `metrics` | the events and numbers for these two crates |
//! | `reports` | reports of failures that nothing handles |
//! | [`spawn`] | spawners |
//! | [`pool`] | the library's threads for blocking work |
//! | `timer`, [`deadlines`] | the thread that keeps deadlines; aborts after a grace, and sleeps |
//! | [`park`] | how a thread sleeps until it is woken |
//! | [`call_stack`], [`waits`] | which code is on a thread's stack; waits that cannot end are refused |
//! | [`workplaces`] | which thread runs the blocking code of which process |

pub(crate) mod body;
pub(crate) mod call_stack;
pub(crate) mod catch;
mod contents;
pub(crate) mod deadlines;
mod drive;
#[cfg(all(feature = "test-faults", not(loom)))]
pub(crate) mod fault;
pub(crate) mod faults;
pub(crate) mod foreign;
pub(crate) mod hooks;
mod job;
mod later;
#[cfg(all(feature = "metrics", not(loom)))]
mod metrics;
#[cfg(not(loom))]
pub(crate) mod observers;
pub(crate) mod park;
mod perform;
mod pool;
pub(crate) mod report;
#[cfg(not(loom))]
pub(crate) mod reports;
mod spawn;
mod teardown;
#[cfg(not(loom))]
mod timer;
#[cfg(all(feature = "tracing", not(loom)))]
pub(crate) mod tracing;
pub(crate) mod waits;
mod wakers;
mod workplaces;

use crate::state;

pub(crate) use body::spawn_body;
pub(crate) use contents::{Failure, Held};
pub use job::Job;
pub(crate) use later::flush;
#[cfg(not(loom))]
pub(crate) use perform::perform_elsewhere;
pub(crate) use perform::{perform, perform_here};
pub(crate) use pool::{help, wait_for_help};
#[cfg(all(feature = "smol", not(loom)))]
pub use spawn::Smol;
pub use spawn::{Inline, Spawn, Threads};
pub(crate) use spawn::{Spawner, inherited_from_context};
pub(crate) use teardown::Teardown;
#[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
pub(crate) use wakers::register_own;
pub use wakers::wake_sleeper;
pub(crate) use wakers::{drop_sleeper, register};
pub(crate) use workplaces::{ThreadsAtWork, look_at};

pub(crate) type Node = state::Node<Held>;
pub(crate) type Seed = state::Seed<Held>;
pub(crate) type Unlinked = state::Unlinked<Held>;
pub(crate) type Extras = state::Extras<Held>;
pub(crate) type Effects = state::Effects<Held>;
pub(crate) type Scope = state::Scope<Held>;
pub(crate) type Inherited =
    state::Inherited<<Held as state::Contents>::Spawner, <Held as state::Contents>::Report>;

/// Starts everything that has to exist before resources run out (I15): called for each new root.
pub(crate) fn prepare() {
    pool::prepare(perform::tear_down);
}
