//! Layer 2: the one interpreter of the effects of the state machine. Foreign code runs only here, and its panics are
//! caught here.
//!
//! | file | subject |
//! |---|---|
//! | [`mod@perform`] | carries out effects: wakes sleepers and hands over teardowns; begin here |
//! | [`mod@abort`] | aborts, and who reports them |
//! | [`wakers`], [`later`] | how wakers are called; the calls that are postponed until a spawner has returned |
//! | [`catch`] | runs foreign code and catches its panics |
//! | [`foreign`] | users' values, and where they are dropped |
//! | [`nested`] | the drop of values that may own others of their kind |
//! | [`contents`] | the values that a node holds for the layers above |
//! | [`body`], [`teardown`], [`job`], [`drive`] | bodies, teardowns, and the jobs that are given to spawners; how jobs are driven |
//! | [`faults`], `fault` | faults that tests inject, and their kinds |
//! | [`hooks`] | hooks for failures, and how bodies and teardowns report their ends |
//! | [`report`] | the notifications from supervised processes to their supervisors |
//! | `observers` | hooks for events, their queues, and the thread that calls them |
//! | `tracing`, `metrics` | the events and numbers for these two crates |
//! | `reports` | reports of failures that nothing handles |
//! | [`spawn`] | spawners |
//! | [`pool`] | the library's threads for blocking work |
//! | `timer`, [`deadlines`] | the thread that keeps deadlines; graces, time limits, stalls, and sleeps |
//! | [`park`] | how a thread sleeps until it is woken |
//! | [`call_stack`], [`waits`] | the processes whose code is on a thread's stack; blocking waits, and their refusal |
//! | [`workplaces`] | the threads that run blocking code, and their processes |

pub(crate) mod abort;
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
mod nested;
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
pub(crate) use contents::{Failure, NodeContents};
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

pub(crate) type Node = state::Node<NodeContents>;
pub(crate) type Seed = state::Seed<NodeContents>;
pub(crate) type Unlinked = state::Unlinked<NodeContents>;
pub(crate) type Extras = state::Extras<NodeContents>;
pub(crate) type Effects = state::Effects<NodeContents>;
pub(crate) type Scope = state::Scope<NodeContents>;
pub(crate) type Inherited = state::Inherited<
    <NodeContents as state::Contents>::Spawner,
    <NodeContents as state::Contents>::Report,
>;

/// Starts everything that must exist before resources run out (I15). Called for each process that is made without a
/// parent.
pub(crate) fn prepare() {
    pool::prepare(perform::tear_down);
}
