//! The end of a grace.
//!
//! The abort and the recording of the failure are one locked section. So the failure is in the outcome if and only if
//! the deadline had to abort: nothing is added to the outcome of a process that was Closed or aborted before that
//! section.

use std::sync::Arc;

use super::closing::Walk;
use super::contents::Contents;
use super::effects::Effects;
use super::node::Node;
use crate::value::{Phase, Reason};

impl<C: Contents> Node<C> {
    /// The grace has ended: aborts the process, and adds `failure` to its outcome. `None` if the process is Closed or
    /// was aborted before. The failure does not concern the parents.
    pub(crate) fn force(self: &Arc<Self>, failure: C::Failure) -> Option<Effects<C>> {
        let mut walk = Walk::new();
        let mut failure = Some(failure);
        walk.visit(self, |walk, inner| {
            if self.phase() == Phase::Closed || self.is_aborting() {
                return;
            }
            walk.begin(self, inner, &Reason::Asked, true);
            inner.extras().aborted_at = Some(walk.date(inner));
            inner.extras().failures.extend(failure.take());
        });
        failure.is_none().then(|| walk.run())
    }
}
