//! The lock and the atomics of this crate. Under `--cfg loom`, they are loom's.

pub(crate) use procession::support::sync::{AtomicBool, Mutex, Ordering};
