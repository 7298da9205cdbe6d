//! Units of work that are described once and run any number of times: combined, and started and stopped in
//! order, on the process graph of [`procession`].
//!
//! A [`Runnable`] describes work. A run of it has a process of its own. It tells when it is **ready**; it is
//! asked to stop gracefully by [`closing`](procession::Process::closing), and by force by
//! [`aborting`](procession::Process::aborting). A run that ends before it said ready has not started, also
//! when it ends without an error.
//!
//! ```
//! use procession::Process;
//! use procession_runnable::{body, named, run_in, sequential, start_stop};
//!
//! let database = start_stop(
//!     |_| async { println!("1. the file is open") },
//!     || async { println!("5. the file is closed") },
//! );
//! let server = body(|run| async move {
//!     println!("2. listening");
//!     run.ready();
//!     run.closing().await;
//!     println!("4. no more requests");
//! });
//! let stack = sequential([named("database", database), named("server", server)]);
//!
//! let app = Process::new();
//! futures_lite::future::block_on(run_in(&app, &stack, |_| async { println!("3. serving") }))?;
//! # Ok::<(), procession::Error>(())
//! ```
//!
//! # The runnables
//!
//! | | |
//! |---|---|
//! | [`body`], [`body_thread`] | a closure, async or blocking |
//! | [`leaf`], [`leaf_thread`] | work with a function that stops it gracefully; [`leaf_without_stop`], [`leaf_thread_without_stop`]: closing aborts it |
//! | [`start_stop`], [`start_stop_thread`] | two functions |
//! | [`nop`], [`named`] | nothing; a name, for the process and its errors |
//! | [`parallel`], [`sequential`], [`chain`] | several that run together: side by side, one after the other, nested |
//! | [`concurrent`], [`concurrent_group`], [`sequence`] | several that run to their end |
//! | `server` | servers: TCP on threads, hyper, tower, axum, tonic (features) |
//! | `task`, `trace_region` | a `tracing` span around a run (feature `tracing`, on by default) |
//!
//! They nest in each other without limit, and those of several parts take any collection. What has a blocking
//! form differs in nothing else: the combinators themselves are async bodies on the spawner, and have no
//! threads.
//!
//! # Running them
//!
//! | | |
//! |---|---|
//! | [`run_in`] | around a body: started before it, stopped after it |
//! | [`run_to_end`] | to their end |
//! | [`run`], [`run_async`] | as a program, from `fn main` (Unix) |
//! | [`Service`] | started and stopped by calls, with deadlines |
//!
//! # What holds for all of them
//!
//! - The rule is the same for any number of parts. One part is itself, and none is [`nop`].
//! - A part that fails, whether it is ready or not, closes its group; the others stop gracefully. All errors
//!   are in the outcome, the first one in front. What ends since the group closes, or is dropped by an abort,
//!   is no error beside it.
//! - A part that ends well after it was ready just ends; its group goes on with the others.
//! - A panic is an error of the part, with its name.
//! - Closing before or during the start is honoured: what has started is stopped, what has not is not
//!   started, and no one waits for readiness that cannot come.
//! - The structure is that of the process graph: a group is a process with its parts as children, and the
//!   order in which they close is kept by [`Process::close_after`](procession::Process::close_after).
//!
//! # Where it comes from
//!
//! Readiness, graceful stop, `Parallel`, `Sequential`, `Chain`, `Leaf`, `StartStop` and the service are those
//! of Go's pact `process`; `Concurrent`, `ConcurrentGroup`, `Sequence`, `Task` and `TraceRegion` those of
//! `proc`. Who comes from there finds each of their names in `from_go`.

#![forbid(unsafe_code)]

mod concurrent;
#[cfg(all(any(doc, doctest), feature = "axum", feature = "tracing"))]
#[doc = include_str!("../docs/from-go.md")]
pub mod from_go {}
mod group;
mod leaf;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod ready;
mod run;
mod runnable;
#[cfg(all(any(feature = "tcp", feature = "hyper", feature = "axum"), not(loom)))]
pub mod server;
mod service;
mod sync;
#[cfg(feature = "tracing")]
mod task;

pub use concurrent::{concurrent, concurrent_group, sequence};
pub use group::{NotReady, chain, parallel, sequential};
pub use leaf::{
    body, body_thread, leaf, leaf_thread, leaf_thread_without_stop, leaf_without_stop, named, nop,
    start_stop, start_stop_thread,
};
pub use ready::{Readiness, Unready};
#[doc(hidden)]
pub use run::run_in_at;
#[cfg(all(unix, not(loom)))]
pub use run::{run, run_async};
pub use run::{run_in, run_to_end};
pub use runnable::{Run, Runnable, Start};
pub use service::{Service, ServiceError, State};
#[cfg(feature = "tracing")]
pub use task::{TaskError, task, trace_region};
