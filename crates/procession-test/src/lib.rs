//! Tests of your own shutdown, for programs that are built on [`procession`]. Add it to your dev-dependencies.
//!
//! | | |
//! |---|---|
//! | [`TestExecutor`] | a spawner that runs async code only when the test says so, in an order that can be repeated |
//! | [`TestApp`] | a root process on such an executor, with a [`ManualClock`] |
//! | [`Recorder`], [`assert_closed_in_order!`] | the events of a tree; checks the order in which its processes became Closed |

#![forbid(unsafe_code)]

mod app;
mod executor;
mod recorder;
mod timeline;

pub use app::TestApp;
pub use async_task::Task;
pub use executor::{LIMIT, TestExecutor};
pub use procession::ManualClock;
pub use recorder::{Recorder, Which};
