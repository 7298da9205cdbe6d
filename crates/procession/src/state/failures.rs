//! Failures on their way up, to the parents that close for a failed child.
//!
//! A failure is added to the outcome of each process that it concerns. The errors of a process are merged only once,
//! when the process becomes Closed, so the cost of each failing child does not depend on their number (I16).

use std::collections::HashSet;
use std::sync::Arc;

use super::closing::Walk;
use super::contents::{Contents, Failed, NodeEvent};
use super::node::{Inner, Node};
use crate::value::{Label, Phase, Reason};

/// The failure of a child, on its way to the parents of that child.
struct PendingFailure<C: Contents> {
    child: Label,
    parents: Vec<Arc<Node<C>>>,
    /// The parents close because of it, whatever they do when another child fails.
    closes_parents: bool,
    /// It is the first failure of the child.
    is_first: bool,
}

impl<C: Contents> Walk<C> {
    /// The process has failed: adds the error to its outcome, and closes the parents that close for a failed child.
    /// Those have then failed themselves, which concerns their own parents. Calls `change` in the locked section in
    /// which the error is added. The outcome of a Closed process stays as it is.
    pub(super) fn fail(
        &mut self,
        node: &Arc<Node<C>>,
        failed: Failed<C>,
        change: impl FnOnce(&mut Self, &mut Inner<C>),
    ) {
        let Failed { failure, aborted } = failed;
        // Making a label locks the process and those above it, so it is made with no lock held.
        let label = node.label();
        let mut inner = node.inner.lock();
        let is_first = node.phase() != Phase::Closed && inner.add_failure(&failure);
        inner.notify_observers(node, || NodeEvent::Failed(Box::new(failure.clone())));
        change(self, &mut inner);
        // If the work was dropped because the time limit ended, the parents learn only of the end of the time limit.
        let is_past_limit = inner.extras_ref().is_some_and(|extras| extras.past_limit.is_some());
        let concerns_parents = !(aborted && is_past_limit);
        let closes_parents = inner.closes_parents();
        let mut next = concerns_parents
            .then(|| inner.failure_for_parents(label, closes_parents, is_first))
            .flatten();
        drop(inner);
        // The processes that the failure has reached, because there may be several ways up, or a ring. The usual case,
        // a single parent that the failure goes no further than, allocates nothing.
        let (mut further, mut visited) = (Vec::new(), HashSet::new());
        let mut is_only_way = next.as_ref().is_none_or(|pending| pending.parents.len() == 1);
        while let Some(pending) = next.take().or_else(|| further.pop()) {
            for parent in pending.parents {
                let mut inner = parent.inner.lock();
                // A child whose work was dropped because the parent was aborted has not failed.
                let is_dropped = aborted && parent.is_aborting();
                let concerns_parent =
                    pending.closes_parents || inner.closes_for_a_child() || inner.is_limiter();
                let is_open = parent.phase() != Phase::Closed && !parent.is_background();
                if pending.is_first && is_open && !is_dropped && !inner.is_limiter() {
                    inner.count_failed_call(&failure);
                }
                if is_dropped || !concerns_parent || !is_open {
                    continue;
                }
                if !is_only_way && !visited.insert(Arc::as_ptr(&parent)) {
                    continue;
                }
                let up = if inner.is_limiter() {
                    // A limiter passes the failure on, because its children count as children of its parents.
                    let child = pending.child.clone();
                    let up =
                        inner.failure_for_parents(child, pending.closes_parents, pending.is_first);
                    drop(inner);
                    up
                } else {
                    let is_first = inner.add_failure(&failure);
                    // The parent is settled later in this walk, after its children, one of which is the failed one.
                    self.begin(
                        &parent,
                        &mut inner,
                        &Reason::ChildFailed(pending.child.clone()),
                        false,
                    );
                    let closes_parents = inner.closes_parents();
                    drop(inner);
                    let label = parent.label();
                    parent.inner.lock().failure_for_parents(label, closes_parents, is_first)
                };
                if is_only_way && up.is_some() {
                    visited.extend([Arc::as_ptr(node), Arc::as_ptr(&parent)]);
                    is_only_way = false;
                }
                further.extend(up);
            }
        }
        drop(failure);
    }
}

impl<C: Contents> Inner<C> {
    pub(super) fn closes_parents(&self) -> bool {
        self.extras_ref().is_some_and(|extras| extras.closes_parents)
    }

    /// Adds a failure to the outcome; returns whether it is the first one.
    fn add_failure(&mut self, failure: &C::Failure) -> bool {
        let failures = &mut self.extras().failures;
        failures.push(failure.clone());
        failures.len() == 1
    }

    fn failure_for_parents(
        &self,
        child: Label,
        closes_parents: bool,
        is_first: bool,
    ) -> Option<PendingFailure<C>> {
        let parents: Vec<_> = self.parents().cloned().collect();
        (!parents.is_empty()).then_some(PendingFailure { child, parents, closes_parents, is_first })
    }
}
