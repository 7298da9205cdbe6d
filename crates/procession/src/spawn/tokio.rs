//! Tokio's runtime as a spawner.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use tokio::runtime::{Handle, Id};

use super::{Job, Spawn, Spawner};

/// Async jobs are spawned on the runtime, blocking ones with `spawn_blocking`.
impl Spawn for Handle {
    fn spawn(&self, job: Job) {
        if job.is_blocking() {
            self.spawn_blocking(move || job.run());
        } else {
            Handle::spawn(self, job);
        }
    }
}

thread_local! {
    /// The runtime last seen on this thread, so that its processes share one spawner.
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

struct Seen {
    runtime: Id,
    spawner: Weak<Box<dyn Spawn>>,
}

/// The spawner of the runtime that this thread is in.
pub(super) fn of_context() -> Option<Spawner> {
    let handle = Handle::try_current().ok()?;
    let id = handle.id();
    LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        let known = last.as_ref().filter(|seen| seen.runtime == id);
        if let Some(spawner) = known.and_then(|seen| seen.spawner.upgrade()) {
            return Spawner(spawner);
        }
        let spawner = Spawner::new(handle.clone());
        *last = Some(Seen { runtime: id, spawner: Arc::downgrade(&spawner.0) });
        spawner
    })
    .ok()
}
