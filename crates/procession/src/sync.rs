//! Locks, atomics and threads: parking_lot's and the standard library's, or loom's under `--cfg loom` with
//! feature `loom`.
//!
//! `Arc` is the standard library's in both: loom's cannot be a `self` type and tells us nothing that the
//! models look for.

pub(crate) use imp::*;

#[cfg(not(all(loom, feature = "loom")))]
mod imp {
    pub(crate) use futures_lite::future::block_on;
    pub(crate) use parking_lot::{Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, fence};
    pub(crate) use std::thread::{Thread, current as current_thread};
    pub(crate) use std::thread_local;

    use std::io;
    use std::time::Duration;

    /// Blocks until the thread is unparked or the limit is over. May return for nothing.
    pub(crate) fn park_thread(limit: Option<Duration>) {
        match limit {
            Some(limit) => std::thread::park_timeout(limit),
            None => std::thread::park(),
        }
    }

    /// Starts a detached thread.
    pub(crate) fn spawn_thread(
        name: Option<&str>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut builder = std::thread::Builder::new();
        // A thread's name cannot hold a NUL; the process's name may.
        if let Some(name) = name.filter(|name| !name.contains('\0')) {
            builder = builder.name(name.to_owned());
        }
        builder.spawn(run).map(drop)
    }
}

#[cfg(all(loom, feature = "loom"))]
mod imp {
    pub(crate) use loom::future::block_on;
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, fence};
    pub(crate) use loom::thread::{Thread, current as current_thread};
    pub(crate) use loom::thread_local;

    use std::io;
    use std::time::Duration;

    /// Blocks until the thread is unparked. A model has no clock, so that a limit is never over.
    pub(crate) fn park_thread(_limit: Option<Duration>) {
        loom::thread::park();
    }

    /// loom's mutex with parking_lot's face. It is never poisoned: nothing panics under a lock (I10).
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    /// Starts a detached thread of the model.
    pub(crate) fn spawn_thread(
        _name: Option<&str>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        loom::thread::spawn(run);
        Ok(())
    }
}
