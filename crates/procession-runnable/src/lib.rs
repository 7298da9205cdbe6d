//! Units of work: described once, run any number of times, combined, and started and stopped in order.

#![forbid(unsafe_code)]

mod concurrent;
mod group;
mod leaf;
mod ready;
mod run;
mod runnable;
mod service;
#[cfg(feature = "tracing")]
mod task;

pub use concurrent::{concurrent, concurrent_group, sequence};
pub use group::{NotReady, chain, parallel, sequential};
pub use leaf::{
    body, body_thread, leaf, leaf_thread, leaf_thread_without_stop, leaf_without_stop, named, nop,
    start_stop, start_stop_thread,
};
pub use run::{run, run_async, run_in, run_to_end};
pub use runnable::{Run, Runnable, Start};
pub use service::{Service, ServiceError, State};
#[cfg(feature = "tracing")]
pub use task::{TaskError, task, trace_region};
