//! The rule that decides whether a failure is handled (I17). It is in no other file.
//!
//! A failure of a process is *handled* if one of these holds; otherwise it is *reported*.
//!
//! 1. A hook on the process or above it has been called. (The layer above knows, because it calls them.)
//! 2. The process was handed to a caller. Its failures are left to that caller, which either reads the outcome or, if
//!    it drops the process unread, reports them.
//! 3. The process has no parents, and somebody can read its outcome, because there is a handle to it or a waiter for
//!    its end: the outcome of a root belongs to that code. The failure is left to it. If the last handle and waiter are
//!    dropped and nobody has read the outcome, the failure is reported. (The root of `Main` is read by `Main`.)
//! 4. One of its open parents ignores failures of children.
//! 5. One of its open parents closes for it, and thus fails itself, or the body of that parent passes the failure on;
//!    and *that* failure is handled according to 2, 3, 4 or 5. (A hook above that parent is also above the process.)
//!
//! A limiter is transparent: the parents of the limiter count as parents of its children.
//!
//! *Nothing fails silently, because* a failure counts as handled only where it is expected: at a hook, a caller, the
//! code that has a root, or a process that was told to ignore it. A parent that closes is not such a place: if it were,
//! a failure could close half a program without any report. If there are several parents, one that handles the failure
//! is enough, because the code that set up that parent has decided about this child; another report of the same failure
//! would be noise. Closed parents no longer decide anything, so the failure of a no-wait child that outlives its
//! parents is reported. So is the failure of a child of the background process, which has the default rule. A ring of
//! processes that close each other has no top, so its failure is reported.
//!
//! *A root whose outcome nobody can read is found, because* the handles and waiters of a process that is made without a
//! parent [are counted](super::readers) until the last one is dropped, and a body drops its own handle before its
//! failure is judged.
//!
//! *Nothing is reported twice, because* the rule is applied once to each failure, where it happens, and each failure
//! that is left to a caller or to readers leaves the node once: when the outcome is read, or when it is reported. The
//! one exception is a supervisor: it ignores the failures of its units (4), and decides later whether a restart handles
//! them. The label of an error records that it was reported or that hooks were called for it. So if the supervisor
//! leaves a failure to others (`support::report_failure`), it is not reported again.
//!
//! Work that is dropped because its process is aborted has not failed, so the layer above does not apply the rule to
//! it.

#[cfg(not(loom))]
use std::collections::HashSet;
#[cfg(not(loom))]
use std::sync::Arc;

use super::contents::Contents;
use super::node::Node;
use crate::value::ChildFailure;
#[cfg(not(loom))]
use crate::value::Phase;

/// A process whose parents may handle the failure.
#[cfg(not(loom))]
struct Asking<C: Contents> {
    node: Arc<Node<C>>,
    /// The failure closes the parents, whatever they do when another child fails.
    closes_parents: bool,
}

impl<C: Contents> Node<C> {
    /// Hands the process to a caller: from now on, its failures are left to that caller.
    pub(crate) fn hand_over(&self) {
        self.inner.lock().extras().left_to_caller.get_or_insert_default();
    }

    /// From now on, the process ignores the failures of its children, because the code that makes the children reads
    /// their outcomes.
    pub(crate) fn ignore_failures_of_children(&self) {
        self.inner.lock().extras().on_child_failure = ChildFailure::Ignore;
    }

    /// From now on, the process passes the failures of its children on, because its body reads their outcomes and
    /// returns their errors. A failure of a child is then handled if such a failure of this process would be.
    pub(crate) fn pass_failures_on(&self) {
        self.inner.lock().extras().passes_failures_on = true;
    }

    /// The caller no longer reads the outcome, so no more failures are left to it. Returns those that were.
    pub(crate) fn take_left_failures(&self) -> Vec<C::Failure> {
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
        let mut visited = HashSet::new();
        while let Some(Asking { node, closes_parents }) = asking.pop() {
            if !visited.insert(Arc::as_ptr(&node)) {
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

    /// Is the node at this address that of the process, or of one above it?
    #[cfg(not(loom))]
    pub(crate) fn is_below(self: &Arc<Self>, address: usize) -> bool {
        let (mut up, mut visited) = (vec![self.clone()], HashSet::new());
        while let Some(node) = up.pop() {
            if Arc::as_ptr(&node).addr() == address {
                return true;
            }
            if visited.insert(Arc::as_ptr(&node)) {
                up.extend(node.inner.lock().parents().cloned());
            }
        }
        false
    }

    /// Applies rules 2 and 3 to a failure of this process: leaves it to the caller or to the readers. Returns whether
    /// it is handled; if not, adds the process to those whose parents may handle it.
    #[cfg(not(loom))]
    fn arrive(self: &Arc<Self>, failure: &C::Failure, asking: &mut Vec<Asking<C>>) -> bool {
        let mut inner = self.inner.lock();
        let left = inner.extras_mut().and_then(|extras| extras.left_to_caller.as_mut());
        if let Some(left) = left {
            left.push(failure.clone());
            return true;
        }
        if inner.parents().next().is_none() {
            return self.leave_to_readers(&mut inner, failure);
        }
        let closes_parents = inner.closes_parents();
        asking.push(Asking { node: self.clone(), closes_parents });
        false
    }
}
