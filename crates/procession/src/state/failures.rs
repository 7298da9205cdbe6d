//! Failures on their way up, to the parents that close for a failed child.
//!
//! A failure is added to the outcome of each process that it concerns; the errors are merged once, when the process
//! becomes Closed, so that any number of failing children costs the same for each (I16).

use std::collections::HashSet;
use std::sync::Arc;

use super::closing::Walk;
use super::contents::{Contents, Failed, Happening};
use super::node::{Inner, Node};
use crate::value::{Label, Phase, Reason};

/// A failure of a process that its parents have not heard of yet.
struct News<C: Contents> {
    child: Label,
    parents: Vec<Arc<Node<C>>>,
    /// The parents close for it, whatever they do when another child fails.
    closes_parents: bool,
    /// The child had not failed before.
    is_first: bool,
}

impl<C: Contents> Walk<C> {
    /// The process has failed: its error is part of its outcome, and the parents that close for a failed child
    /// close. That is a failure of theirs, and goes on to their parents. Calls `change` in the locked section in
    /// which the error is added. The outcome of a process that is Closed stays as it is.
    pub(super) fn fail(
        &mut self,
        node: &Arc<Node<C>>,
        failed: Failed<C>,
        change: impl FnOnce(&mut Self, &mut Inner<C>),
    ) {
        let Failed { failure, aborted } = failed;
        // A label locks the process and those above it, so it is made with no lock held.
        let label = node.label();
        let mut inner = node.inner.lock();
        let is_first = node.phase() != Phase::Closed && inner.add_failure(&failure);
        inner.tell(node, || Happening::Failed(Box::new(failure.clone())));
        change(self, &mut inner);
        // If its work is dropped because its time is over, the parents hear of that only.
        let is_past_limit = inner.extras_ref().is_some_and(|extras| extras.past_limit.is_some());
        let is_news = !(aborted && is_past_limit);
        let closes_parents = inner.closes_parents();
        let mut next = is_news.then(|| inner.news_of(label, closes_parents, is_first)).flatten();
        drop(inner);
        // The processes that have heard of it, because there may be several ways up, or a ring. The usual case, one
        // parent that passes nothing on, allocates nothing.
        let (mut further, mut heard) = (Vec::new(), HashSet::new());
        let mut is_only_way = next.as_ref().is_none_or(|news| news.parents.len() == 1);
        while let Some(news) = next.take().or_else(|| further.pop()) {
            for parent in news.parents {
                let mut inner = parent.inner.lock();
                // A child whose work is dropped because the parent was aborted has not failed.
                let is_dropped = aborted && parent.is_aborting();
                let hears = news.closes_parents || inner.closes_for_a_child() || inner.is_limiter();
                let is_open = parent.phase() != Phase::Closed && !parent.is_background();
                if news.is_first && is_open && !is_dropped && !inner.is_limiter() {
                    inner.count_failed_call(&failure);
                }
                if is_dropped || !hears || !is_open {
                    continue;
                }
                if !is_only_way && !heard.insert(Arc::as_ptr(&parent)) {
                    continue;
                }
                let up = if inner.is_limiter() {
                    // A limiter passes it on: its children count as children of its parents.
                    let child = news.child.clone();
                    let up = inner.news_of(child, news.closes_parents, news.is_first);
                    drop(inner);
                    up
                } else {
                    let is_first = inner.add_failure(&failure);
                    // It is settled by the walk over its children, the failed one among them.
                    self.begin(
                        &parent,
                        &mut inner,
                        &Reason::ChildFailed(news.child.clone()),
                        false,
                    );
                    let closes_parents = inner.closes_parents();
                    drop(inner);
                    let label = parent.label();
                    parent.inner.lock().news_of(label, closes_parents, is_first)
                };
                if is_only_way && up.is_some() {
                    heard.extend([Arc::as_ptr(node), Arc::as_ptr(&parent)]);
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

    fn news_of(&self, child: Label, closes_parents: bool, is_first: bool) -> Option<News<C>> {
        let parents: Vec<_> = self.parents().cloned().collect();
        (!parents.is_empty()).then_some(News { child, parents, closes_parents, is_first })
    }
}
