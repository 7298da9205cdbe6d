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
        let mut has_begun = false;
        walk.visit(self, |walk, inner| {
            if self.phase() == Phase::Closed || self.is_aborting() {
                return;
            }
            has_begun = true;
            walk.begin(self, inner, reason, true);
            inner.extras().aborted_at = Some(walk.date(inner));
            inner.extras().failures.extend(failure);
        });
        if !has_begun {
            return None;
        }
        if let Some(label) = label {
            walk.effects.record_abort(label);
        }
        Some(walk.run())
    }
}
