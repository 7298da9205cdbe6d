//! [`BlockedEdge`]: a blocking wait as an edge of the graph.

use std::sync::Arc;

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::edges::{Linked, link_judged};
use super::node::Node;
use crate::value::LinkError;
use crate::value::model::model_has_failed;

/// An edge from a process to the one that its code is blocked for: it exists while a thread that runs code of the upper
/// process waits until the lower one is Closed (I13).
pub(crate) struct BlockedEdge<C: Contents> {
    upper: Arc<Node<C>>,
    lower: Arc<Node<C>>,
    place: u32,
}

impl<C: Contents> BlockedEdge<C> {
    /// Adds the edge; `None` if `lower` is Closed.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if the wait could never end.
    pub(crate) fn add(
        upper: &Arc<Node<C>>,
        lower: &Arc<Node<C>>,
    ) -> Result<Option<Self>, LinkError> {
        if Arc::ptr_eq(upper, lower) {
            return Err(LinkError::cycle(vec![upper.label()]));
        }
        match link_judged(upper, lower, EdgeKind::BLOCKED)? {
            Linked::At { place } => {
                Ok(Some(Self { upper: upper.clone(), lower: lower.clone(), place }))
            }
            Linked::Nothing | Linked::Close | Linked::Refused => Ok(None),
        }
    }
}

impl<C: Contents> Drop for BlockedEdge<C> {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        let down = {
            let mut inner = self.upper.inner.lock();
            inner.extras_mut().and_then(|extras| extras.blocked_for.remove(self.place))
        };
        let Some(down) = down else { return };
        // If the lower process is Closed, it has already taken its end of the edge.
        let up = {
            let mut inner = self.lower.inner.lock();
            inner.extras_mut().and_then(|extras| extras.dependents.remove(down.place))
        };
        drop(up);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::super::seed::Seed;
    use super::super::testing::{Node, Plain};
    use super::BlockedEdge;
    use crate::value::{Reason, Site};

    /// The end of one wait leaves the edges of all others alone, in whatever order waits begin and end.
    #[test]
    fn each_edge_is_removed_by_its_own_thread() {
        let node = |body| Node::new(Seed::<Plain> { body, ..Seed::at(Site::caller()) }, None);
        let upper = node(true);
        drop(upper.close(&Reason::Asked, false));
        let lowers: Vec<Arc<Node>> = (0..200).map(|_| node(false)).collect();
        let block = |lower: &Arc<Node>| BlockedEdge::add(&upper, lower).ok().flatten().unwrap();
        let (early, late) = lowers.split_at(100);
        let over: Vec<_> = early.iter().map(block).collect();
        early.iter().for_each(|lower| drop(lower.close(&Reason::Asked, false)));
        let lasting: Vec<_> = late.iter().map(block).collect();
        drop(over);
        let count = || {
            let inner = upper.inner.lock();
            inner.extras_ref().map(|extras| extras.blocked_for.iter().count())
        };
        assert_eq!(count(), Some(lasting.len()));
        drop(lasting);
        assert_eq!(count(), Some(0));
        let dependents = |lower: &Arc<Node>| {
            let inner = lower.inner.lock();
            inner.extras_ref().map_or(0, |extras| extras.dependents.iter().count())
        };
        assert!(late.iter().all(|lower| dependents(lower) == 0));
    }
}
