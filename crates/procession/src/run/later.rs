//! What has to wait until a spawner has returned, so that nothing nests.
//!
//! A job that a spawner runs on the spot, or polls to its end, is not run inside the call of the spawner, nor inside
//! another such job. It is appended to a list of the thread, which the outermost interpreter runs. A job that is run
//! elsewhere, by a user's executor inside another job for example, is run at once, because the other one may be blocked
//! until it has ended.
//!
//! A thread that is about to block first runs everything in its lists, because it may be waiting for something in them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::catch::contain;
use super::wakers::call_listed;
use crate::value::sync::thread_local;

/// Something to be done on this thread. It catches the panics of foreign code.
pub(super) type Later = Box<dyn FnOnce()>;

thread_local! {
    /// What waits until a spawner has returned.
    static LIST: RefCell<VecDeque<Later>> = RefCell::default();
    /// A frame further down this thread's stack will do what is in the list.
    static IS_DONE_BELOW: Cell<bool> = Cell::default();
    /// A spawner is being called on this thread, and nothing that was postponed runs inside that call.
    static IN_SPAWNER: Cell<bool> = Cell::default();
}

/// Is a spawner being called on this thread? What it leads to must then be [postponed](postpone).
pub(super) fn is_in_spawner() -> bool {
    IN_SPAWNER.try_with(Cell::get).unwrap_or(false)
}

/// Does it after the spawner has returned. At the end of a thread there is no list; then it is done now, and spawners
/// nest.
pub(super) fn postpone(later: Later) {
    let mut later = Some(later);
    let _ = LIST.try_with(|list| list.borrow_mut().extend(later.take()));
    later.into_iter().for_each(do_now);
}

/// Calls a spawner. What it does on the spot is done after it has returned. A spawner that panics has dropped its job,
/// and a dropped job is not lost.
pub(super) fn call_spawner(spawn: impl FnOnce()) {
    then_do_later(|| with_spawner(true, || contain(spawn)));
}

/// Runs something, and then what is in the list, unless a frame further down the stack does that.
pub(super) fn then_do_later(run: impl FnOnce()) {
    let before = IS_DONE_BELOW.try_with(|is_done| is_done.replace(true)).unwrap_or(true);
    run();
    if !before {
        do_later();
        let _ = IS_DONE_BELOW.try_with(|is_done| is_done.set(false));
    }
}

/// Runs something, and then what is in the list in any case: a frame further down the stack may be blocked until then.
pub(super) fn do_all(run: impl FnOnce()) {
    let before = IS_DONE_BELOW.try_with(|is_done| is_done.replace(true)).unwrap_or(true);
    run();
    do_later();
    let _ = IS_DONE_BELOW.try_with(|is_done| is_done.set(before));
}

/// Runs everything in this thread's lists. Call it before the thread blocks, because it may wait for something in them.
pub(crate) fn flush() {
    call_listed();
    do_all(|| ());
}

fn do_later() {
    let next = || LIST.try_with(|list| list.borrow_mut().pop_front()).ok().flatten();
    while let Some(later) = next() {
        do_now(later);
    }
}

/// Does it, outside the spawner that may be being called.
fn do_now(later: Later) {
    with_spawner(false, later);
}

/// Runs code that does not unwind, with `IN_SPAWNER` set to whether it is a spawner.
fn with_spawner(is_spawner: bool, run: impl FnOnce()) {
    let before = IN_SPAWNER.try_with(|now| now.replace(is_spawner)).unwrap_or(false);
    run();
    let _ = IN_SPAWNER.try_with(|now| now.set(before));
}
