//! Descriptions of work that can be run any number of times. They can be combined, and are started and stopped in
//! order, on the process graph of [`procession`].
//!
//! A [`Runnable`] describes work. Each run of it has a process of its own, and reports when it is **ready**.
//! [`closing`](procession::Process::closing) asks a run to stop gracefully, and
//! [`aborting`](procession::Process::aborting) tells it to stop at once. If a run ends before it is ready, its start
//! has failed, even if it ends without an error.
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
//! | [`leaf`](leaf()), [`leaf_thread`] | work with a function that stops it gracefully; in [`leaf_without_stop`] and [`leaf_thread_without_stop`], closing aborts the work |
//! | [`start_stop`], [`start_stop_thread`] | a function that starts something, and one that stops it |
//! | [`nop`] | no work: ready at once, and ends at once |
//! | [`named`] | a name for the process of a runnable and for its errors |
//! | [`parallel`], [`sequential`], [`chain`] | parts that run together: side by side, one after the other, nested |
//! | [`concurrent`](concurrent()), [`concurrent_group`], [`sequence`] | parts that run to their end |
//! | [`drain`](drain()) | the last part of a stack: keeps the servers running while load balancers stop sending requests |
//! | `command` | a program of the operating system (feature `command`, Unix) |
//! | `server` | servers: TCP on threads, hyper, tower, axum, tonic; TLS (each with a feature) |
//! | `task`, `trace_region` | a `tracing` span around a run (feature `tracing`, on by default) |
//!
//! Runnables nest without a limit, and the combinators take any collection of parts. A blocking form differs from its
//! async form only in that its functions run on threads. The combinators themselves are async bodies on the spawner,
//! and need no threads.
//!
//! # Running them
//!
//! | | |
//! |---|---|
//! | [`run_in`] | around a body: started before it, and stopped after it |
//! | [`run_to_end`] | until they end |
//! | [`run`](run()), [`run_async`] | as a program, from `fn main` |
//! | [`run_with`], [`run_with_async`] | as a program with settings, such as a grace |
//! | [`Service`] | started and stopped by calls, with timeouts |
//!
//! # Rules for all of them
//!
//! - A combination of one part is that part, and a combination of none is [`nop`].
//! - A part that fails, whether it is ready or not, closes its group, and the other parts stop gracefully. All errors
//!   are in the outcome, beginning with the first one. A part that ends because its group closes, or is dropped by an
//!   abort, does not count as a failure. Hooks above are called once for each failure, with the process of the part
//!   that failed.
//! - A part may end without an error after it was ready. Its group continues with the other parts.
//! - A panic becomes an error that names the part. That includes a panic of the function that starts the part.
//! - Closing before or during the start is honoured: parts that have started are stopped, the others are not started,
//!   and no caller waits for a part that can no longer become ready.
//! - The structure is visible in the process graph: a group is a process whose children are its parts, and
//!   [`Process::close_after`](procession::Process::close_after) edges give the order in which they close.
//!
//! # Where it comes from
//!
//! Readiness, graceful stop, `Parallel`, `Sequential`, `Chain`, `Leaf`, `StartStop` and the service are those of Go's
//! pact `process`; `Concurrent`, `ConcurrentGroup`, `Sequence`, `Task` and `TraceRegion` are those of `proc`. Coming
//! from one of them? `from_go` maps each of its names.

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(all(feature = "command", unix, not(loom)))]
mod command;
mod concurrent;
#[cfg(not(loom))]
mod drain;
mod ending;
mod errors;
#[cfg(all(any(doc, doctest), feature = "axum", feature = "tls", feature = "tracing"))]
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
mod start;
mod state;
mod sync;
#[cfg(feature = "tracing")]
mod task;
mod wraps;

#[cfg(all(feature = "command", unix, not(loom)))]
pub use command::{Command, CommandError, command};
pub use concurrent::{concurrent, concurrent_group, sequence};
#[cfg(not(loom))]
pub use drain::{DrainTooLong, ReadyFlag, drain};
pub use group::{chain, parallel, sequential};
pub use leaf::{
    body, body_thread, leaf, leaf_thread, leaf_thread_without_stop, leaf_without_stop, named, nop,
    start_stop, start_stop_thread,
};
pub use ready::{NotReady, Readiness};
#[cfg(not(loom))]
pub use run::{run, run_async, run_with, run_with_async};
pub use run::{run_in, run_to_end};
#[doc(hidden)]
pub use run::{run_in_at, run_in_blocking_at};
pub use runnable::Runnable;
pub use service::{Service, ServiceError};
pub use start::{Run, Start};
pub use state::State;
#[cfg(feature = "tracing")]
pub use task::{TaskError, task, trace_region};
