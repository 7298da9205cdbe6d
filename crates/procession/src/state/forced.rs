//! Direct aborts: those that are not part of the abort of a process above.
//!
//! 1. At most one direct abort of a process takes effect. *Because* the check for an earlier one and the abort are one
//!    locked section, and an abort stays (S1).
//! 2. The failure of a grace that has ended is in the outcome if and only if the deadline had to abort. *Because* it is
//!    added in the same section, and nothing is added to the outcome of a process that was Closed or aborted before.
//! 3. The label of the aborted process leaves with the effects of the abort that has taken effect, so the layer above
//!    records each abort once.

use std::sync::Arc;

use super::closing::Walk;
use super::contents::Contents;
use super::effects::Effects;
use super::node::Node;
use crate::value::{Label, Phase, Reason};

impl<C: Contents> Node<C> {
    /// Aborts the process, and adds `failure` to its outcome. `None` if the process is Closed or was aborted before; then
    /// nothing has changed. The failure does not concern the parents. The effects carry `label`, if there is one.
    pub(crate) fn abort(
        self: &Arc<Self>,
        reason: &Reason,
        failure: Option<C::Failure>,
        label: Option<Label>,
    ) -> Option<Effects<C>> {
        let mut walk = Walk::new();
        let mut inner = self.inner.lock();
        if self.phase() == Phase::Closed || self.is_aborting() {
            // It is not settled either: if its last child has just ended, that is left to the thread which has counted
            // the child off (S4). The effects would be lost here.
            return None;
        }
        walk.begin(self, &mut inner, reason, true);
        inner.extras().aborted_at = Some(walk.date(&mut inner));
        inner.extras().failures.extend(failure);
        let ended = walk.settle(self, &mut inner, None);
        drop(inner);
        drop(ended);
        if let Some(label) = label {
            walk.effects.record_abort(label);
        }
        Some(walk.run())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::edge_kind::EdgeKind;
    use super::super::edges::link;
    use super::super::seed::Seed;
    use super::super::testing::{Node, Plain};
    use crate::value::{Phase, Reason, Site};

    /// The last child of an aborted process has been counted off, and the process has yet to be checked for that. An
    /// abort in between changes nothing, so what waits for the process is released by that check.
    #[test]
    fn a_second_abort_between_the_end_of_the_last_child_and_its_check() {
        let node = |body| Node::new(Seed::<Plain> { body, ..Seed::at(Site::caller()) }, None);
        let (upper, lower, child) = (node(false), node(false), node(true));
        drop(link(&lower, &child, EdgeKind::CHILD).unwrap_or_else(|_| panic!("it is no cycle")));
        drop(link(&upper, &lower, EdgeKind::WAIT_FOR).unwrap_or_else(|_| panic!("it is no cycle")));
        drop(upper.close(&Reason::Asked, false));
        drop(lower.abort(&Reason::Asked, None, None));
        assert_eq!((upper.phase(), lower.phase()), (Phase::Closing, Phase::Closing));
        assert!(lower.decrement_waiting_for_child());
        assert!(lower.abort(&Reason::Asked, None, None).is_none());
        drop(lower.close(&Reason::Asked, false));
        assert_eq!((upper.phase(), lower.phase()), (Phase::Closed, Phase::Closed));
    }
}
