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
//! A job that a spawner runs on the spot, or polls to its end, is not run inside the call of the spawner, nor inside
//! another such job. It is appended to a list of the thread, which the outermost interpreter runs. A job that is run
//! elsewhere, by a user's executor inside another job for example, is run at once, because the other one may be blocked
//! until it has ended.
//!
//! A waker may close another process, or own its last handle. The wakers of that process are called inside the first
//! one, so that they do not have to wait for it if it blocks. But they nest at most [`NESTED`] deep: beyond that, they
//! too are appended to a list, which the innermost call runs.
//!
//! A thread that is about to block first runs everything in its lists, because it may be waiting for something in them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use super::catch::{catch_payload, contain};
use super::foreign::dispose;
use super::job::Job;
use super::pool::{self, Task};
use super::spawn::Threads;
use super::{Effects, Held, Node};
use crate::state::{self, Due, Moment, Place, PutBack};
use crate::value::Phase;
use crate::value::sleeper::Sleeper;
use crate::value::sync::thread_local;

type Wake = state::Wake<Held>;

thread_local! {
    /// What waits until a spawner has returned.
    static LATER: RefCell<VecDeque<Later>> = RefCell::default();
    /// An interpreter further down this thread's stack will do what is in `LATER`.
    static IS_DONE_BELOW: Cell<bool> = Cell::default();
    /// The innermost foreign code on this thread's stack is a call of a spawner.
    static IN_SPAWNER: Cell<bool> = Cell::default();
    /// Wakers to be called or dropped on this thread.
    static CALLS: RefCell<VecDeque<Call>> = RefCell::default();
    /// How many calls of wakers are on this thread's stack.
    static DEPTH: Cell<usize> = Cell::default();
}

/// How deep calls of wakers may nest.
const NESTED: usize = 16;

/// What a spawner does on the spot, and what nothing but a loop may do, so that it does not nest.
enum Later {
    /// It runs a job.
    Run(Job),
    /// It has polled a job to its end, which has these effects.
    Perform(Effects),
}

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
/// there are none left or `target` is Closed. The pool helps if this thread is held up in one, and runs those that are
/// left: they belong to processes that wait for the target, and the caller may hold a lock that they take.
pub(crate) fn perform_here(effects: Effects, target: &Node) {
    if effects.is_empty() {
        return;
    }
    let mut queue = pool::OwnQueue::new();
    perform_with(effects, |tasks, is_back_soon| queue.extend(tasks, is_back_soon));
    while target.phase() != Phase::Closed {
        let Some(task) = queue.next() else { return };
        run_task(task, |tasks, is_back_soon| queue.extend(tasks, is_back_soon));
    }
    queue.give_away();
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
    let (due, strays) = (effects.take_due(), effects.take_strays());
    if due.is_empty() && strays.is_empty() {
        wake(effects);
        return;
    }
    let before = IS_DONE_BELOW.try_with(|is_done| is_done.replace(true)).unwrap_or(true);
    let (pooled, spawned) = split(due);
    let (strays, spawned_strays) = split(strays);
    // A spawner or a waker may hold this thread up, so the pool comes first.
    let is_back_soon = spawned.is_empty() && spawned_strays.is_empty() && !effects.has_wakes();
    if !strays.is_empty() {
        pool::submit(strays);
    }
    if !pooled.is_empty() {
        submit(pooled, is_back_soon);
    }
    spawned.into_iter().chain(spawned_strays).for_each(hand_over);
    wake(effects);
    if !before {
        do_later();
        let _ = IS_DONE_BELOW.try_with(|is_done| is_done.set(false));
    }
}

/// The teardowns that are for the pool, and those that are for their spawners.
fn split(due: Vec<Due<Held>>) -> (Vec<Task>, Vec<Due<Held>>) {
    let is_pooled = |due: &Due<Held>| due.node.spawner().is_none() && due.teardown.is_blocking();
    if due.iter().all(is_pooled) {
        // The vector is reused in place, because a task is as large as a due teardown.
        return (due.into_iter().map(Task::TearDown).collect(), Vec::new());
    }
    let (pooled, spawned): (Vec<_>, Vec<_>) = due.into_iter().partition(is_pooled);
    (pooled.into_iter().map(Task::TearDown).collect(), spawned)
}

/// Gives a teardown to its spawner.
fn hand_over(due: Due<Held>) {
    let spawner = due.node.spawner().cloned();
    let job = Job::teardown(due);
    match spawner {
        None => Threads::spawn_async(job),
        Some(spawner) => spawner.spawn(job),
    }
}

/// Runs a job on this thread: now, or after the spawner that is being called has returned.
pub(super) fn run_on_the_spot(job: Job) {
    let Some(job) = postpone(Later::Run(job)) else { return };
    // An executor of a user's runs it, perhaps inside another job that blocks until this one has ended; so nothing is
    // left to an interpreter below.
    let before = IS_DONE_BELOW.try_with(|is_done| is_done.replace(true)).unwrap_or(true);
    do_now(job);
    do_later();
    let _ = IS_DONE_BELOW.try_with(|is_done| is_done.set(before));
}

/// Carries out the effects of a job that was polled to its end: now, or after the spawner that is being called has
/// returned.
pub(super) fn perform_polled(effects: Effects) {
    if let Some(effects) = postpone(Later::Perform(effects)) {
        do_now(effects);
    }
}

/// Puts it in this thread's list, if a spawner is being called; otherwise, it comes back. At the end of a thread there is
/// no list, and spawners nest.
fn postpone(later: Later) -> Option<Later> {
    let mut later = Some(later);
    if IN_SPAWNER.try_with(Cell::get).unwrap_or(false) {
        let _ = LATER.try_with(|list| list.borrow_mut().extend(later.take()));
    }
    later
}

fn do_now(later: Later) {
    match later {
        Later::Run(job) => perform(with_spawner(false, || job.execute())),
        Later::Perform(effects) => perform(effects),
    }
}

/// Does what is in this thread's list. Call it with `IS_DONE_BELOW` set.
fn do_later() {
    let next = || LATER.try_with(|list| list.borrow_mut().pop_front()).ok().flatten();
    while let Some(later) = next() {
        do_now(later);
    }
}

/// Runs code that does not unwind, with `IN_SPAWNER` set to whether it is a spawner.
fn with_spawner<R>(is_spawner: bool, run: impl FnOnce() -> R) -> R {
    let before = IN_SPAWNER.try_with(|now| now.replace(is_spawner)).unwrap_or(false);
    let result = run();
    let _ = IN_SPAWNER.try_with(|now| now.set(before));
    result
}

/// Calls a spawner. What it does on the spot is done after it has returned. A spawner that panics has dropped its job,
/// and a dropped job is not lost.
pub(super) fn call_spawner(spawn: impl FnOnce()) {
    let before = IS_DONE_BELOW.try_with(|is_done| is_done.replace(true)).unwrap_or(true);
    with_spawner(true, || contain(spawn));
    if !before {
        do_later();
        let _ = IS_DONE_BELOW.try_with(|is_done| is_done.set(false));
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
        Call::Drop(sleeper) => call_waker(|| drop(sleeper)),
    }
}

fn wake_one(Wake { mut sleeper, put_back }: Wake) {
    if let Some(node) = put_back {
        loop {
            call_waker(|| sleeper.wake_by_ref());
            match node.put_back(sleeper) {
                PutBack::Done => return,
                PutBack::Missed(again) => sleeper = again,
                PutBack::Gone(last) => {
                    sleeper = last;
                    break;
                }
            }
        }
    }
    call_waker(|| sleeper.into_waker().wake());
}

/// Calls a user's waker. This may be on the stack of `close()`, so the payload of a panic is dropped elsewhere (I10).
fn call_waker(call: impl FnOnce()) {
    if let Err(payload) = catch_payload(call) {
        dispose(payload);
    }
}

/// Runs everything in this thread's lists. Call it before the thread blocks, because it may wait for something in them.
pub(crate) fn flush() {
    call_listed();
    let before = IS_DONE_BELOW.try_with(|is_done| is_done.replace(true)).unwrap_or(true);
    do_later();
    let _ = IS_DONE_BELOW.try_with(|is_done| is_done.set(before));
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
