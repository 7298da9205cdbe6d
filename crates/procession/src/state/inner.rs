//! Access to [`Inner`], the part of a node that its lock guards.

use std::mem;
use std::sync::Arc;

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::node::{Children, Extras, Inner, More, Node, Postponed, TeardownStage, Up};
use super::sleepers::TeardownOrSleeper;
use crate::value::stamp::Stamp;
use crate::value::sync::Ordering;
use crate::value::{BriefReason, ChildFailure, Phase, Reason};

impl<C: Contents> Inner<C> {
    #[inline(always)]
    pub(super) fn new(
        parent: Option<Arc<Node<C>>>,
        parent_edge: EdgeKind,
        teardown: Option<C::Teardown>,
        extras: Option<Box<Extras<C>>>,
    ) -> Self {
        let (teardown, teardown_or_sleeper) = match teardown {
            Some(teardown) => (TeardownStage::Set, TeardownOrSleeper::Teardown(teardown)),
            None => (TeardownStage::Unset, TeardownOrSleeper::Empty),
        };
        let more = extras.map(|extras| Box::new(More { extras: Some(extras), ..More::default() }));
        Self {
            parent,
            parent_edge,
            teardown,
            reason: None,
            closing_since_low: 0,
            closing_since_high: 0,
            teardown_or_sleeper,
            more,
        }
    }

    pub(super) fn more(&mut self) -> &mut More<C> {
        self.more.get_or_insert_default()
    }

    /// The extras, which are created if there are none.
    pub(super) fn extras(&mut self) -> &mut Extras<C> {
        self.more().extras.get_or_insert_default()
    }

    #[inline]
    pub(super) fn extras_ref(&self) -> Option<&Extras<C>> {
        self.more.as_deref()?.extras.as_deref()
    }

    #[inline]
    pub(super) fn extras_mut(&mut self) -> Option<&mut Extras<C>> {
        self.more.as_deref_mut()?.extras.as_deref_mut()
    }

    /// The list of the children of this kind, which is created if there is none.
    #[inline]
    pub(super) fn children(&mut self, kind: EdgeKind) -> &mut Children<C> {
        if kind.waits() {
            &mut self.more().children
        } else {
            self.extras().no_wait_children.get_or_insert_default()
        }
    }

    /// The children that the process waits for.
    #[inline]
    pub(super) fn waited_children(&self) -> Option<&Children<C>> {
        self.more.as_deref().map(|more| &more.children)
    }

    pub(super) fn no_wait_children(&self) -> Option<&Children<C>> {
        self.extras_ref()?.no_wait_children.as_deref()
    }

    /// Does the process have children, or has a walk taken some?
    pub(super) fn may_have_children(&self) -> bool {
        let lists = self.waited_children().into_iter().chain(self.no_wait_children());
        lists.into_iter().any(Children::<C>::may_have_entries)
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason?.get().or_else(|| self.extras_ref()?.reason.as_ref()).cloned()
    }

    #[inline]
    pub(super) fn has_reason(&self) -> bool {
        self.reason.is_some()
    }

    #[inline]
    pub(super) fn set_reason(&mut self, reason: &Reason) {
        let brief = BriefReason::from(reason);
        if brief == BriefReason::Detailed {
            self.extras().reason = Some(reason.clone());
        }
        self.reason = Some(brief);
    }

    /// The time at which the process began to close.
    #[inline]
    pub(super) fn closing_since(&self) -> Option<Stamp> {
        Stamp::from_parts(self.closing_since_low, self.closing_since_high)
    }

    #[inline]
    pub(super) fn set_closing_since(&mut self, since: Stamp) {
        (self.closing_since_low, self.closing_since_high) = since.parts();
    }

    /// Merges the failures, when the process becomes Closed.
    pub(super) fn merge_failures(&mut self) {
        if self.extras_ref().is_none() {
            return;
        }
        let failed_calls = self.take_failed_calls();
        let Some(extras) = self.extras_mut() else { return };
        extras.failures.extend(failed_calls);
        if let Some(past_limit) = extras.past_limit.take() {
            extras.failures = vec![past_limit];
        }
        if extras.failures.len() > 1 {
            let merged = C::merge(mem::take(&mut extras.failures));
            extras.failures.push(merged);
        }
    }

    /// Drops the hooks, when the process becomes Closed, because one of them may hold a handle to the process itself.
    /// They stay if the process has had a no-wait child, because they must be called for a failure of one that outlives
    /// it.
    pub(super) fn forget_hooks(&mut self) {
        if let Some(extras) = self.extras_mut() {
            extras.known_hooks = None;
            if !extras.has_had_no_wait_child {
                extras.hooks = Vec::new();
            }
        }
    }

    /// Takes the edge to the first parent; the caller releases it (S2).
    #[inline]
    pub(super) fn take_first_up(&mut self, node: &Node<C>) -> Option<Up<C>> {
        let target = self.parent.take()?;
        Some(Up { target, place: node.place.load(Ordering::Relaxed), kind: self.parent_edge })
    }

    /// Takes the other up edges; the caller releases them (S2).
    pub(super) fn take_further_ups(&mut self) -> impl Iterator<Item = Up<C>> + use<C> {
        let extras = self.extras_mut();
        let lists =
            extras.map(|extras| [&mut extras.parents, &mut extras.dependents].map(mem::take));
        lists.into_iter().flatten().flatten()
    }

    /// The processes that close this one, with the kinds of the edges.
    fn closing_ups(&self) -> impl Iterator<Item = (&Arc<Node<C>>, EdgeKind)> {
        let first = self.parent.iter().map(|parent| (parent, self.parent_edge));
        let further = self.extras_ref().into_iter().flat_map(|extras| extras.parents.iter());
        first.chain(further.map(|up| (&up.target, up.kind)))
    }

    /// The processes that close this one.
    pub(super) fn parents(&self) -> impl Iterator<Item = &Arc<Node<C>>> {
        self.closing_ups().map(|(parent, _)| parent)
    }

    /// Does the process have parents, none of which waits for it?
    #[inline]
    pub(super) fn is_no_wait_child(&self) -> bool {
        self.parent.is_none() && none_waits(self.closing_ups().map(|(_, kind)| kind))
    }

    /// Does a parent hold it open (S5)?
    pub(super) fn is_held(&self) -> bool {
        self.closing_ups().any(|(parent, kind)| kind.owns() && parent.phase() != Phase::Closed)
    }

    pub(super) fn closes_for_a_child(&self) -> bool {
        let extras = self.extras_ref();
        extras.is_some_and(|extras| extras.on_child_failure == ChildFailure::Close)
    }

    pub(super) fn is_limiter(&self) -> bool {
        self.extras_ref().is_some_and(|extras| extras.limit.is_some())
    }
}

/// Is there at least one edge, and does none of them wait?
fn none_waits(edges: impl Iterator<Item = EdgeKind>) -> bool {
    let mut edges = edges.peekable();
    edges.peek().is_some() && edges.all(|kind| !kind.waits())
}

/// The questions of a closing walk.
impl<C: Contents> Inner<C> {
    /// Is the process *bare*: without sleepers, children, observers and [`Extras`]? Then closing
    /// it concerns only its phase, its teardown and its first parent.
    #[inline]
    pub(super) fn is_bare(&self) -> bool {
        self.more.is_none() && !self.has_sleepers()
    }

    /// May the process have sleepers? One that has children or observers often has none.
    #[inline]
    pub(super) fn is_awaited(&self) -> bool {
        let is_free = matches!(
            self.teardown_or_sleeper,
            TeardownOrSleeper::Empty | TeardownOrSleeper::Teardown(_)
        );
        !is_free || self.more.as_deref().is_some_and(|more| more.waiters.is_some())
    }

    /// Must a closing by a parent be postponed, because another process is not Closed yet?
    pub(super) fn is_held_open(&self) -> bool {
        self.extras_ref().is_some_and(|extras| !extras.closes_after.is_empty())
    }

    /// Has a parent aborted the process while its closing was postponed?
    #[inline]
    pub(super) fn is_abort_postponed(&self) -> bool {
        let postponed = self.extras_ref().and_then(|extras| extras.postponed);
        postponed.is_some_and(|postponed| postponed.abort)
    }

    /// A parent closes the process: postpones that if the process is held open. Returns whether it is.
    #[inline]
    pub(super) fn postpone(&mut self, abort: bool) -> bool {
        let is_held_open = self.is_held_open();
        if is_held_open {
            let before = self.extras().postponed.is_some_and(|postponed| postponed.abort);
            self.extras().postponed = Some(Postponed { abort: before || abort });
        }
        is_held_open
    }
}
