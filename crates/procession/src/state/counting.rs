//! The number of children that are open.

use super::contents::Contents;
use super::node::Node;
use crate::value::Phase;

impl<C: Contents> Node<C> {
    /// The number of edges to processes that this one closes and that are not Closed. The closing walk may have taken
    /// some of them out of the list for a while; they are not counted then.
    pub(crate) fn open_children(&self) -> usize {
        let inner = self.inner.lock();
        let lists = inner.waited_children().into_iter().chain(inner.no_wait_children());
        let children = lists.flat_map(|children| children.iter());
        children.filter(|child| child.phase() != Phase::Closed).count()
    }
}
