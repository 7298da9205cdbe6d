//! Units of work that are described once and run any number of times: combined, and started and stopped in
//! order, on the process graph of [`procession`].
//!
//! A [`Runnable`] describes work. Each run of it has a process of its own. A run says when it is **ready**. It is asked to
//! stop gracefully by [`closing`](procession::Process::closing), and by force by
//! [`aborting`](procession::Process::aborting). A run that ends before it was ready has not started, even if it ends
//! without an error.
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
//! | [`leaf`], [`leaf_thread`] | work with a function that stops it gracefully; in [`leaf_without_stop`] and [`leaf_thread_without_stop`], closing aborts the work |
//! | [`start_stop`], [`start_stop_thread`] | two functions |
//! | [`nop`], [`named`] | nothing; a name for the process and its errors |
//! | [`parallel`], [`sequential`], [`chain`] | parts that run together: side by side, one after the other, nested |
//! | [`concurrent`], [`concurrent_group`], [`sequence`] | parts that run to their end |
//! | [`drain`] | the last part of a stack: keeps the servers running while load balancers stop sending requests |
//! | `command` | a program of the operating system (feature `command`, Unix) |
//! | `server` | servers: TCP on threads, hyper, tower, axum, tonic; TLS (features) |
//! | `task`, `trace_region` | a `tracing` span around a run (feature `tracing`, on by default) |
//!
//! They nest without a limit, and the combinators take any collection of parts. A blocking form differs from its async
//! form in nothing else. The combinators themselves are async bodies on the spawner, and need no threads.
//!
//! # Running them
//!
//! | | |
//! |---|---|
//! | [`run_in`] | around a body: started before it, stopped after it |
//! | [`run_to_end`] | to their end |
//! | [`run`], [`run_async`] | as a program, from `fn main` |
//! | [`run_with`], [`run_with_async`] | as a program with settings, such as a grace |
//! | [`Service`] | started and stopped by calls, with timeouts |
//!
//! # Rules for all of them
//!
//! - One part is the same as the part itself, and no parts are [`nop`].
//! - A part that fails, whether it is ready or not, closes its group, and the other parts stop gracefully. All errors are in
//!   the outcome, beginning with the first one. A part that ends because its group closes, or is dropped by an abort, does
//!   not count as a failure. A hook above is told of each failure once, by the part that failed.
//! - A part may end without an error after it was ready. Its group continues with the other parts.
//! - A panic is an error of the part, with its name. That includes a panic of the function that starts a part.
//! - Closing before or during the start is honoured: parts that have started are stopped, the others are not started, and no
//!   caller waits for a part that can no longer become ready.
//! - The structure is that of the process graph: a group is a process with its parts as children, which close in the order
//!   given by [`Process::close_after`](procession::Process::close_after).
//!
//! # Where it comes from
//!
//! Readiness, graceful stop, `Parallel`, `Sequential`, `Chain`, `Leaf`, `StartStop` and the service are those of Go's pact
//! `process`; `Concurrent`, `ConcurrentGroup`, `Sequence`, `Task` and `TraceRegion` are those of `proc`. Coming from one of
//! them? `from_go` maps each of their names.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(all(feature = "command", unix, not(loom)))]
mod command;
mod concurrent;
#[cfg(not(loom))]
mod drain;
mod dropping;
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
#[doc(hidden)]
pub use run::run_in_at;
#[cfg(not(loom))]
pub use run::{run, run_async, run_with, run_with_async};
pub use run::{run_in, run_to_end};
pub use runnable::Runnable;
pub use service::{Service, ServiceError};
pub use start::{Run, Start};
pub use state::State;
#[cfg(feature = "tracing")]
pub use task::{TaskError, task, trace_region};
