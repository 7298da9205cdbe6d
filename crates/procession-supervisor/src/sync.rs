//! The locks and atomics of the inbox. The model checks build it with loom's in their place.

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
