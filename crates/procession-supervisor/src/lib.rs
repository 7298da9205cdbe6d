//! Keeps units running: starts them from a table or in an order, restarts them when they fail, and stops them in time.
//!
//! A [`Unit`] is a [`Runnable`](procession_runnable::Runnable) with rules for its supervision. There are two ways to
//! keep units running:
//!
//! | | |
//! |---|---|
//! | [`Manager`] | independent units that come and go with the rows of a [`Table`], each found by its key |
//! | [`Supervisor`] | units that belong together, in order, with a strategy: one for one, one for all, rest for one |
//!
//! For units that must run in only one of several programs, there are [`shared`] tables and their managers. Managers
//! and sets can be turned into runnables, so they can nest, and can be parts of groups next to servers. For work that
//! never needs a restart, `Process::spawn` is enough.
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
//!         run.closing().await; // if this returned an error, the unit would be restarted
//!     }));
//! }
//! let manager = Manager::new(table.clone());
//! manager.run_blocking(|_| {
//!     assert!(manager.list().iter().all(|unit| unit.state == State::Running));
//!     table.remove(&"invoices"); // the unit stops
//!     manager.stop_blocking(&"orders")
//! })?;
//! # Ok::<(), procession::Error>(())
//! ```
//!
//! # The lifecycle of a unit
//!
//! ```text
//!           start              ready                fails, or ends
//! Loading ────────▶ Starting ────────▶ Running ────────────────────▶ Waiting ──▶ Loading
//!                      │                  │    no restart: Ended       (pause)
//!                      │   asked to stop, │    too often:  GivenUp
//!                      │   or it closes   │
//!                      └──────▶ Stopping ◀┘
//!                                  │ grace: aborted; abort grace: Stuck
//!                                  ▼
//!                     Stopped, forgotten, or as above
//! ```
//!
//! - There is **at most one run of a unit** at any time, even if calls, changes and failures coincide. A key becomes
//!   free when its run is Closed, and all stuck units of nested sets that the run has left behind are, too. A unit that
//!   ignores its abort keeps its key, and is reported as stuck.
//! - A run has **failed** if it ended with an error, by a panic, or before it was ready. [`Restart`] decides whether
//!   its unit is restarted. The pauses before the restarts ([`Backoff`]) grow for each unit separately, and do not
//!   depend on scans. A unit that was asked to stop has stopped, not failed, however it ends.
//! - A unit that is restarted **too often** is given up ([`Policy::intensity`]). This can close its manager
//!   ([`GiveUp`]), and always closes its set. A unit can also return an error that prevents its restart
//!   ([`DoNotRestart`]) or ends everything ([`EndAll`]).
//! - **Stopping is bounded**, whatever caused it: a unit is aborted when its grace is over. After its abort grace,
//!   nothing waits for it any more, and the outcome names it.
//! - **Nothing goes unreported**: each step of a unit is an [`Event`], for `tracing` and for all readers. A reader that
//!   is too slow is given the number of events that it has missed. A failure that no restart follows is
//!   [reported](procession::ChildFailure::Report), unless a hook, a reader of the events or a caller takes it, or the
//!   outcome of a manager or set has it.
//!
//! [`Policy`], [`Unit`], [`Builder`] and [`Supervisor`] describe all settings, their defaults and how they interact.
//!
//! # The table
//!
//! A table may be remote, slow and shared. A scan that fails is retried after a pause, and does not affect the units
//! whose rows it did not reach; a row that cannot be loaded is reported and skipped. A unit whose row is gone is
//! stopped after the next complete scan, or at once if the table reports its changes; a unit whose row has a new
//! [version](Unit::version) is restarted in place. A unit that should end for good must delete its row before it ends.
//!
//! # Origins
//!
//! The manager and its table come from Go's pact `process`, and the policies and strategies from Erlang's supervisors.
//! Unlike in Go's suture, a unit that crashes does not delay its siblings, and is never restarted while its last run is
//! still open. The time comes from a [`Clock`](procession::Clock), so tests need not sleep.

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod backoff;
#[cfg(not(loom))]
mod blocking;
mod causes;
mod engine;
mod error;
mod event;
mod lifecycle;
mod manager;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod name;
mod overview;
mod policy;
mod restarts;
#[cfg(not(loom))]
pub mod shared;
mod state;
mod status;
mod stuck_units;
mod supervisor;
mod sync;
mod table;
mod unhandled;
mod unit;

pub use backoff::{Backoff, Rate};
#[cfg(not(loom))]
pub use blocking::{Blocking, BlockingTable, ChangeIterator, RowIterator};
pub use error::{DoNotRestart, EndAll, ManagerError, SharedError};
pub use event::{Event, Events, Happening};
pub use manager::{Builder, GiveUp, Manager};
pub use memory::MemoryTable;
pub use overview::{HasUnits, Overview, Owner};
pub use policy::Policy;
pub use state::State;
pub use status::{Counts, Status};
pub use supervisor::{AutoShutdown, Supervisor};
pub use table::{BoxFuture, BoxStream, Change, Key, Row, Table};
pub use unit::{OnChange, OnFailure, Restart, Unit};
