//! Layer 0: plain values, and the locks and atomics that everything is built with.
//!
//! Nothing here knows a process. Foreign code runs here only on behalf of a caller that has called for it, and with no
//! lock held: formatting users' errors and names, converting their errors, and cloning and waking their wakers (see
//! [`sleeper`]).

mod child_failure;
mod conversions;
mod error;
mod event;
mod failed_calls;
mod forced;
mod label;
mod link_error;
pub(crate) mod model;
mod name;
pub(crate) mod nested;
mod outcome;
mod phase;
mod reason;
#[cfg(all(feature = "signal", unix, not(loom)))]
mod signal_error;
mod site;
pub(crate) mod sleeper;
mod snapshot;
#[cfg(not(loom))]
mod stall;
pub(crate) mod stamp;
pub mod sync;
pub mod text;
pub(crate) mod time;
mod work;

pub use child_failure::ChildFailure;
pub use error::{BoxError, Deadlock, Error, Failed, MultiError, NoThread, Panicked, with_causes};
pub(crate) use event::Above;
#[cfg(not(loom))]
pub(crate) use event::Source;
pub use event::{Event, EventKind};
pub use failed_calls::FailedCalls;
pub use forced::Forced;
pub use label::{Label, ProcessId};
pub(crate) use label::{NEAREST, Segment};
pub use link_error::{Cycle, LinkError};
pub use name::Name;
pub use outcome::{IntoOutcome, ok, ok_with};
pub use phase::Phase;
pub(crate) use reason::BriefReason;
pub use reason::Reason;
#[cfg(all(feature = "signal", unix, not(loom)))]
pub use signal_error::SignalError;
pub use site::Site;
pub use snapshot::fold;
pub(crate) use snapshot::{Age, EdgeList, Facts, Index, ProcessList, Rare};
pub use snapshot::{
    Blocker, BlockerKind, Blockers, ChainLink, Edge, HeldSlot, Link, Marks, ProcessInfo, Snapshot,
};
#[cfg(not(loom))]
pub use stall::Stall;
pub use work::Work;
pub(crate) use work::WorkCell;
