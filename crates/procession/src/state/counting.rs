//! The children that are open: their number, and a search among them.

use std::sync::Arc;

use super::contents::Contents;
use super::node::Node;
use crate::value::Phase;

impl<C: Contents> Node<C> {
    /// The number of edges to children, including no-wait children, that are not Closed. Children that a closing walk
    /// has taken out of the list at the moment are not counted.
    pub(crate) fn open_children(&self) -> usize {
        let inner = self.inner.lock();
        let lists = inner.waited_children().into_iter().chain(inner.no_wait_children());
        let children = lists.flat_map(|children| children.iter());
        children.filter(|child| child.phase() != Phase::Closed).count()
    }

    /// A child that the process waits for, that is not Closed, and for which `is_it` returns `true`. The newest one is
    /// usually found at once.
    pub(crate) fn find_child(&self, is_it: impl Fn(&Self) -> bool) -> Option<Arc<Self>> {
        let inner = self.inner.lock();
        let is_open = |child: &&Arc<Self>| child.phase() != Phase::Closed && is_it(child);
        inner.waited_children()?.iter().rev().find(is_open).cloned()
    }
}
