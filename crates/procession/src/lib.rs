//! Lifecycles inside one program.
//!
//! See the crate's README.

mod body;
mod builder;
mod deadlock;
mod dispatch;
mod error;
mod name;
mod outcome;
mod park;
mod phase;
mod process;
mod reason;
#[cfg(all(feature = "signal", unix, not(loom)))]
pub mod signal;
mod spawn;
mod state;
mod sync;
mod task;
mod teardown;
mod thread;
mod timer;
mod wait;

pub use builder::Builder;
pub use error::{
    BoxError, Cycle, Deadlock, Error, Failed, LinkError, MultiError, NoThread, Panicked,
};
pub use name::{Label, ProcessId};
pub use outcome::IntoOutcome;
pub use phase::Phase;
pub use process::{CloseOnDrop, Process};
pub use reason::Reason;
#[cfg(all(feature = "smol", not(loom)))]
pub use spawn::Smol;
pub use spawn::{Inline, Job, Spawn, Threads};
pub use wait::{Aborting, Closed, Closing};
