//! The initial values of [`More`] and [`Extras`], and access to their lists.

use std::sync::{Arc, Weak};

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::node::{Down, Extras, More, Node};
use super::stable_list::StableList;
use crate::value::ChildFailure;

impl<C: Contents> Default for More<C> {
    fn default() -> Self {
        Self { children: StableList::new(), waiters: None, extras: None, watch: None }
    }
}

impl<C: Contents> More<C> {
    /// Might edges lead down from the process? A process that is only watched, or waited for, has none.
    pub(super) fn may_have_edges(&self) -> bool {
        self.extras.is_some() || self.children.may_have_entries()
    }
}

impl<C: Contents> Extras<C> {
    /// The list of the upper ends of edges of this kind, which must not be a kind that closes.
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
            shown_waits: StableList::new(),
            other_waits: 0,
            children_closed: 0,
            postponed: None,
            aborted_at: None,
            failures: Vec::new(),
            past_limit: None,
            limit_report: None,
            reason: None,
            left_to_caller: None,
            left_to_readers: Vec::new(),
            calls: None,
            on_child_failure: ChildFailure::default(),
            passes_failures_on: false,
            closes_parents: false,
            hooks: Vec::new(),
            calling_hooks: Vec::new(),
            known_hooks: None,
            has_had_no_wait_child: false,
            #[cfg(all(feature = "tokio-util", not(loom)))]
            tokens: Vec::new(),
            limit: None,
            attached: None,
        }
    }
}
