//! Calls that are postponed until a spawner has returned, so that jobs do not nest.
//!
//! If a spawner runs a job on the spot, or polls it to its end, the job, or what follows from its end, is postponed
//! until the spawner has returned: it is appended to a queue of the thread, which the outermost interpreter on the
//! stack drains. A job that is run in another way, for example by a user's executor inside another job, runs at once,
//! because the other job may be blocked until it has ended.
//!
//! A thread that is about to block first drains its queues, because it may be about to wait for something in them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::catch::contain;
use super::wakers::call_queued;
use crate::value::sync::thread_local;

/// A call to make on this thread. It catches the panics of foreign code itself.
pub(super) type PostponedCall = Box<dyn FnOnce()>;

thread_local! {
    /// The calls that are postponed until a spawner has returned.
    static POSTPONED: RefCell<VecDeque<PostponedCall>> = RefCell::default();
    /// A frame further down the stack of this thread will drain the queue.
    static IS_DRAINED_BELOW: Cell<bool> = Cell::default();
    /// A spawner is being called on this thread, and no postponed call is running inside it.
    static IN_SPAWNER: Cell<bool> = Cell::default();
}

/// Is a spawner being called on this thread? The consequences must then be [postponed](postpone).
pub(super) fn is_in_spawner() -> bool {
    IN_SPAWNER.try_with(Cell::get).unwrap_or(false)
}

/// Postpones a call until the spawner has returned. At the end of a thread, when there is no queue, it is made at once,
/// and jobs nest.
pub(super) fn postpone(call: PostponedCall) {
    let mut call = Some(call);
    let _ = POSTPONED.try_with(|list| list.borrow_mut().extend(call.take()));
    call.into_iter().for_each(run_one);
}

/// Calls a spawner and, after it has returned, makes the postponed calls. A spawner that panics has dropped
/// its job, and a dropped job is not lost.
pub(super) fn call_spawner(spawn: impl FnOnce()) {
    run_and_drain_if_outermost(|| with_spawner(true, || contain(spawn)));
}

/// Calls `run`, and then drains the queue, unless a frame further down the stack will do that.
pub(super) fn run_and_drain_if_outermost(run: impl FnOnce()) {
    let before = IS_DRAINED_BELOW.try_with(|is_drained| is_drained.replace(true)).unwrap_or(true);
    run();
    if !before {
        drain();
        let _ = IS_DRAINED_BELOW.try_with(|is_drained| is_drained.set(false));
    }
}

/// Calls `run`, and then drains the queue in any case, because a frame further down the stack may be blocked until
/// then.
pub(super) fn run_and_drain_now(run: impl FnOnce()) {
    let before = IS_DRAINED_BELOW.try_with(|is_drained| is_drained.replace(true)).unwrap_or(true);
    run();
    drain();
    let _ = IS_DRAINED_BELOW.try_with(|is_drained| is_drained.set(before));
}

/// Drains the queues of this thread. Call it before the thread blocks, because it may wait for something in them.
pub(crate) fn flush() {
    call_queued();
    run_and_drain_now(|| ());
}

fn drain() {
    let next = || POSTPONED.try_with(|list| list.borrow_mut().pop_front()).ok().flatten();
    while let Some(call) = next() {
        run_one(call);
    }
}

/// Makes a postponed call, which does not count as part of a spawner that may be being called.
fn run_one(call: PostponedCall) {
    with_spawner(false, call);
}

/// Calls `run`, which must not unwind, with `IN_SPAWNER` set to `is_spawner`.
fn with_spawner(is_spawner: bool, run: impl FnOnce()) {
    let before = IN_SPAWNER.try_with(|now| now.replace(is_spawner)).unwrap_or(false);
    run();
    let _ = IN_SPAWNER.try_with(|now| now.set(before));
}
