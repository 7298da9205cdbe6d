//! Layer 0: plain values, and the locks and atomics that everything is built with.
//!
//! Nothing here knows a process. The only foreign code that runs here is the formatting of errors, when a caller asks
//! for it, and the cloning of wakers, with no lock held (see [`sleeper`]).

mod child_failure;
mod error;
mod label;
mod link_error;
pub(crate) mod model;
mod outcome;
mod phase;
mod reason;
pub(crate) mod sleeper;
pub mod sync;
pub(crate) mod time;
mod work;

pub use child_failure::ChildFailure;
pub use error::{BoxError, Deadlock, Error, Failed, MultiError, NoThread, Panicked, with_causes};
pub use label::{Label, ProcessId};
pub use link_error::{Cycle, LinkError};
pub use outcome::IntoOutcome;
pub use phase::Phase;
pub use reason::Reason;
pub(crate) use work::{Work, WorkCell};
