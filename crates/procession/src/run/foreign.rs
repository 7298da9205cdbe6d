//! [`Foreign`]: a user's value that the library holds.
//!
//! Its drop is foreign code: it may panic, block, take a lock, join a thread, or drop the last handle of another
//! process. So the value is never dropped where the library no longer needs it, which may be inside `close()`, under a
//! lock, on the signal thread, or on a thread that the value itself owns. Instead, it is handed to the pool, whose
//! threads drop one value after another, each in a catch. Therefore a chain of values that own each other is dropped in
//! a loop (I11).
//!
//! A body or a teardown that runs drops its captures as part of the run, in the same catch.

use super::pool;

/// A user's value, which is dropped by a thread of the library.
pub(crate) struct Foreign<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Foreign<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) fn get(&self) -> &T {
        self.0.as_ref().expect("it is taken by value")
    }

    /// The value, for a caller that runs it in a catch.
    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect("it is taken by value")
    }
}

impl<T: Send + 'static> Drop for Foreign<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            dispose(value);
        }
    }
}

/// Has a thread of the library drop the value.
pub(crate) fn dispose<T: Send + 'static>(value: T) {
    if std::mem::needs_drop::<T>() {
        pool::drop_there(Box::new(value));
    }
}
