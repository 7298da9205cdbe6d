//! Blocking teardowns that wait for a thread, and how a thread in `close_blocking` runs those that it made
//! due.

use std::collections::VecDeque;
use std::sync::Arc;

use super::job::tear_down;
#[cfg(not(loom))]
use super::pool::{share, unshare};
use crate::dispatch::{hand_over, run_deferred, wake};
use crate::state::{Effects, Ready, Siblings};
use crate::sync::Mutex;

/// Jobs that wait for a thread.
pub(crate) struct Queue(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Ready>,
    /// How many were ever started.
    started: u64,
    /// `started`, when the watcher last looked.
    #[cfg(not(loom))]
    seen: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self(Mutex::new(Jobs::default()))
    }
}

impl Queue {
    pub(super) fn pop(&self) -> Option<Ready> {
        let mut jobs = self.0.lock();
        let ready = jobs.waiting.pop_front()?;
        jobs.started += 1;
        Some(ready)
    }

    fn put_back(&self, ready: Ready) {
        self.0.lock().waiting.push_front(ready);
    }

    /// Runs what follows from `effects` on this thread, as far as it is for the default spawner. The pool
    /// helps when this thread is stuck in a teardown.
    pub(crate) fn run_here(effects: Effects) {
        let queue = Arc::new(Self::default());
        let mut shared = false;
        let mut follow = |effects: Effects| {
            if effects.is_empty() {
                return;
            }
            let Effects { pooled, spawned, wakers } = effects;
            hand_over(spawned);
            let waiting = queue.extend(pooled);
            // A waker may block until a teardown of ours has run.
            if waiting > usize::from(wakers.is_empty()) && !shared {
                shared = true;
                share(&queue);
            }
            wake(wakers);
            run_deferred();
        };
        follow(effects);
        let mut siblings = Siblings::default();
        loop {
            let next = queue.pop();
            if siblings.must_report(next.as_ref().and_then(|ready| ready.under)) {
                let effects = siblings.report();
                if !effects.is_empty() {
                    // A waker may wait for what was taken from the queue just now.
                    next.into_iter().for_each(|ready| queue.put_back(ready));
                    follow(effects);
                    continue;
                }
            }
            let Some(ready) = next else { break };
            if let Some(effects) = tear_down(ready, &mut siblings) {
                // A waker may wait for the parent.
                follow(siblings.report());
                follow(effects);
            }
        }
        if shared {
            unshare(&queue);
        }
    }

    #[cfg(not(loom))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }

    /// Adds to the queue, and says how many are in it.
    pub(super) fn extend(&self, due: Vec<Ready>) -> usize {
        let waiting = &mut self.0.lock().waiting;
        if waiting.is_empty() {
            *waiting = due.into();
        } else {
            waiting.extend(due);
        }
        waiting.len()
    }

    /// Do jobs wait of which none was started since the last look?
    #[cfg(not(loom))]
    pub(super) fn is_stuck(&self) -> bool {
        let mut jobs = self.0.lock();
        let stuck = !jobs.waiting.is_empty() && jobs.seen == jobs.started;
        jobs.seen = jobs.started;
        stuck
    }
}

/// A model has no pool.
#[cfg(loom)]
fn share(_queue: &Arc<Queue>) {}

#[cfg(loom)]
fn unshare(_queue: &Arc<Queue>) {}
