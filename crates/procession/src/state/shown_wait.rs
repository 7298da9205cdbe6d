//! [`ShownWait`]: a blocking wait that snapshots show, and that the search for cycles does not follow.

use std::sync::Arc;

use super::contents::Contents;
use super::node::Node;
use crate::value::Link;
use crate::value::model::model_has_failed;

/// As long as it exists, snapshots show an edge from the upper process to the lower one. It stands for a thread that
/// runs code of the upper process and is blocked in a wait for a slot, the children or the body of the lower one.
pub(crate) struct ShownWait<C: Contents> {
    upper: Arc<Node<C>>,
    place: u32,
}

impl<C: Contents> ShownWait<C> {
    pub(crate) fn begin(upper: &Arc<Node<C>>, kind: Link, lower: &Arc<Node<C>>) -> Self {
        let mut inner = upper.inner.lock();
        let place = inner.extras().shown_waits.insert((Arc::downgrade(lower), kind));
        drop(inner);
        Self { upper: upper.clone(), place }
    }
}

impl<C: Contents> Drop for ShownWait<C> {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        let mut inner = self.upper.inner.lock();
        let removed = inner.extras_mut().and_then(|extras| extras.shown_waits.remove(self.place));
        drop(inner);
        drop(removed);
    }
}
