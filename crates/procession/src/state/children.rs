//! Waiting until the children of a process are Closed.
//!
//! The children have no counter of their own: their number is `waiting` without the body and without
//! [`Extras::other_waits`](super::node::Extras). Those two change only under the lock, together with `waiting`; the
//! ends of children change `waiting` without the lock. So under the lock, the number is exact except that a child which
//! ends at the same time may still be counted.
//!
//! While a sleeper waits for the children, `waiting` has the bit [`CHILDREN_AWAITED`], and each child that ends takes
//! the lock and checks whether it was the last. *No end is missed*, because the bit is set before the number is read
//! for a new sleeper, so a child that ends later sees the bit. A bit that has outlived its sleepers is cleared when no
//! child is left.
//!
//! The moment can come more than once. So the number of times that it has come is counted, and each waiter remembers
//! the number at which it was registered ([`Place`](super::sleepers::Place)): if that has changed, the moment has come
//! for it.

use std::sync::Arc;

use super::contents::Contents;
use super::effects::Effects;
use super::node::{CHILDREN_AWAITED, Inner, Node};
use super::sleepers::Moment;
use crate::value::sync::Ordering;

impl<C: Contents> Node<C> {
    /// Subtracts the edges to children that the walk has found Closed at once. The caller must then check under the
    /// lock whether anything is left to wait for.
    #[inline]
    pub(super) fn decrement_waiting_for_children(&self, count: u32) {
        self.waiting.fetch_sub(count, Ordering::AcqRel);
    }

    /// Subtracts the edge to a child without the lock. Returns whether the caller must check under the lock (S4).
    #[inline]
    pub(super) fn decrement_waiting_for_child(&self) -> bool {
        let before = self.waiting.fetch_sub(1, Ordering::AcqRel);
        before == 1 || before & CHILDREN_AWAITED != 0
    }
}

impl<C: Contents> Inner<C> {
    /// Are all children that the process waits for Closed, given the value of `waiting`?
    pub(super) fn children_are_closed(&self, node: &Node<C>, waiting: u32) -> bool {
        let others = self.extras_ref().map_or(0, |extras| extras.other_waits);
        waiting & !CHILDREN_AWAITED == others + u32::from(node.phase.has_body())
    }

    /// Prepares for a sleeper that waits for the children; `false` if there is nothing to wait for.
    pub(super) fn await_children(&mut self, node: &Node<C>) -> bool {
        let before = node.waiting.fetch_or(CHILDREN_AWAITED, Ordering::AcqRel);
        let waits = !self.children_are_closed(node, before);
        if waits {
            // They hold the number of times that the moment has come.
            self.extras();
        } else if before & CHILDREN_AWAITED == 0 {
            node.waiting.fetch_and(!CHILDREN_AWAITED, Ordering::Relaxed);
        }
        waits
    }

    /// Takes the sleepers that wait for the children, if all children are Closed. Call it wherever a child was
    /// subtracted.
    #[inline]
    pub(super) fn check_children(&mut self, node: &Arc<Node<C>>, effects: &mut Effects<C>) {
        if node.waiting.load(Ordering::Relaxed) & CHILDREN_AWAITED != 0 {
            self.take_children_sleepers(node, effects);
        }
    }

    #[cold]
    fn take_children_sleepers(&mut self, node: &Arc<Node<C>>, effects: &mut Effects<C>) {
        if self.children_are_closed(node, node.waiting.load(Ordering::Acquire)) {
            node.waiting.fetch_and(!CHILDREN_AWAITED, Ordering::Relaxed);
            let extras = self.extras();
            extras.children_closed = extras.children_closed.wrapping_add(1);
            self.take_sleepers(node, Moment::ChildrenClosed, effects);
        }
    }

    /// The number of times that the moment has come, if it is one that can come more than once; otherwise 0.
    pub(super) fn times(&self, moment: Moment) -> u32 {
        match moment {
            Moment::ChildrenClosed => self.extras_ref().map_or(0, |extras| extras.children_closed),
            _ => 0,
        }
    }

    /// Something other than a child is no longer waited for. Call it together with `decrement_waiting`.
    pub(super) fn decrement_other_waits(&mut self) {
        self.extras().other_waits -= 1;
    }
}
