//! How sleepers are woken and dropped, on the stack of the code that caused it.
//!
//! A waker may close another process, or own its last handle. The wakers of that process are called inside the first
//! waker, so that they need not wait for it if it blocks. But calls nest at most [`NESTED`] deep: beyond that, they are
//! appended to a queue of the thread, which the innermost call drains. While a waker runs, the other wakers of the same
//! walk are in that queue too; if it blocks in a wait of the library, that wait calls them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::task::Waker;

use super::catch::catch_payload;
use super::foreign::dispose;
use super::{Effects, Node, NodeContents};
use crate::state::{self, Moment, Place, PutBack};
use crate::value::sleeper::Sleeper;
use crate::value::sync::thread_local;

type Wake = state::Wake<NodeContents>;

/// A queue without a destructor, so that it can still be used while the other locals of its thread are destroyed.
/// Nothing leaks, because each call empties it.
#[derive(Default)]
struct Queue(ManuallyDrop<VecDeque<Call>>);

#[cfg(not(loom))]
thread_local! {
    /// The queue of wakers to call or drop on this thread.
    static CALLS: RefCell<Queue> = const { RefCell::new(Queue(ManuallyDrop::new(VecDeque::new()))) };
    /// The number of calls of wakers on this thread's stack.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

#[cfg(loom)]
thread_local! {
    static CALLS: RefCell<Queue> = RefCell::default();
    static DEPTH: Cell<usize> = Cell::default();
}

/// The maximum depth to which calls of wakers nest.
const NESTED: usize = 16;

/// A call of a waker.
enum Call {
    Wake(Wake),
    Drop(Sleeper),
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Call>() == size_of::<Wake>());

/// Wakes the sleepers of users. A waker that panics does not keep the others asleep (I9).
#[inline]
pub(super) fn wake(effects: Effects) {
    let (first, others) = effects.into_wakes();
    match first {
        Some(first) if others.is_empty() => call_single(Call::Wake(first)),
        Some(first) => call(Call::Wake(first), others),
        None => {}
    }
}

/// Drops a sleeper that is no longer needed, if there is one.
#[inline]
pub(crate) fn drop_sleeper(sleeper: Option<Sleeper>) {
    if let Some(sleeper) = sleeper {
        call_single(Call::Drop(sleeper));
    }
}

/// Wakes a sleeper, if there is one. A waker that panics does not unwind into the caller.
pub fn wake_sleeper(sleeper: Option<Sleeper>) {
    if let Some(sleeper) = sleeper {
        call_waker(|| sleeper.into_waker().wake());
    }
}

/// Registers one of the library's own wakers. It is woken when the moment comes, before users' wakers, which may block.
/// Returns `false` if the moment has already come; the waker is then not woken.
pub(crate) fn register_own<W>(node: &Node, moment: Moment, waker: Arc<W>) -> bool
where
    W: std::task::Wake + Send + Sync + 'static,
{
    let sleeper = Sleeper::own(Waker::from(waker));
    let (is_registered, spare) = node.register_sleeper(moment, &mut None, sleeper);
    drop_sleeper(spare);
    is_registered
}

/// Calls a single waker: at once, without the queue, unless too many calls are on the stack.
#[inline]
fn call_single(only: Call) {
    let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
    if depth >= NESTED {
        return call(only, Vec::new());
    }
    let _ = DEPTH.try_with(|now| now.set(depth + 1));
    call_one(only);
    call_queued();
    let _ = DEPTH.try_with(|now| now.set(depth));
}

/// Calls a waker. In the meantime, the others are in the queue of this thread, which is drained afterwards.
fn call(first: Call, mut others: Vec<Wake>) {
    let mut first = Some(first);
    let depth = DEPTH.try_with(|depth| depth.replace(depth.get() + 1)).unwrap_or(0);
    let list = |calls: &RefCell<Queue>| {
        let calls = &mut *calls.borrow_mut().0;
        if depth >= NESTED {
            calls.extend(first.take());
        }
        if calls.is_empty() {
            // The vector is reused in place, because a `Call` has the size of a `Wake`.
            *calls = mem::take(&mut others).into_iter().map(Call::Wake).collect::<Vec<_>>().into();
        } else {
            calls.extend(others.drain(..).map(Call::Wake));
        }
    };
    let listed = CALLS.try_with(list);
    if let Some(first) = first {
        call_one(first);
        call_queued();
    }
    if listed.is_err() {
        // In a model, the queue no longer exists at the end of a thread.
        others.into_iter().for_each(wake_one);
    }
    let _ = DEPTH.try_with(|now| now.set(depth));
}

/// Drains the queue of this thread.
pub(super) fn call_queued() {
    let next = |calls: &RefCell<Queue>| {
        let calls = &mut *calls.borrow_mut().0;
        let next = calls.pop_front();
        if next.is_none() && calls.capacity() > 0 {
            *calls = VecDeque::new();
        }
        next
    };
    while let Some(next) = CALLS.try_with(next).ok().flatten() {
        call_one(next);
    }
}

fn call_one(call: Call) {
    match call {
        Call::Wake(wake) => wake_one(wake),
        Call::Drop(sleeper) => call_waker(|| drop(sleeper)),
    }
}

pub(super) fn wake_one(Wake { mut sleeper, put_back }: Wake) {
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

/// Calls a user's waker. This may be on the stack of `close()`, so the payload of a panic is dropped on another thread
/// (I10).
fn call_waker(call: impl FnOnce()) {
    if let Err(payload) = catch_payload(call) {
        dispose(payload);
    }
}

/// Registers `waker` for a moment of the node; `false` if the moment has already come.
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
