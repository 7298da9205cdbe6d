//! [`More`] and [`Extras`]: the parts of a node that a leaf without waiters does not need, so that it is one
//! allocation.

use std::sync::{Arc, Weak};

use super::calls::Calls;
use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::known_hooks::KnownHooks;
use super::limit::Limit;
use super::node::Node;
#[cfg(all(feature = "tokio-util", not(loom)))]
use super::sleepers::Moment;
use super::sleepers::Waiters;
use super::stable_list::StableList;
use super::time_limit::LimitReport;
use super::watched::Watch;
use crate::value::stamp::Stamp;
use crate::value::{ChildFailure, Reason};

/// The children, the sleepers that find no room in the node itself, and the extras.
pub(super) struct More<C: Contents> {
    /// The children that the process waits for.
    pub(super) children: Children<C>,
    pub(super) waiters: Option<Box<Waiters>>,
    pub(super) extras: Option<Box<Extras<C>>>,
    /// If the process is watched.
    pub(super) watch: Option<Watch<C>>,
}

/// The children of a process, each in the place that its up edge names. The closing walk takes the children that are
/// there when it begins, and puts back those that stay open, so that an abort finds them.
pub(super) type Children<C> = StableList<Arc<Node<C>>>;

/// The fields that few processes need.
pub(crate) struct Extras<C: Contents> {
    /// The teardown, if a sleeper has taken the room in `Inner::teardown_or_sleeper`.
    pub(super) teardown: Option<C::Teardown>,
    /// The children that the process closes and does not wait for.
    pub(super) no_wait_children: Option<Box<Children<C>>>,
    /// The hooks that become children when the process begins to close.
    pub(super) closing_hooks: Option<Box<Children<C>>>,
    /// The up edges that close this process, other than the one to `Inner::parent`.
    pub(super) parents: StableList<Up<C>>,
    /// The up edges that do not close this process: to those that wait for it, or are closed after it.
    pub(super) dependents: StableList<Up<C>>,
    /// The processes that this one waits for without closing them.
    pub(super) waits_for: StableList<Down<C>>,
    /// The processes that it waits for, and that must be Closed before its parents close it.
    pub(super) closes_after: StableList<Down<C>>,
    /// The processes for which threads that run its code are blocked.
    pub(super) blocked_for: StableList<Down<C>>,
    /// The limiters for whose slots threads that run its code are blocked.
    pub(super) slot_waits: StableList<Weak<Node<C>>>,
    /// The number of edges along which it waits for processes that are not its children; the report of the end of its
    /// time limit counts too.
    pub(super) other_waits: u32,
    /// The number of times that the sleepers waiting for the children were taken.
    pub(super) children_closed: u32,
    /// A parent has closed it while `closes_after` held it open, perhaps by force.
    pub(super) postponed: Option<Postponed>,
    /// When it was aborted, if it was not aborted together with a process above it.
    pub(super) aborted_at: Option<Stamp>,
    /// The errors of its body, its teardown, and of children that it closed for; merged when it is Closed.
    pub(super) failures: Vec<C::Failure>,
    /// The failure of a process whose time limit is over, which is then its only one.
    pub(super) past_limit: Option<C::Failure>,
    /// The report of that failure is due, and the process ends only after it.
    pub(super) limit_report: Option<LimitReport>,
    pub(super) reason: Option<Reason>,
    /// The failures that are left to the caller that the process is handed to; `None` if it is handed to none.
    pub(super) left_to_caller: Option<Vec<C::Failure>>,
    /// The calls, if it is a periodic process that goes on when one of them fails.
    pub(super) calls: Option<Box<Calls<C>>>,
    /// The reaction of the process to the failure of a child.
    pub(crate) on_child_failure: ChildFailure,
    /// Its failure closes its parents, whatever they do when another child fails.
    pub(crate) closes_parents: bool,
    /// The hooks for failures in its tree.
    pub(crate) hooks: Vec<C::Hook>,
    /// The hooks above it, if it has looked for them.
    pub(super) known_hooks: Option<KnownHooks<C>>,
    /// It closes, or has closed, a process without waiting for it.
    pub(super) has_had_no_wait_child: bool,
    #[cfg(all(feature = "tokio-util", not(loom)))]
    pub(super) tokens: Vec<(Moment, C::Token)>,
    /// The slots for its children, if it limits their number.
    pub(crate) limit: Option<Limit>,
}

/// A closing by a parent that waits until nothing in `closes_after` holds the process open.
#[derive(Clone, Copy)]
pub(super) struct Postponed {
    pub(super) abort: bool,
}

/// An edge, as it is stored at its lower end.
pub(super) struct Up<C: Contents> {
    pub(super) target: Arc<Node<C>>,
    /// The place in the target's list of such edges.
    pub(super) place: u32,
    pub(super) kind: EdgeKind,
}

/// An edge that does not close, as it is stored at its upper end.
pub(super) struct Down<C: Contents> {
    /// Weak, because a process that waits for another does not hold it.
    pub(super) target: Weak<Node<C>>,
    /// The place in the target's `ups`.
    pub(super) place: u32,
}

impl<C: Contents> Default for More<C> {
    fn default() -> Self {
        Self { children: StableList::new(), waiters: None, extras: None, watch: None }
    }
}

impl<C: Contents> Extras<C> {
    /// The list of the edges of this kind, which must not be one that closes.
    pub(super) fn downs(&mut self, kind: EdgeKind) -> &mut StableList<Down<C>> {
        if kind == EdgeKind::BLOCKED {
            &mut self.blocked_for
        } else if kind.orders() {
            &mut self.closes_after
        } else {
            &mut self.waits_for
        }
    }
}

impl<C: Contents> Down<C> {
    /// The process at the lower end, if it still exists.
    pub(super) fn upgrade(&self) -> Option<Arc<Node<C>>> {
        Weak::upgrade(&self.target)
    }
}

impl<C: Contents> Default for Extras<C> {
    fn default() -> Self {
        Self {
            teardown: None,
            no_wait_children: None,
            closing_hooks: None,
            parents: StableList::new(),
            dependents: StableList::new(),
            waits_for: StableList::new(),
            closes_after: StableList::new(),
            blocked_for: StableList::new(),
            slot_waits: StableList::new(),
            other_waits: 0,
            children_closed: 0,
            postponed: None,
            aborted_at: None,
            failures: Vec::new(),
            past_limit: None,
            limit_report: None,
            reason: None,
            left_to_caller: None,
            calls: None,
            on_child_failure: ChildFailure::default(),
            closes_parents: false,
            hooks: Vec::new(),
            known_hooks: None,
            has_had_no_wait_child: false,
            #[cfg(all(feature = "tokio-util", not(loom)))]
            tokens: Vec::new(),
            limit: None,
        }
    }
}
