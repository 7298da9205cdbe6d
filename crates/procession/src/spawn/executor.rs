//! The executor that async bodies and teardowns share, and its timers.

use std::future::pending;
use std::io;
use std::panic::catch_unwind;

use async_executor::Executor;
use once_cell::sync::OnceCell;

use super::threads::cores;
use crate::outcome::discard;
use crate::sync::spawn_thread;

static EXECUTOR: Executor<'static> = Executor::new();

/// The executor, with its threads started.
///
/// # Errors
///
/// If not one thread could be started. The next call tries again.
pub(crate) fn start() -> io::Result<&'static Executor<'static>> {
    static STARTED: OnceCell<()> = OnceCell::new();
    STARTED.get_or_try_init(|| {
        spawn_thread(Some("procession-executor"), work)?;
        for _ in 1..cores() {
            // One is enough to go on with.
            let _ = spawn_thread(Some("procession-executor"), work);
        }
        Ok::<(), io::Error>(())
    })?;
    Ok(&EXECUTOR)
}

/// Runs tasks for ever. Jobs catch their panics, but a waker may panic in the executor itself.
fn work() {
    loop {
        let ended = catch_unwind(|| async_io::block_on(EXECUTOR.run(pending::<()>())));
        ended.unwrap_or_else(discard);
    }
}
