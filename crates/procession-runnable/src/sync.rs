//! The locks and atomics of this crate: under `--cfg loom`, loom's.

pub(crate) use procession::support::sync::{AtomicBool, Mutex, Ordering};
