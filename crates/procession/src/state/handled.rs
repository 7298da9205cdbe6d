//! The rule that decides whether a failure is handled (I17). No other file knows it.
//!
//! A failure of a process is *handled* if one of these holds; otherwise it is *reported*.
//!
//! 1. A hook on the process or above it has been called. (The layer above knows, because it calls them.)
//! 2. The process is handed to a caller: its failures are left to that caller, which reads the outcome, or reports them
//!    when it lets go of the process without having read it.
//! 3. It has no parents: the outcome of a root belongs to the code that waits for it. (For the root of `Main`, that is
//!    `Main`, which returns it.)
//! 4. One of its open parents ignores failures of children.
//! 5. One of its open parents closes for it, and thereby fails itself, or its body passes the failure on; and *that*
//!    failure is handled by 2, 3, 4 or 5. (A hook above that parent is also above the process.)
//!
//! A limiter is transparent: the parents of the limiter count as parents of its children.
//!
//! *Nothing fails silently, because* each way up ends where the failure is expected: at a hook, a caller, or a process
//! that was told to ignore it. A parent that closes does not end the way: if it did, a failure could close half a
//! program without a word. With several parents, one that handles the failure is enough, because the code that set it
//! up has decided about this child; a second report of the same failure would be noise. Parents that are Closed decide
//! nothing any more, so a no-wait child that outlives its parents is reported; and so is a child of the background
//! process, which has the default rule. A ring of processes that close each other has no end, so its failure is
//! reported.
//!
//! *Nothing is reported twice, because* a failure is looked at once, where it happens, and each failure that is left to
//! a caller leaves the node once: with the read, or with the report.
//!
//! Work that is dropped because its process is aborted has not failed, so the layer above does not ask about it.

#[cfg(not(loom))]
use std::collections::HashSet;
#[cfg(not(loom))]
use std::sync::Arc;

use super::contents::Contents;
use super::node::Node;
use crate::value::ChildFailure;
#[cfg(not(loom))]
use crate::value::Phase;

/// A process whose parents have to be asked.
#[cfg(not(loom))]
struct Asking<C: Contents> {
    node: Arc<Node<C>>,
    /// The failure closes the parents, whatever they do when another child fails.
    closes_parents: bool,
}

impl<C: Contents> Node<C> {
    /// Hands the process to a caller, to whom its failures are left from now on.
    pub(crate) fn hand_over(&self) {
        self.inner.lock().extras().left_to_caller.get_or_insert_default();
    }

    /// From now on, the process ignores the failures of its children, because the code that made them reads their
    /// outcomes.
    pub(crate) fn ignore_failures_of_children(&self) {
        self.inner.lock().extras().on_child_failure = ChildFailure::Ignore;
    }

    /// From now on, the process passes the failures of its children on, because its body reads their outcomes and returns
    /// their errors. So whether one is handled is decided as for a failure of this process.
    pub(crate) fn pass_failures_on(&self) {
        self.inner.lock().extras().passes_failures_on = true;
    }

    /// The caller lets go of the process. Its failures are no longer left to the caller; those that were are returned.
    pub(crate) fn take_back(&self) -> Vec<C::Failure> {
        let mut inner = self.inner.lock();
        let left = inner.extras_mut().and_then(|extras| extras.left_to_caller.take());
        left.unwrap_or_default()
    }

    /// Does something other than a hook handle this failure of the process? If that is a caller, the failure is left to
    /// it.
    #[cfg(not(loom))]
    pub(crate) fn is_handled(self: &Arc<Self>, failure: &C::Failure) -> bool {
        let mut asking = Vec::new();
        if self.arrive(failure, &mut asking) {
            return true;
        }
        // There may be several ways up, or a ring.
        let mut seen = HashSet::new();
        while let Some(Asking { node, closes_parents }) = asking.pop() {
            if !seen.insert(Arc::as_ptr(&node)) {
                continue;
            }
            let parents: Vec<_> = node.inner.lock().parents().cloned().collect();
            for parent in parents {
                if parent.phase() == Phase::Closed || parent.is_background() {
                    continue;
                }
                let inner = parent.inner.lock();
                let is_limiter = inner.is_limiter();
                let extras = inner.extras_ref();
                let passes_on = extras.is_some_and(|extras| extras.passes_failures_on);
                let rule = extras.map(|extras| extras.on_child_failure);
                drop(inner);
                if is_limiter {
                    asking.push(Asking { node: parent, closes_parents });
                    continue;
                }
                let is_handled = match rule.unwrap_or_default() {
                    _ if closes_parents || passes_on => parent.arrive(failure, &mut asking),
                    ChildFailure::Report => false,
                    ChildFailure::Ignore => true,
                    ChildFailure::Close => parent.arrive(failure, &mut asking),
                };
                if is_handled {
                    return true;
                }
            }
        }
        false
    }

    /// Is this process, or one above it, at that address?
    #[cfg(not(loom))]
    pub(crate) fn is_below(self: &Arc<Self>, address: usize) -> bool {
        let (mut up, mut seen) = (vec![self.clone()], HashSet::new());
        while let Some(node) = up.pop() {
            if Arc::as_ptr(&node).addr() == address {
                return true;
            }
            if seen.insert(Arc::as_ptr(&node)) {
                up.extend(node.inner.lock().parents().cloned());
            }
        }
        false
    }

    /// The failure is one of this process: leaves it to the caller, if there is one. If the process is a root, it is
    /// handled as well. Otherwise its parents have to be asked.
    #[cfg(not(loom))]
    fn arrive(self: &Arc<Self>, failure: &C::Failure, asking: &mut Vec<Asking<C>>) -> bool {
        let mut inner = self.inner.lock();
        let left = inner.extras_mut().and_then(|extras| extras.left_to_caller.as_mut());
        if let Some(left) = left {
            left.push(failure.clone());
            return true;
        }
        if inner.parents().next().is_none() {
            return true;
        }
        let closes_parents = inner.closes_parents();
        asking.push(Asking { node: self.clone(), closes_parents });
        false
    }
}
