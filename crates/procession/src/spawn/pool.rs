//! The thread pool for blocking teardowns of the default spawner.
//!
//! Siblings' teardowns run side by side, up to 512 at once, and yet 100,000 that do next to nothing do not
//! start 512 threads: the pool grows when it is stuck. While jobs wait, one of its threads, the watcher,
//! looks at every [`PATIENCE`] whether any job was started since; if none was, those that run are blocked,
//! and it doubles the number of threads.
//!
//! A thread in `close_blocking` has a queue of its own, and the pool helps with that in the same way: when it
//! is stuck.
//!
//! Written here, not taken from `blocking`: that pool runs 500 at once, and keeps a job for which no thread
//! can be had, while a teardown must run all the same (I2).
//!
//! Lock order: the pool's state, then a queue. No job is run or dropped under either.

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::Lazy;
use parking_lot::Condvar;

use super::job::tear_down;
use super::queue::Queue;
use super::threads::cores;
use crate::dispatch::{hand_over, run_deferred, wake};
use crate::state::{Effects, Ready, Siblings};
use crate::sync::{Mutex, MutexGuard, spawn_thread};

/// How many jobs run at once.
const LIMIT: usize = 512;

/// How long a queue waits for a job of its to be started before the pool grows.
const PATIENCE: Duration = Duration::from_micros(200);

/// How long a thread without work stays.
const LINGER: Duration = Duration::from_secs(5);

struct Pool {
    state: Mutex<State>,
    /// Tells idle threads of a call.
    called: Condvar,
    /// Never told: the watcher waits on it for its patience to end.
    patience: Condvar,
}

struct State {
    /// The pool's own queue, then those of threads in `close_blocking` that share theirs.
    queues: Vec<Arc<Queue>>,
    threads: usize,
    /// Threads that wait for a call and were not called.
    idle: usize,
    /// Calls that no idle thread has answered yet.
    runners_called: usize,
    watcher_called: bool,
    /// There is a watcher, or one is called.
    watched: bool,
}

/// What a thread of the pool is called for.
enum Role {
    Runner,
    Watcher,
}

static POOL: Lazy<Pool> = Lazy::new(|| Pool {
    state: Mutex::new(State {
        queues: vec![Arc::default()],
        threads: 0,
        idle: 0,
        runners_called: 0,
        watcher_called: false,
        watched: false,
    }),
    called: Condvar::new(),
    patience: Condvar::new(),
});

/// Runs the jobs on pooled threads; on this one if no thread can be had.
pub(super) fn submit(ready: Vec<Ready>) {
    if ready.is_empty() {
        return;
    }
    let mut state = POOL.state.lock();
    let queue = state.queues[0].clone();
    queue.extend(ready);
    // A thread for each core is called at once, the others when these are stuck.
    let called = if state.running() < cores() {
        POOL.call(&mut state, Role::Runner)
    } else {
        POOL.watch(&mut state)
    };
    drop(state);
    if !called {
        while let Some(ready) = queue.pop() {
            run(ready);
        }
    }
}

/// Runs the teardown and what follows from it, as long as that is one at a time.
fn run(ready: Ready) {
    let mut next = Some(ready);
    while let Some(ready) = next.take() {
        let mut siblings = Siblings::default();
        let effects = tear_down(ready, &mut siblings).unwrap_or_else(|| siblings.report());
        let Effects { mut pooled, spawned, wakers } = effects;
        hand_over(spawned);
        // A waker may block until the teardown has run, so then it is not left to this thread.
        if wakers.is_empty() {
            next = pooled.pop();
        }
        submit(pooled);
        wake(wakers);
        run_deferred();
    }
}

/// Lets the pool help with the queue of a thread in `close_blocking`.
pub(super) fn share(queue: &Arc<Queue>) {
    let mut state = POOL.state.lock();
    state.queues.push(queue.clone());
    // Without a watcher that thread runs them all itself.
    POOL.watch(&mut state);
}

/// Ends what [`share`] began.
pub(super) fn unshare(queue: &Arc<Queue>) {
    POOL.state.lock().queues.retain(|other| !Arc::ptr_eq(other, queue));
}

impl State {
    /// How many threads run jobs.
    fn running(&self) -> usize {
        self.threads - self.idle - usize::from(self.watched) + self.queues.len() - 1
    }

    fn pop(&self) -> Option<Ready> {
        self.queues.iter().find_map(|queue| queue.pop())
    }

    fn has_jobs(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    /// Is there a queue that is stuck?
    fn is_stuck(&self) -> bool {
        let mut stuck = false;
        for queue in &self.queues {
            stuck |= queue.is_stuck();
        }
        stuck
    }
}

impl Pool {
    /// Calls a watcher if there is none; `false` if no thread could be had.
    fn watch(&'static self, state: &mut State) -> bool {
        state.watched || {
            state.watched = true;
            state.watched = self.call(state, Role::Watcher);
            state.watched
        }
    }

    /// Calls an idle thread or starts one; `false` if no thread could be had.
    fn call(&'static self, state: &mut State, role: Role) -> bool {
        if state.idle > 0 {
            state.idle -= 1;
            match role {
                Role::Runner => state.runners_called += 1,
                Role::Watcher => state.watcher_called = true,
            }
            self.called.notify_one();
            return true;
        }
        state.threads += 1;
        let started = spawn_thread(Some("procession-teardown"), move || self.work(role)).is_ok();
        if !started {
            state.threads -= 1;
        }
        started
    }

    /// The life of a thread.
    fn work(&'static self, mut role: Role) {
        loop {
            let mut state = match role {
                Role::Runner => self.run(),
                Role::Watcher => self.keep_watch(),
            };
            state.idle += 1;
            role = loop {
                if state.runners_called > 0 {
                    state.runners_called -= 1;
                    break Role::Runner;
                }
                if state.watcher_called {
                    state.watcher_called = false;
                    break Role::Watcher;
                }
                let timed_out = self.called.wait_for(&mut state, LINGER).timed_out();
                if timed_out && state.runners_called == 0 && !state.watcher_called {
                    state.idle -= 1;
                    state.threads -= 1;
                    return;
                }
            };
        }
    }

    /// Runs jobs until there are none.
    fn run(&'static self) -> MutexGuard<'static, State> {
        loop {
            let mut state = self.state.lock();
            let Some(ready) = state.pop() else { return state };
            if state.has_jobs() {
                self.watch(&mut state);
            }
            drop(state);
            run(ready);
        }
    }

    /// Makes the pool grow while it is stuck, until there are no jobs.
    fn keep_watch(&'static self) -> MutexGuard<'static, State> {
        let mut state = self.state.lock();
        state.is_stuck();
        while state.has_jobs() {
            self.patience.wait_for(&mut state, PATIENCE);
            if state.is_stuck() {
                let running = state.running();
                for _ in 0..running.max(1).min(LIMIT.saturating_sub(running)) {
                    self.call(&mut state, Role::Runner);
                }
            }
        }
        state.watched = false;
        state
    }
}
