//! The executors that async bodies and async teardowns share (feature `executor`, on by default).
//!
//! Teardowns have an executor of their own, so bodies that block theirs cannot keep a teardown from running (I15).

use std::future::pending;
use std::io;

use async_executor::Executor;
use once_cell::sync::OnceCell;

use crate::run::catch::contain;
use crate::value::sync::spawn_thread;

/// The executor for bodies.
pub(in crate::run) static BODIES: Shared = Shared::new();

/// The executor for teardowns.
pub(in crate::run) static TEARDOWNS: Shared = Shared::new();

/// An executor, and the threads that it runs on once it is used.
pub(in crate::run) struct Shared {
    executor: Executor<'static>,
    started: OnceCell<()>,
}

impl Shared {
    const fn new() -> Self {
        Self { executor: Executor::new(), started: OnceCell::new() }
    }

    /// The executor. Its threads are started if they are not running yet.
    ///
    /// # Errors
    ///
    /// If the OS could not create even one thread. The next call tries again.
    pub(in crate::run) fn start(&'static self) -> io::Result<&'static Executor<'static>> {
        self.started.get_or_try_init(|| {
            spawn_thread(Some("procession-executor"), || self.work())?;
            let cores = std::thread::available_parallelism().map_or(1, Into::into);
            for _ in 1..cores {
                // One thread is enough.
                let _ = spawn_thread(Some("procession-executor"), || self.work());
            }
            Ok::<(), io::Error>(())
        })?;
        Ok(&self.executor)
    }

    /// Runs tasks for ever. Jobs catch their own panics, but a waker may panic inside the executor, so that is caught
    /// here. No file descriptor is needed (I15).
    fn work(&'static self) {
        loop {
            contain(|| futures_lite::future::block_on(self.executor.run(pending::<()>())));
        }
    }
}
