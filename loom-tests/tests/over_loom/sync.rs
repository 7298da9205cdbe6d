//! What the files under check are built with: loom's locks and atomics.

pub(crate) use procession::support::sync::{AtomicBool, Mutex, Ordering};
