//! Keeps units running: started from a table, started again when they fail, stopped in time.
//!
//! A [`Unit`] is a [`Runnable`](procession_runnable::Runnable) with what is to happen when it ends. There are
//! two ways to keep units running:
//!
//! | | |
//! |---|---|
//! | [`Manager`] | units of a [`Table`], that come and go, found by a key; side by side |
//! | [`Supervisor`] | a fixed set of units that belong together, in order, with a strategy: one for one, one for all, rest for one |
//!
//! Both are runnables themselves, so that they nest, and stand in groups beside servers.
//!
//! ```
//! use procession_runnable::body;
//! use procession_supervisor::{Manager, MemoryTable, State};
//!
//! let table = MemoryTable::new();
//! for name in ["orders", "invoices"] {
//!     table.insert(name, body(move |run| async move {
//!         // connect to the queue
//!         run.ready();
//!         run.closing().await; // or return an error: then it is started again
//!     }));
//! }
//! let manager = Manager::new(table.clone());
//! manager.run_blocking(|_| {
//!     assert!(manager.list().iter().all(|unit| unit.state == State::Running));
//!     table.remove(&"invoices"); // it is stopped
//!     manager.stop_blocking(&"orders")
//! })?;
//! # Ok::<(), procession::Error>(())
//! ```
//!
//! # The life of a unit
//!
//! ```text
//!           start              ready                fails, or ends
//! Loading ────────▶ Starting ────────▶ Running ────────────────────▶ Waiting ──▶ Loading
//!                      │                  │    no restart: Ended       (pause)
//!                      │   asked to stop  │    too many:   GivenUp
//!                      └──────▶ Stopping ◀┘
//!                                  │ grace: aborted; abort grace: Stuck
//!                                  ▼
//!                        Stopped, or forgotten
//! ```
//!
//! - There is **at most one run of a key**, whatever happens at once. A key is free when its run is Closed, not
//!   when it was asked to stop. A thread that ignores its abort keeps its key, and is reported.
//! - A run has **failed** if it ended with an error, by a panic, or before it was ready. [`Restart`] says when
//!   it is started again; the pauses before that are the unit's own ([`Backoff`]), and it never waits for a
//!   scan. Nothing else is paused for it. Units that are due together are started at a [pace](Builder::pace).
//! - A unit that is started again **too often** is given up ([`Policy::intensity`]), or closes its manager
//!   ([`GiveUp`]).
//! - **Stopping is bounded**: each unit has a grace time, then it is aborted; past a second time it is left
//!   alone, and named in the outcome.
//! - **Nothing is swallowed**: everything that happens is an [`Event`], for `tracing` and for all readers.
//!
//! # The table
//!
//! It may be remote, slow and shared. A scan that fails is tried again after a pause, and is no absence of
//! rows; a row that cannot be loaded is reported and skipped. A unit whose row is gone is stopped after the
//! next scan that has come to its end, or at once where the table tells of its changes. A unit that is to end
//! for good deletes its row before it ends.
//!
//! # Where it comes from
//!
//! The manager and its table are those of Go's pact `process`; the policies and strategies those of Erlang's
//! supervisors; that a unit which crashes does not pause its siblings is what Go's suture does not do.
//! Time comes from a [`Clock`](procession::Clock), so that nothing of it need be tested by sleeping.

#![forbid(unsafe_code)]

mod backoff;
#[cfg(not(loom))]
mod blocking;
mod engine;
mod error;
mod event;
mod life;
mod manager;
mod memory;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod name;
mod policy;
mod restarts;
mod state;
mod status;
mod supervisor;
mod sync;
mod table;
mod unit;

pub use backoff::{Backoff, Rate};
#[cfg(not(loom))]
pub use blocking::{Blocking, BlockingTable, ChangeIterator, RowIterator};
pub use error::{DoNotRestart, EndAll, ManagerError, SharedError};
pub use event::{Event, Events, Happening};
pub use manager::{Builder, GiveUp, Manager};
pub use memory::MemoryTable;
pub use policy::Policy;
pub use state::State;
pub use status::{Counts, Status};
pub use supervisor::{AutoShutdown, Supervisor};
pub use table::{BoxFuture, BoxStream, Change, Key, Row, Table};
pub use unit::{OnChange, OnFailure, Restart, Unit};
