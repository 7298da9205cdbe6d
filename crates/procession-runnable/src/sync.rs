//! The locks and atomics of readiness. The model checks build it with loom's in their place.

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
