//! Waiting until the children of a process are Closed.
//!
//! The children have no counter of their own: their count is `waiting` without the body and without
//! [`Extras::other_waits`](super::node::Extras). Both change only under the lock and together with `waiting`, which
//! only the ends of children change without it. So under the lock, the count is exact, or soon smaller.
//!
//! While a sleeper waits for the children, `waiting` has the bit [`WATCHED`], and the end of each child takes the lock
//! to look whether it was the last. *No end is missed*, because the bit is set before the count is read for a new
//! sleeper: a child that ends later sees the bit. A bit that has outlived its sleepers is cleared when no child is
//! left.
//!
//! The moment can come again. So the sleepers that are taken together are counted, and each waiter knows the count at
//! which it was registered ([`Place`](super::sleepers::Place)): if the count has changed, the moment has come for it.

use std::sync::Arc;

use super::contents::Contents;
use super::effects::Effects;
use super::node::{Inner, Node, WATCHED};
use super::sleepers::Moment;
use crate::value::sync::Ordering;

impl<C: Contents> Node<C> {
    /// Subtracts the edges to children that were Closed at once; the caller then looks under the lock.
    #[inline]
    pub(super) fn count_children_off(&self, count: u32) {
        self.waiting.fetch_sub(count, Ordering::AcqRel);
    }

    /// Subtracts the edge to a child without the lock; returns whether a look under the lock has to follow (S4).
    #[inline]
    pub(super) fn count_child_off(&self) -> bool {
        let before = self.waiting.fetch_sub(1, Ordering::AcqRel);
        before == 1 || before & WATCHED != 0
    }
}

impl<C: Contents> Inner<C> {
    /// Are all children that the process waits for Closed, given the value of `waiting`?
    pub(super) fn children_are_closed(&self, node: &Node<C>, waiting: u32) -> bool {
        let others = self.extras_ref().map_or(0, |extras| extras.other_waits);
        waiting & !WATCHED == others + u32::from(node.phase.has_body())
    }

    /// Prepares for a sleeper that waits for the children; `false` if there is nothing to wait for.
    pub(super) fn watch_children(&mut self, node: &Node<C>) -> bool {
        let before = node.waiting.fetch_or(WATCHED, Ordering::AcqRel);
        let waits = !self.children_are_closed(node, before);
        if waits {
            // Until then, they are not made.
            self.extras();
        } else if before & WATCHED == 0 {
            node.waiting.fetch_and(!WATCHED, Ordering::Relaxed);
        }
        waits
    }

    /// Takes the sleepers that wait for the children if these are Closed. Call it wherever a child has been subtracted.
    #[inline]
    pub(super) fn look_at_children(&mut self, node: &Arc<Node<C>>, effects: &mut Effects<C>) {
        if node.waiting.load(Ordering::Relaxed) & WATCHED != 0 {
            self.look_at_watched_children(node, effects);
        }
    }

    #[cold]
    fn look_at_watched_children(&mut self, node: &Arc<Node<C>>, effects: &mut Effects<C>) {
        if self.children_are_closed(node, node.waiting.load(Ordering::Acquire)) {
            node.waiting.fetch_and(!WATCHED, Ordering::Relaxed);
            let extras = self.extras();
            extras.children_closed = extras.children_closed.wrapping_add(1);
            self.take_sleepers(node, Moment::ChildrenClosed, effects);
        }
    }

    /// The number of times that the sleepers waiting for the moment were taken, if it can come again.
    pub(super) fn times(&self, moment: Moment) -> u32 {
        match moment {
            Moment::ChildrenClosed => self.extras_ref().map_or(0, |extras| extras.children_closed),
            _ => 0,
        }
    }

    /// Something that is not a child no longer holds the process. Call it together with `count_off`.
    pub(super) fn count_other_off(&mut self) {
        self.extras().other_waits -= 1;
    }
}
