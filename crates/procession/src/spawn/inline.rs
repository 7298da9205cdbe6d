//! [`Inline`]: runs jobs on the spot.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use super::{Job, Spawn};
use crate::dispatch::{Deferred, defer, dispatch};
use crate::state::Effects;
use crate::sync::{AtomicU8, Mutex};

/// Runs each job on the thread that spawns it, before `spawn` returns: for tests, and for programs that have
/// one thread.
///
/// An async job is polled on the spot, and later by whoever wakes it, on that thread.
///
/// With it, and only with it, [`close`](crate::Process::close) runs teardowns on its caller's stack, so do
/// not call it with a lock held that a teardown takes.
///
/// ```
/// use procession::{Inline, Process};
///
/// let process = Process::builder().spawner(Inline).teardown(|| println!("torn down")).build()?;
/// process.close();
/// assert!(process.is_closed());
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inline;

impl Spawn for Inline {
    fn spawn(&self, job: Job) {
        if job.is_blocking() {
            return job.run();
        }
        Arc::new(Task { state: AtomicU8::new(WOKEN), job: Mutex::new(Some(job)) }).run();
    }
}

/// An async job that runs where it is woken.
struct Task {
    state: AtomicU8,
    /// Taken by who polls it.
    job: Mutex<Option<Job>>,
}

/// Nobody polls, and nobody has to.
const IDLE: u8 = 0;
/// Somebody polls.
const POLLING: u8 = 1;
/// Woken: to be polled, or, while somebody polls, to be polled again.
const WOKEN: u8 = 2;

impl Task {
    /// Polls a task that is woken, here or after what the thread is doing.
    fn run(self: Arc<Self>) {
        if let Some(task) = defer(self) {
            dispatch(task.poll());
        }
    }

    fn poll(self: &Arc<Self>) -> Effects {
        let Some(mut job) = self.job.lock().take() else { return Effects::default() };
        let waker = Waker::from(self.clone());
        loop {
            self.state.store(POLLING, Ordering::SeqCst);
            if let Poll::Ready(effects) = job.poll_effects(&mut Context::from_waker(&waker)) {
                return effects;
            }
            let mut place = self.job.lock();
            let idle =
                self.state.compare_exchange(POLLING, IDLE, Ordering::SeqCst, Ordering::SeqCst);
            if idle.is_ok() {
                *place = Some(job);
                return Effects::default();
            }
        }
    }
}

impl Deferred for Arc<Task> {
    fn execute(self: Box<Self>) -> Effects {
        self.poll()
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::SeqCst) == IDLE {
            self.run();
        }
    }
}
