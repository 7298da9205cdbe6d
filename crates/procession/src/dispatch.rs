//! From the state machine's [`Effects`] to spawners and wakers, with no lock held (I10).
//!
//! Teardowns are handed over first and wakers woken after, so that a waker which waits for a teardown does
//! not wait for its own stack. Both loops are flat: what a spawner runs on the spot, and what a waker makes
//! due, is queued on the thread and not nested (I11); a thread that is about to block first does all that it
//! has queued ([`flush`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::outcome::discard;
use crate::spawn::{Job, Threads};
use crate::state::{Effects, Ready, Wakers};
use crate::sync::thread_local;

/// What a spawner wants to run on this thread, as soon as its stack allows.
pub(crate) trait Deferred {
    fn execute(self: Box<Self>) -> Effects;
}

impl Deferred for Job {
    fn execute(self: Box<Self>) -> Effects {
        Job::execute(*self)
    }
}

thread_local! {
    /// A spawner is being called: what it runs on the spot is deferred to the end of the call.
    static HANDING_OVER: Cell<bool> = Cell::default();
    static DEFERRED: RefCell<VecDeque<Box<dyn Deferred>>> = RefCell::default();
    static WAKERS: RefCell<VecDeque<Waker>> = RefCell::default();
}

/// Hands over the teardowns that are due, and wakes the wakers.
#[inline]
pub(crate) fn dispatch(effects: Effects) {
    if !effects.is_empty() {
        dispatch_some(effects);
    }
}

fn dispatch_some(effects: Effects) {
    follow(effects);
    run_deferred();
}

/// [`dispatch`], but for what it deferred.
fn follow(effects: Effects) {
    let Effects { pooled, spawned, wakers } = effects;
    hand_over(spawned);
    Threads::submit(pooled);
    wake(wakers);
}

/// Gives each teardown to its spawner.
pub(crate) fn hand_over(spawned: Vec<Ready>) {
    for ready in spawned {
        let spawner = ready.node.spawner().cloned();
        let job = Job::teardown(ready);
        match spawner {
            None => Threads::spawn_async(job),
            Some(spawner) => spawn_on(|| spawner.spawn(job)),
        }
    }
}

/// Calls a spawner. One that panics has dropped its job, and a dropped job is not lost.
pub(crate) fn spawn_on(spawn: impl FnOnce()) {
    let before = HANDING_OVER.with(|handing_over| handing_over.replace(true));
    if let Err(payload) = catch_unwind(AssertUnwindSafe(spawn)) {
        discard(payload);
    }
    HANDING_OVER.with(|handing_over| handing_over.set(before));
}

/// Puts the work behind what this thread is handing over; gives it back if there is no such thing.
pub(crate) fn defer<D: Deferred + 'static>(work: D) -> Option<D> {
    let mut work = Some(work);
    if HANDING_OVER.with(Cell::get) {
        // Without thread-locals, as at the end of a thread, work does nest.
        let _ = DEFERRED.try_with(|deferred| {
            deferred
                .borrow_mut()
                .extend(work.take().map(|work| Box::new(work) as Box<dyn Deferred>));
        });
    }
    work
}

/// Runs what was deferred.
pub(crate) fn run_deferred() {
    // A spawner that closes something itself finds us here; it is the outer call that runs the work.
    if HANDING_OVER.with(Cell::get) {
        return;
    }
    let next = || DEFERRED.try_with(|deferred| deferred.borrow_mut().pop_front()).ok().flatten();
    while let Some(work) = next() {
        follow(work.execute());
    }
}

/// Wakes them all; a waker that panics does not keep the others asleep (I9).
pub(crate) fn wake(wakers: Wakers) {
    let (first, mut others) = wakers.into_parts();
    if !others.is_empty() {
        // The first one may block, and what it waits for may need the others: it finds them there.
        let _ = WAKERS.try_with(|queue| queue.borrow_mut().extend(others.drain(..)));
    }
    if let Some(first) = first {
        wake_one(first);
        wake_queued();
    }
    others.into_iter().for_each(wake_one);
}

fn wake_queued() {
    let next = || WAKERS.try_with(|queue| queue.borrow_mut().pop_front()).ok().flatten();
    while let Some(waker) = next() {
        wake_one(waker);
    }
}

fn wake_one(waker: Waker) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        discard(payload);
    }
}

/// Does all that this thread has queued. Call it before the thread blocks: what it waits for may be among it.
pub(crate) fn flush() {
    wake_queued();
    let before = HANDING_OVER.with(|handing_over| handing_over.replace(false));
    run_deferred();
    HANDING_OVER.with(|handing_over| handing_over.set(before));
}
