//! The readers of a process: its handles, and the waiters for its end. They can read its outcome, so the failures of a
//! root are left to them (rule 3 of [`handled`](super::handled)).
//!
//! Both are counted, except in a process that is made under a waiting parent (S5).
//!
//! - R1. A failure that is left to the readers leaves the node once: when a reader reads the outcome, or when the last
//!   reader has been dropped. *Because* it is added and taken under the node's lock.
//! - R2. The drop of the last reader is not missed. *Because* the bit [`LEFT`](handles::LEFT) is part of both counters,
//!   and the locked section that leaves a failure sets it and reads the counters in the same accesses. The accesses to
//!   one counter have a single order. A drop that comes before that access is counted by it. A drop that comes after it
//!   sees the bit, and then takes the failures under the lock, unless there is another reader. If the last handle and
//!   the last waiter are dropped at the same time, both see the bit, and the second to lock the node sees that both
//!   counters are 0, because the lock orders its loads after the other drop.
//! - R3. A process that has not failed pays nothing for it but a load when a reader is dropped. *Because* the bit is
//!   set only by a failure.

use std::mem;

use super::contents::Contents;
use super::node::{Inner, Node};
use crate::value::sync::Ordering;

/// The parts of `Node::handles`.
pub(super) mod handles {
    /// Failures may be left to the readers.
    pub(in crate::state) const LEFT: u32 = 1 << 31;
    /// The number of handles.
    pub(in crate::state) const COUNT: u32 = LEFT - 1;
    /// The maximum number of handles: more must be a leak. It is far below `COUNT`, so that threads that exceed it at
    /// the same time do not reach the bit.
    pub(in crate::state) const MAX: u32 = 1 << 30;
}

/// The parts of `Node::end_waiters`.
#[cfg(not(loom))]
mod end_waiters {
    /// See [`handles::LEFT`](super::handles::LEFT).
    pub(super) const LEFT: u16 = 1 << 15;
    /// The number of waiters for the end. A number that has reached the maximum stays there.
    pub(super) const COUNT: u16 = LEFT - 1;
}

impl<C: Contents> Node<C> {
    /// Counts another handle. Returns `false` if there are too many. Call it only if handles
    /// [are counted](Self::counts_handles).
    #[inline]
    pub(crate) fn add_handle(&self) -> bool {
        self.handles.fetch_add(1, Ordering::Relaxed) & handles::COUNT <= handles::MAX
    }

    /// A handle was dropped. Returns whether it was the last one. Call it only if handles are counted.
    #[inline]
    pub(crate) fn remove_handle(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::Release) & handles::COUNT == 1
    }

    /// A waiter that can read the outcome was made.
    #[inline]
    pub(crate) fn add_end_waiter(&self) {
        #[cfg(not(loom))]
        self.change_end_waiters(|waiters| waiters + 1);
    }

    /// A waiter that can read the outcome was dropped.
    #[inline]
    pub(crate) fn remove_end_waiter(&self) {
        #[cfg(not(loom))]
        self.change_end_waiters(|waiters| waiters - 1);
    }

    /// Changes the number of waiters, unless it is not counted or has reached the maximum.
    #[cfg(not(loom))]
    #[inline]
    fn change_end_waiters(&self, change: impl Fn(u16) -> u16) {
        if self.counts_handles() {
            let is_counted = |waiters| waiters & end_waiters::COUNT != end_waiters::COUNT;
            let change = |waiters| is_counted(waiters).then(|| change(waiters));
            let _ = self.end_waiters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        }
    }

    /// Leaves the failure to the readers. Returns `false` if there are none. If they are not counted, somebody is
    /// assumed to read.
    #[cfg(not(loom))]
    pub(super) fn leave_to_readers(&self, inner: &mut Inner<C>, failure: &C::Failure) -> bool {
        if !self.counts_handles() {
            return true;
        }
        let handles = self.handles.fetch_or(handles::LEFT, Ordering::Relaxed) & handles::COUNT;
        let waiters =
            self.end_waiters.fetch_or(end_waiters::LEFT, Ordering::Relaxed) & end_waiters::COUNT;
        if handles == 0 && waiters == 0 {
            return false;
        }
        inner.extras().left_to_readers.push(failure.clone());
        true
    }

    /// Takes the failures that are left to the readers, if there are no readers any more. Call it when a reader was
    /// dropped.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn take_unread_failures(&self) -> Vec<C::Failure> {
        let handles = self.handles.load(Ordering::Relaxed);
        let waiters = self.end_waiters.load(Ordering::Relaxed);
        if handles & handles::LEFT == 0 && waiters & end_waiters::LEFT == 0 {
            return Vec::new();
        }
        self.take_if_unread()
    }

    #[cfg(not(loom))]
    #[cold]
    fn take_if_unread(&self) -> Vec<C::Failure> {
        let mut inner = self.inner.lock();
        let handles = self.handles.load(Ordering::Relaxed) & handles::COUNT;
        let waiters = self.end_waiters.load(Ordering::Relaxed) & end_waiters::COUNT;
        if handles > 0 || waiters > 0 { Vec::new() } else { inner.take_left_to_readers() }
    }
}

impl<C: Contents> Inner<C> {
    /// Takes the failures that are left to the readers.
    pub(super) fn take_left_to_readers(&mut self) -> Vec<C::Failure> {
        self.extras_mut().map(|extras| mem::take(&mut extras.left_to_readers)).unwrap_or_default()
    }
}
