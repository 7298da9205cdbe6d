//! [`ShownWait`]: a blocking wait that snapshots show, and that the search for cycles does not follow.

use std::sync::Arc;

use super::contents::Contents;
use super::node::Node;
use crate::value::Link;
use crate::value::model::model_has_failed;

/// While a thread that runs code of one process is blocked in a wait for something of another one that is not its end
/// (a slot, its children, its body), this shows in snapshots as an edge between the two.
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
