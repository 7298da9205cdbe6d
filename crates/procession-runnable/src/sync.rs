//! The locks and atomics of readiness. The model checks build it with loom's in their place.

pub(crate) use procession::support::sync::{AtomicBool, Mutex, Ordering};
