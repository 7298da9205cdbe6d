//! Failures on their way up: to the parents that close for a failed child, and to who is told of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::walk::Walk;
use super::{Inner, Node};
use crate::error::Error;
use crate::failure::{ChildFailure, Hook};
use crate::name::Label;
use crate::phase::Phase;
use crate::reason::Reason;

/// The failure that a walk carries: a walk begins with at most one.
#[derive(Default)]
pub(super) struct Failing {
    due: Vec<Failure>,
    /// Who has heard of it, since there may be several ways up.
    heard: HashSet<*const Node>,
}

/// A process has failed, and its parents are to hear of it.
pub(super) struct Failure {
    child: Label,
    error: Error,
    parents: Vec<Arc<Node>>,
    /// They close for it, whatever they do when a child fails.
    closes_parents: bool,
}

impl Walk {
    /// A failure that is due: before any report, so that those that wait are still open.
    pub(super) fn next_failure(&mut self) -> Option<Failure> {
        self.failing.as_mut()?.due.pop()
    }

    fn failing(&mut self) -> &mut Failing {
        self.failing.get_or_insert_default()
    }

    /// The process has failed: a part of its outcome, and a matter for its parents.
    pub(super) fn fail(&mut self, node: &Arc<Node>, inner: &mut Inner, error: Error) {
        let closes_parents = inner.rare.as_ref().is_some_and(|rare| rare.closes_parents);
        let parents: Vec<_> = inner.parents().cloned().collect();
        if !parents.is_empty() {
            let error = error.clone();
            self.failing().due.push(Failure {
                child: node.label(),
                error,
                parents,
                closes_parents,
            });
        }
        inner.add_failure(error);
    }

    /// Closes the parents that close for a failed child; its error is a part of their outcomes. That is a
    /// failure of theirs, and goes on to their parents.
    pub(super) fn carry(&mut self, failure: Failure) {
        let Failure { child, error, parents, closes_parents } = failure;
        for parent in parents {
            let mut inner = parent.inner.lock();
            // What an abort drops has not failed by itself.
            let dropped = matches!(error, Error::Aborted(_)) && parent.is_aborting();
            let hears = closes_parents || inner.closes_for_a_child() || inner.is_limiter();
            if dropped || !hears || parent.is_background() || parent.phase() == Phase::Closed {
                continue;
            }
            if !self.failing().heard.insert(Arc::as_ptr(&parent)) {
                continue;
            }
            if inner.is_limiter() {
                // Its children are those of its parents, and so are their failures.
                let (child, error) = (child.clone(), error.clone());
                let parents = inner.parents().cloned().collect();
                self.failing().due.push(Failure { child, error, parents, closes_parents });
                continue;
            }
            self.fail(&parent, &mut inner, error.clone());
            // It is settled when its children, the failed one among them, are closed.
            self.begin(&parent, &mut inner, Reason::ChildFailed(child.clone()), false);
        }
    }
}

/// Is there a hook in the program? Without one, a failure looks for none.
static HOOKS: AtomicBool = AtomicBool::new(false);

impl Node {
    pub(crate) fn add_hook(&self, hook: Hook) {
        self.inner.lock().rare().hooks.push(hook);
        hooks_are_used();
    }

    /// The hooks of the process and of all that it hangs under, the nearest first.
    pub(crate) fn hooks(self: &Arc<Self>) -> Vec<Hook> {
        let mut hooks = Vec::new();
        if !HOOKS.load(Ordering::Relaxed) {
            return hooks;
        }
        let mut seen = HashSet::from([Arc::as_ptr(self)]);
        let mut above = vec![self.clone()];
        let mut next = 0;
        while let Some(node) = above.get(next).cloned() {
            let inner = node.inner.lock();
            hooks.extend(inner.rare.iter().flat_map(|rare| &rare.hooks).cloned());
            above
                .extend(inner.parents().filter(|parent| seen.insert(Arc::as_ptr(parent))).cloned());
            drop(inner);
            next += 1;
        }
        hooks
    }
}

/// A process has got a hook.
pub(crate) fn hooks_are_used() {
    HOOKS.store(true, Ordering::Relaxed);
}

impl Inner {
    /// Who closes this process.
    fn parents(&self) -> impl Iterator<Item = &Arc<Node>> {
        let further = self.rare.iter().flat_map(|rare| &rare.ups).filter(|up| up.kind.closes());
        self.parent.iter().chain(further.map(|up| &up.target))
    }

    fn is_limiter(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.limit.is_some())
    }

    fn closes_for_a_child(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.on_child_failure == ChildFailure::Close)
    }
}
