//! Locks, atomics and threads: those of parking_lot and the standard library or, under `--cfg loom`, loom's.
//!
//! `Arc` is always the standard library's: loom's cannot be a `self` type, and the models do not look for the leaks
//! that it would find.

use std::io;
use std::sync::Arc;

pub use imp::*;

/// Starts a detached thread that calls `run` with `value`. If the OS cannot create the thread, the value is returned.
pub(crate) fn spawn_thread_with<T: Send + 'static>(
    name: Option<&str>,
    value: T,
    run: impl FnOnce(T) + Send + 'static,
) -> Result<(), (io::Error, T)> {
    // Shared, because if the thread cannot be created, its closure is dropped.
    let kept = Arc::new(Mutex::new(Some(value)));
    let given = kept.clone();
    let run_it = move || {
        let value = given.lock().take();
        run(value.expect("it is taken back only if no thread was created"));
    };
    match spawn_thread(name, run_it) {
        Ok(()) => Ok(()),
        Err(error) => {
            let value = kept.lock().take();
            Err((error, value.expect("no thread has taken it")))
        }
    }
}

#[cfg(not(loom))]
mod imp {
    pub use parking_lot::{Mutex, MutexGuard};
    pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};
    pub use std::thread_local;

    use std::io;

    use event_listener::Listener;

    /// Starts a detached thread.
    pub fn spawn_thread(name: Option<&str>, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut builder = std::thread::Builder::new();
        // A thread's name cannot contain a NUL; a process's name can.
        if let Some(name) = name.filter(|name| !name.contains('\0')) {
            builder = builder.name(name.to_owned());
        }
        builder.spawn(run).map(drop)
    }

    /// Wakes threads that wait for a condition to hold.
    #[derive(Default)]
    pub struct Event(event_listener::Event);

    impl Event {
        /// An event without a waiter.
        pub fn new() -> Self {
            Self::default()
        }

        /// Makes all waiting threads check their conditions again.
        pub fn notify_all(&self) {
            self.0.notify(usize::MAX);
        }

        /// Blocks until the condition holds.
        pub fn wait_until(&self, condition: impl Fn() -> bool) {
            while !condition() {
                let listener = self.0.listen();
                if !condition() {
                    listener.wait();
                }
            }
        }
    }
}

#[cfg(loom)]
mod imp {
    pub use loom::sync::MutexGuard;
    pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};
    pub use loom::thread_local;

    use std::io;
    use std::sync::PoisonError;

    /// loom's mutex with parking_lot's interface. Nothing panics while it is locked (I10). But all threads of a model
    /// are on one OS thread, so a mutex is also poisoned if it is unlocked while another thread of the model unwinds.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// An unlocked mutex.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Locks it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    /// Starts a detached thread of the model.
    pub fn spawn_thread(
        _name: Option<&str>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        loom::thread::spawn(run);
        Ok(())
    }

    /// Lets threads wait for a condition: they let others run until it holds.
    #[derive(Default)]
    pub struct Event;

    impl Event {
        /// An event without a waiter.
        pub fn new() -> Self {
            Self
        }

        /// Does nothing, because waiting threads check their conditions all the time.
        pub fn notify_all(&self) {}

        /// Blocks until the condition holds.
        pub fn wait_until(&self, condition: impl Fn() -> bool) {
            while !condition() {
                loom::thread::yield_now();
            }
        }
    }
}
