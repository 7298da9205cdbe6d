//! The executor that async bodies and teardowns share (feature `executor`, on by default).

use std::future::pending;
use std::io;

use async_executor::Executor;
use once_cell::sync::OnceCell;

use crate::run::catch::contain;
use crate::value::sync::spawn_thread;

static EXECUTOR: Executor<'static> = Executor::new();

/// The executor, with its threads started.
///
/// # Errors
///
/// If the OS could not create a single thread. The next call tries again.
pub(super) fn start() -> io::Result<&'static Executor<'static>> {
    static STARTED: OnceCell<()> = OnceCell::new();
    STARTED.get_or_try_init(|| {
        spawn_thread(Some("procession-executor"), work)?;
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        for _ in 1..cores {
            // One thread is enough to go on.
            let _ = spawn_thread(Some("procession-executor"), work);
        }
        Ok::<(), io::Error>(())
    })?;
    Ok(&EXECUTOR)
}

/// Runs tasks for ever. Jobs catch their own panics, but a waker may panic in the executor itself. This needs no file
/// descriptor (I15).
fn work() {
    loop {
        contain(|| futures_lite::future::block_on(EXECUTOR.run(pending::<()>())));
    }
}
