//! The locks and atomics of the inbox. The model checks build it with loom's in their place.

pub(crate) use procession::support::sync::{AtomicBool, Mutex, Ordering};
