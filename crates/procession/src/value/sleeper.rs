//! [`Sleeper`]: the waker of a blocked thread or a waiting task.
//!
//! This is the only place where a user's waker is cloned. A waker's `clone` is foreign code, so it is called before a
//! lock is taken. Under a lock, only a [`Sleeper`] that already exists is stored, and stored sleepers are compared with
//! [`Sleeper::wakes`], which only compares pointers.

use std::cell::Cell;
use std::ptr;
use std::task::{RawWakerVTable, Waker};

use crate::value::model::model_has_failed;
use crate::value::sync::{Mutex, thread_local};

/// A waker, and whether it is the library's own.
///
/// The library's own wakers run library code and return at once. They are woken before those of users, which may block
/// (I9).
#[derive(Debug)]
pub struct Sleeper {
    waker: Waker,
    is_own: bool,
}

/// The two addresses in a waker. As long as that waker exists, they tell whether another waker
/// [wakes](Waker::will_wake) the same task.
#[derive(Clone, Copy)]
pub(crate) struct WakerAddress {
    data: usize,
    vtable: &'static RawWakerVTable,
}

impl WakerAddress {
    fn of(waker: &Waker) -> Self {
        Self { data: waker.data().addr(), vtable: waker.vtable() }
    }

    /// Is it the address of `waker`?
    #[inline]
    pub(crate) fn is_of(self, waker: &Waker) -> bool {
        waker.data().addr() == self.data && ptr::eq(waker.vtable(), self.vtable)
    }
}

thread_local! {
    /// The address of the waker of this thread's innermost blocking wait. That waker exists as long as the wait.
    static THIS_THREAD: Cell<Option<WakerAddress>> = Cell::default();
}

impl Sleeper {
    /// The sleeper that `waker` wakes. Call it with no lock held, because it clones the waker.
    pub fn of(waker: &Waker) -> Self {
        let is_own = THIS_THREAD
            .try_with(|own| own.get().is_some_and(|own| own.is_of(waker)))
            .unwrap_or(false);
        Self { waker: waker.clone(), is_own }
    }

    /// A number made of the two addresses in the waker. It distinguishes this sleeper from those with other wakers, as
    /// long as they exist.
    pub(crate) fn id(&self) -> usize {
        let vtable = std::ptr::from_ref(self.waker.vtable()).addr();
        self.waker.data().addr() ^ vtable.rotate_left(usize::BITS / 2)
    }

    /// The address of its waker.
    pub(crate) fn address(&self) -> WakerAddress {
        WakerAddress::of(&self.waker)
    }

    /// A sleeper of the library's own. `waker` must run only library code, and return at once.
    pub(crate) fn own(waker: Waker) -> Self {
        Self { waker, is_own: true }
    }

    /// Is it certain that `waker` wakes the same task? This runs no foreign code.
    pub fn wakes(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker)
    }

    pub(crate) fn from_parts(waker: Waker, is_own: bool) -> Self {
        Self { waker, is_own }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Wakes the task without consuming the sleeper. This is foreign code: call it with no lock held.
    pub(crate) fn wake_by_ref(&self) {
        self.waker.wake_by_ref();
    }

    /// The waker. Waking or dropping it is foreign code.
    pub fn into_waker(self) -> Waker {
        self.waker
    }
}

/// Makes sure that `waker` will be woken: stores a clone of it where `find` says, unless a sleeper that wakes the same
/// task is already stored there. The clone is made with the lock released.
///
/// `find` is called under the lock, once or twice; if it returns `None`, nothing is stored. The sleeper that was
/// replaced, or the new one if it was not stored, is returned for the caller to drop.
pub fn register<T>(
    lock: &Mutex<T>,
    waker: &Waker,
    mut find: impl FnMut(&mut T) -> Option<&mut Option<Sleeper>>,
) -> Option<Sleeper> {
    if let Some(registered) = find(&mut lock.lock())?.as_ref() {
        if registered.wakes(waker) {
            return None;
        }
    }
    let sleeper = Sleeper::of(waker);
    let mut guarded = lock.lock();
    match find(&mut guarded) {
        Some(place) => place.replace(sleeper),
        None => Some(sleeper),
    }
}

/// As long as this exists, its waker is known to be that of this thread's blocking wait. The waker must exist as long
/// as this, because only its address is kept.
pub(crate) struct Blocking {
    before: Option<WakerAddress>,
}

impl Blocking {
    pub(crate) fn with(waker: &Waker) -> Self {
        let before = THIS_THREAD.try_with(|own| own.replace(Some(WakerAddress::of(waker))));
        Self { before: before.unwrap_or_default() }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        // At the end of a thread, there is nothing to restore.
        let _ = THIS_THREAD.try_with(|own| own.set(self.before));
    }
}
