//! Tools for testing the shutdown of programs that are built on [`procession`]. Add this crate to your
//! dev-dependencies.
//!
//! | | |
//! |---|---|
//! | [`TestExecutor`] | a spawner that runs async code only when the test calls it, in an order that can be repeated |
//! | [`TestApp`] | a root process on such an executor, with a [`ManualClock`] and a [`Recorder`] |
//! | [`Recorder`], [`assert_closed_in_order!`] | records the events of a tree; checks the order in which its processes became Closed |
//! | [`sweep()`], [`Sweep`] | runs a graph once for each process and each [`Fault`], and checks the guarantees that must hold whatever fails |
//!
//! # A deterministic test
//!
//! ```
//! use procession::Process;
//! use procession_test::{TestApp, assert_closed_in_order};
//!
//! let app = TestApp::new();
//! let server = Process::builder().name("server").parent(&app);
//! let server = server.spawn(|p| async move { p.closing().await })?;
//! let log = Process::builder().name("log").parent(&app).wait_for(&server);
//! let log = log.teardown(|| println!("flush")).build()?;
//!
//! app.close_and_run()?;
//! assert_closed_in_order!(app.recorder(), [server, log]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features of `procession`
//!
//! This crate enables the feature `test-faults` of `procession`, which lets it inject faults and is not part of the
//! public interface. With the feature, each body and each teardown costs one more atomic load. Cargo enables it only in
//! builds that include this crate: for dev-dependencies, those of tests, examples and benchmarks.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod app;
mod executor;
mod history;
mod recorder;
mod sweep;
mod timeline;

pub use app::TestApp;
pub use async_task::Task;
pub use executor::{LIMIT, TestExecutor};
pub use procession::ManualClock;
pub use recorder::{Recorder, Which};
pub use sweep::{Case, Fault, Report, Sweep, sweep};
