//! Spawners: where bodies and teardowns run.
//!
//! A process is given a spawner when it is built, or inherits that of its first parent. The default is [`Threads`].
//!
//! | spawner | async bodies and teardowns | blocking teardowns |
//! |---|---|---|
//! | [`Threads`] | one small executor, shared by the program | pooled threads, up to 512 at once |
//! | [`Inline`] | the same executor | on the thread that spawns them |
//! | `tokio::runtime::Handle` (feature `tokio`) | `Handle::spawn` | `Handle::spawn_blocking` |
//! | `Smol` (feature `smol`) | smol's global executor | smol's thread pool |
//! | any `Fn(Job)` | as the closure decides | as the closure decides |
//!
//! A blocking body, spawned with [`Process::spawn_thread`](crate::Process::spawn_thread), has a thread of its own with
//! every spawner.
//!
//! With the feature `tokio`, a process that is made in a tokio context, and that neither is given nor inherits a
//! spawner, uses the handle of that context.

#[cfg(all(feature = "executor", not(loom)))]
mod executor;
mod inline;
#[cfg(all(feature = "smol", not(loom)))]
mod smol;
mod threads;
#[cfg(all(feature = "tokio", not(loom)))]
mod tokio;

use std::sync::Arc;

use super::foreign::Foreign;
use super::later::call_spawner;
use super::{Inherited, Job};

#[cfg(all(feature = "executor", not(loom)))]
pub(super) use executor::BODIES;
pub use inline::Inline;
#[cfg(all(feature = "smol", not(loom)))]
pub use smol::Smol;
pub use threads::Threads;
#[cfg(all(feature = "tokio", not(loom)))]
pub(super) use tokio::{
    refuse_leave_to_body_on_runtime, refuse_slot_wait_on_runtime,
    refuse_wait_for_children_on_runtime, refuse_wait_on_runtime,
};

/// Runs the jobs of processes.
///
/// Implemented by closures:
///
/// ```
/// use procession::{Job, Process};
///
/// let process = Process::builder()
///     .spawner(|job: Job| {
///         std::thread::spawn(move || job.run());
///     })
///     .teardown(|| println!("on a thread of its own"))
///     .build()?;
/// process.close().wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a spawner",
    label = "this cannot run the jobs of a process",
    note = "spawners are `Threads`, `Inline`, closures that are `Fn(Job) + Send + Sync + 'static`, and types that \
            implement `Spawn`",
    note = "`tokio::runtime::Handle` is one with the feature `tokio` of procession, and `Smol` with the feature `smol`"
)]
pub trait Spawn: Send + Sync + 'static {
    /// Starts the job, and returns without waiting for it.
    ///
    /// It is called with no lock held, on the thread on which the job became due, which may be the one that called
    /// [`close`](crate::Process::close). A spawner that runs the job on the spot gives up the guarantee that `close`
    /// never runs a teardown on the stack of its caller.
    ///
    /// A job that is dropped instead of being run is not lost: see [`Job`]. If this function panics, the panic is
    /// caught. A spawner that is no longer needed is dropped by a thread of the library, never by one of its own
    /// threads.
    fn spawn(&self, job: Job);
}

#[diagnostic::do_not_recommend]
impl<F: Fn(Job) + Send + Sync + 'static> Spawn for F {
    fn spawn(&self, job: Job) {
        self(job);
    }
}

/// A shared spawner, as nodes hold it.
#[derive(Clone)]
pub(crate) enum Spawner {
    /// A tokio runtime, which takes a body without a box.
    #[cfg(all(feature = "tokio", not(loom)))]
    Tokio(::tokio::runtime::Handle),
    Any(Arc<Foreign<Box<dyn Spawn>>>),
}

impl Spawner {
    pub(crate) fn new(spawner: impl Spawn) -> Self {
        #[cfg(all(feature = "tokio", not(loom)))]
        if let Some(handle) = (&spawner as &dyn std::any::Any).downcast_ref() {
            return Self::Tokio(::tokio::runtime::Handle::clone(handle));
        }
        Self::Any(Arc::new(Foreign::new(Box::new(spawner))))
    }

    /// Starts a job.
    pub(super) fn spawn(&self, job: Job) {
        call_spawner(|| match self {
            #[cfg(all(feature = "tokio", not(loom)))]
            Self::Tokio(handle) => Spawn::spawn(handle, job),
            Self::Any(spawner) => spawner.get().spawn(job),
        });
    }
}

/// The values that a process inherits if neither it nor its parent was given a spawner.
#[cfg(all(feature = "tokio", not(loom)))]
pub(crate) fn inherited_from_context() -> Option<Arc<Inherited>> {
    tokio::inherited_from_context()
}

/// The values that a process inherits if neither it nor its parent was given a spawner.
#[cfg(not(all(feature = "tokio", not(loom))))]
pub(crate) fn inherited_from_context() -> Option<Arc<Inherited>> {
    None
}
