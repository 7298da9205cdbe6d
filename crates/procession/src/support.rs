//! What `procession-runnable` and `procession-supervisor` share with this crate. It is not part of the public interface,
//! and may change in any release.

pub use crate::run::catch::catch;
pub use crate::run::deadlines::deadline_after;
pub use crate::run::park::block_on;
pub use crate::value::model::model_has_failed;
pub use crate::value::sleeper::{Sleeper, register};
pub use crate::value::{sync, with_causes};
