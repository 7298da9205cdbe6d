//! What the files under check are built with: loom's locks and atomics.

pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};

/// loom's mutex with parking_lot's face.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}
