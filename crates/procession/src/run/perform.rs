//! The interpreter: carries out the [`Effects`] of the state machine, with no lock held (I10).
//!
//! This is a call of `close()` on a process with a blocking teardown and the default spawner, while a thread and a task
//! wait for it:
//!
//! ```mermaid
//! sequenceDiagram
//!     participant caller
//!     participant state as state machine
//!     participant perform as interpreter
//!     participant pool as pool thread
//!     participant waiting as waiting thread and task
//!     caller->>state: close(reason)
//!     Note over state: Running → Closing, under the node's lock
//!     state-->>caller: effects: the teardown, the sleepers for Closing
//!     caller->>perform: perform(effects)
//!     perform->>waiting: 1. own sleepers are woken
//!     perform->>pool: 2. the teardown is handed over
//!     perform->>waiting: 3. wakers of users are called
//!     perform-->>caller: close() returns
//!     pool->>pool: the teardown runs, in a catch
//!     pool->>state: torn_down(result)
//!     Note over state: Closing → Closed; the parents are told
//!     state-->>pool: effects: the sleepers for Closed, the parents' teardowns
//!     pool->>perform: perform(effects)
//!     perform->>waiting: they are woken, and see the outcome
//! ```
//!
//! # The order of the three steps
//!
//! 1. Threads that sleep in the library are woken first, because a user's waker may block (I9).
//! 2. Teardowns are handed to their spawners next, so that a waker that waits for a teardown does not wait for its own
//!    stack.
//! 3. Users' wakers are called last. While the first one runs, the others are in a list of the thread. If the first one
//!    blocks in a wait of the library, that wait calls them ([`flush`]).
//!
//! # Nothing nests
//!
//! A job that a spawner runs on the spot is not run inside the call of the spawner, nor inside another such job. It is
//! appended to a list of the thread, which the outermost interpreter runs.
//!
//! A waker may close another process, or own its last handle. The wakers of that process are called inside the first
//! one, so that they do not have to wait for it if it blocks. But they nest at most [`NESTED`] deep: beyond that, they
//! too are appended to a list, which the innermost call runs.
//!
//! A thread that is about to block first runs everything in its lists, because it may be waiting for something in them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use super::catch::contain;
use super::job::Job;
use super::pool::{self, Task};
use super::spawn::Threads;
use super::{Effects, Held, Node};
use crate::state::{self, Due, Moment, Place};
use crate::value::sleeper::Sleeper;
use crate::value::sync::thread_local;

type Wake = state::Wake<Held>;

thread_local! {
    /// Jobs to be run on this thread, on the spot.
    static JOBS: RefCell<VecDeque<Job>> = RefCell::default();
    /// An interpreter further down this thread's stack will run the jobs.
    static JOBS_ARE_RUN: Cell<bool> = Cell::default();
    /// Wakers to be called or dropped on this thread.
    static CALLS: RefCell<VecDeque<Call>> = RefCell::default();
    /// How many calls of wakers are on this thread's stack.
    static DEPTH: Cell<usize> = Cell::default();
}

/// How deep calls of wakers may nest.
const NESTED: usize = 16;

/// A call of a waker.
enum Call {
    Wake(Wake),
    Drop(Sleeper),
}

/// Carries out the effects; the pool runs blocking teardowns of the default spawner.
#[inline]
pub(crate) fn perform(effects: Effects) {
    if !effects.is_empty() {
        // This may run inside a teardown that waits for the tasks, so the pool is not told that the thread is back
        // soon.
        perform_with(effects, |tasks, _| pool::submit(tasks));
    }
}

/// Carries out the effects on a thread of the pool, except that the library's own sleepers are woken here. So neither a
/// full pool nor a waker that blocks can hold up the calling thread.
#[cfg(not(loom))]
pub(crate) fn perform_elsewhere(mut effects: Effects) {
    effects.take_own().into_iter().for_each(wake_one);
    if !effects.is_empty() {
        pool::run_now(Box::new(move || perform(effects)));
    }
}

/// Carries out the effects. The blocking teardowns of the default spawner that become due run on this thread, until
/// there are none left. The pool helps if this thread is held up in one.
pub(crate) fn perform_here(effects: Effects) {
    if effects.is_empty() {
        return;
    }
    let mut queue = pool::OwnQueue::new();
    perform_with(effects, |tasks, is_back_soon| queue.extend(tasks, is_back_soon));
    while let Some(task) = queue.next() {
        run_task(task, |tasks, is_back_soon| queue.extend(tasks, is_back_soon));
    }
}

/// Runs a task of the pool, and carries out its effects.
pub(super) fn run_task(task: Task, submit: impl FnOnce(Vec<Task>, bool)) {
    match task {
        Task::TearDown(due) => {
            let effects = Job::tear_down(due);
            if !effects.is_empty() {
                perform_with(effects, submit);
            }
        }
        Task::Call(call) => contain(call),
    }
}

/// Carries out the effects. `submit` is given the tasks for the pool, and whether this function will return soon,
/// because it runs no foreign code before that.
fn perform_with(mut effects: Effects, submit: impl FnOnce(Vec<Task>, bool)) {
    effects.take_own().into_iter().for_each(wake_one);
    let due = effects.take_due();
    if due.is_empty() {
        wake(effects);
        return;
    }
    let before = JOBS_ARE_RUN.try_with(|is_run| is_run.replace(true)).unwrap_or(true);
    let count = due.len();
    let pooled = hand_over(due);
    if !pooled.is_empty() {
        // A waker, or a job that runs on the spot, may hold this thread up.
        let is_back_soon = pooled.len() == count && !effects.has_wakes();
        submit(pooled, is_back_soon);
    }
    wake(effects);
    if !before {
        run_jobs();
        let _ = JOBS_ARE_RUN.try_with(|is_run| is_run.set(false));
    }
}

/// Gives each teardown to its spawner, and returns those that are for the pool.
fn hand_over(due: Vec<Due<Held>>) -> Vec<Task> {
    let is_pooled = |due: &Due<Held>| due.node.spawner().is_none() && due.teardown.is_blocking();
    if due.iter().all(is_pooled) {
        // The vector is reused in place, because a task is as large as a due teardown.
        return due.into_iter().map(Task::TearDown).collect();
    }
    let mut pooled = Vec::new();
    for due in due {
        if is_pooled(&due) {
            pooled.push(Task::TearDown(due));
            continue;
        }
        let spawner = due.node.spawner().cloned();
        let job = Job::teardown(due);
        match spawner {
            None => Threads::spawn_async(job),
            Some(spawner) => spawner.spawn(job),
        }
    }
    pooled
}

/// Runs a job on this thread: now, or after the jobs and calls that are on its stack.
pub(super) fn run_on_the_spot(job: Job) {
    let mut job = Some(job);
    let is_nested = JOBS_ARE_RUN.try_with(Cell::get).unwrap_or(false);
    if is_nested {
        let _ = JOBS.try_with(|jobs| jobs.borrow_mut().extend(job.take()));
    }
    // At the end of a thread, there are no lists, and jobs nest.
    let Some(job) = job else { return };
    let _ = JOBS_ARE_RUN.try_with(|is_run| is_run.set(true));
    perform(job.execute());
    run_jobs();
    let _ = JOBS_ARE_RUN.try_with(|is_run| is_run.set(false));
}

/// Runs the jobs in this thread's list. Call it with `JOBS_ARE_RUN` set.
fn run_jobs() {
    let next = || JOBS.try_with(|jobs| jobs.borrow_mut().pop_front()).ok().flatten();
    while let Some(job) = next() {
        perform(job.execute());
    }
}

/// Calls a spawner. A job that it runs on the spot runs after it has returned. A spawner that panics has dropped its
/// job, and a dropped job is not lost.
pub(super) fn call_spawner(spawn: impl FnOnce()) {
    let before = JOBS_ARE_RUN.try_with(|is_run| is_run.replace(true)).unwrap_or(true);
    contain(spawn);
    if !before {
        run_jobs();
        let _ = JOBS_ARE_RUN.try_with(|is_run| is_run.set(false));
    }
}

/// Wakes the sleepers of users. A waker that panics does not keep the others asleep (I9).
#[inline]
fn wake(effects: Effects) {
    let (first, others) = effects.into_wakes();
    if let Some(first) = first {
        call(Call::Wake(first), others);
    }
}

/// Drops a sleeper that is no longer needed.
#[inline]
pub(crate) fn drop_sleeper(sleeper: Option<Sleeper>) {
    if let Some(sleeper) = sleeper {
        call(Call::Drop(sleeper), Vec::new());
    }
}

/// Calls a waker. Meanwhile, the others are in this thread's list, which is called afterwards.
fn call(first: Call, mut others: Vec<Wake>) {
    let mut first = Some(first);
    let depth = DEPTH.try_with(|depth| depth.replace(depth.get() + 1)).unwrap_or(0);
    let listed = CALLS.try_with(|calls| {
        let mut calls = calls.borrow_mut();
        if depth >= NESTED {
            calls.extend(first.take());
        }
        calls.extend(others.drain(..).map(Call::Wake));
    });
    if let Some(first) = first {
        call_one(first);
        call_listed();
    }
    if listed.is_err() {
        // At the end of a thread there is no list.
        others.into_iter().for_each(wake_one);
    }
    let _ = DEPTH.try_with(|now| now.set(depth));
}

fn call_listed() {
    let next = || CALLS.try_with(|calls| calls.borrow_mut().pop_front()).ok().flatten();
    while let Some(next) = next() {
        call_one(next);
    }
}

fn call_one(call: Call) {
    match call {
        Call::Wake(wake) => wake_one(wake),
        Call::Drop(sleeper) => contain(|| drop(sleeper)),
    }
}

fn wake_one(Wake { sleeper, put_back }: Wake) {
    contain(|| {
        if let Some(node) = put_back {
            drop_sleeper(node.put_back(sleeper.clone()));
        }
        sleeper.into_waker().wake();
    });
}

/// Runs everything in this thread's lists. Call it before the thread blocks, because it may wait for something in them.
pub(crate) fn flush() {
    call_listed();
    let before = JOBS_ARE_RUN.try_with(|is_run| is_run.replace(true)).unwrap_or(true);
    run_jobs();
    let _ = JOBS_ARE_RUN.try_with(|is_run| is_run.set(before));
}

/// Registers `waker` for a moment of the node; `false` if it has come.
pub(crate) fn register(
    node: &Node,
    moment: Moment,
    place: &mut Option<Place>,
    waker: &Waker,
) -> bool {
    let (is_registered, replaced) = node.register(moment, place, waker);
    drop_sleeper(replaced);
    is_registered
}
