//! Direct aborts: those that are not part of the abort of a process above.
//!
//! 1. Each direct abort is recorded once, unless `Main` reports it. *Because* all of them begin in [`abort`], and only
//!    the effects of the one that has changed the state carry the label of the process. The interpreter records it. (The
//!    end of a time limit is not among them, because it is recorded as the failure of the process.)
//! 2. The subscriber delays nothing that the abort wakes, *because* the interpreter calls it last. A thread that foreign
//!    code must not hold up leaves it to a thread of the pool, together with the other effects.

use std::sync::Arc;

use super::{Effects, Failure, Node};
use crate::value::{Label, Phase, Reason};

/// The reporter of an abort.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportedBy {
    /// A `tracing` event.
    Event,
    /// `Main`, which has caused it.
    #[cfg_attr(
        not(all(feature = "signal", any(unix, windows), not(loom))),
        expect(dead_code, reason = "without signals, there is no `Main`")
    )]
    Main,
}

/// Begins to close the process or, if `by_force` is set, to abort it.
pub(crate) fn close(
    node: &Arc<Node>,
    reason: &Reason,
    by_force: bool,
    reported_by: ReportedBy,
) -> Effects {
    match by_force {
        true => abort(node, reason, None, reported_by).unwrap_or_default(),
        false => node.close(reason, false),
    }
}

/// Aborts the process, and adds `failure` to its outcome. `None` if the process is Closed or was aborted before; then
/// nothing has changed.
pub(crate) fn abort(
    node: &Arc<Node>,
    reason: &Reason,
    failure: Option<Failure>,
    reported_by: ReportedBy,
) -> Option<Effects> {
    // It is read before the abort, because a Closed process has nothing above it.
    let label = (reported_by == ReportedBy::Event).then(|| wanted_label(node)).flatten();
    node.abort(reason, failure, label)
}

/// The label of the process, if a subscriber may want to hear of its abort.
fn wanted_label(node: &Arc<Node>) -> Option<Label> {
    #[cfg(all(feature = "tracing", not(loom)))]
    let is_wanted = super::tracing::may_warn();
    #[cfg(any(not(feature = "tracing"), loom))]
    let is_wanted = false;
    let is_first = is_wanted && !node.is_aborting() && node.phase() != Phase::Closed;
    is_first.then(|| node.label())
}

/// Records the abort of the process with this label.
#[cfg_attr(any(not(feature = "tracing"), loom), expect(unused_variables, reason = "no events"))]
pub(super) fn record(label: &Label) {
    #[cfg(all(feature = "tracing", not(loom)))]
    super::tracing::aborting(label);
}
