//! The number of children that are open.

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
}
