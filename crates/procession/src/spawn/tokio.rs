//! Tokio's runtime as a spawner.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use tokio::runtime::{Handle, Id};

use super::{Job, Spawn, Spawner};
use crate::state::Inherited;

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
    /// The runtime last seen on this thread, so that its processes share what they inherit.
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

struct Seen {
    runtime: Id,
    inherited: Weak<Inherited>,
}

/// What a process inherits from the runtime that this thread is in.
pub(super) fn of_context() -> Option<Arc<Inherited>> {
    let handle = Handle::try_current().ok()?;
    let runtime = handle.id();
    LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        let known = last.as_ref().filter(|seen| seen.runtime == runtime);
        if let Some(inherited) = known.and_then(|seen| seen.inherited.upgrade()) {
            return inherited;
        }
        let inherited = Arc::new(Inherited { name: None, spawner: Some(Spawner::Tokio(handle)) });
        *last = Some(Seen { runtime, inherited: Arc::downgrade(&inherited) });
        inherited
    })
    .ok()
}
