//! The search for cycles that could never close (I5), and for rings of owning edges (I8).
//!
//! # Events and what they require
//!
//! Each process has two events: it begins to close, and it is Closed. They require other events to happen first:
//!
//! - "`q` is Closed" requires that `q` has begun to close, and that everything `q` waits for, or is blocked for, is
//!   Closed.
//! - "`q` begins to close" requires that every process after which `q` closes is Closed and, if `q` has parents, that
//!   one of them begins to close. That one is a *choice*. (A process may also close for another reason. But an order
//!   that relies on that could not be kept at the end of a program, when processes are closed only by their parents.)
//!
//! A new edge makes an event of its upper end require an event of its lower end. The edge is refused if the event of
//! the lower end requires that of the upper end, because then neither could ever happen. A wait-for cycle is the case
//! without choices. `p.close_after(&q)` is another case if `q` closes because of `p`.
//!
//! Processes that close each other, directly or around a ring, do not wait for each other. So a cycle is refused only
//! if the event "is Closed" of some process is on it. For this reason, when an edge adds a parent, the search
//! distinguishes a process that begins to close *together with* another from a process that begins to close *after* it.
//!
//! # The search
//!
//! The search alternates between both ends, so it costs at most twice as much as the cheaper side (I5).
//!
//! - The *upward* side collects every event that might require the event of the upper end, assuming the worst of each
//!   choice. If it finds that the event of the lower end requires that event whatever is chosen, the edge is refused at
//!   once. Otherwise, when everything is collected, it removes the events that can still happen, one after the other,
//!   as in a topological sort. The events that are left could never happen.
//! - The *downward* side collects every event that the event of the lower end might require. If it is exhausted without
//!   having met the upward side, there is no cycle. It cannot see through a Closing process, because the walk that
//!   closes the process may have taken its children. It skips the only parent of the upper process, the only parent of
//!   that parent, and so on: the upper process cannot begin to close unless they do, so if their closing required that
//!   of the upper process, there would already be a cycle. Therefore a search between two siblings does not go all the
//!   way up to the root. (This argument does not hold around a ring of processes that close each other.)

mod downward;
mod event;
mod upward;

use std::sync::Arc;

use downward::Downward;
#[cfg(all(feature = "tokio", not(loom)))]
pub(super) use event::CHUNK;
use event::Event;
use upward::Upward;

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::node::{Extras, Inner, Node};
use crate::value::sync::{Mutex, MutexGuard};
use crate::value::{Label, Phase};

/// The lock under which edges that could complete a cycle are searched for and linked (S7).
pub(super) type GraphLock = MutexGuard<'static, Graph>;

/// The facts that are known about the graph as a whole.
pub(super) struct Graph {
    /// There is, or was, a ring of processes that close each other.
    pub(super) has_rings: bool,
}

#[cfg(not(loom))]
pub(super) fn lock_graph() -> GraphLock {
    static GRAPH: Mutex<Graph> = Mutex::new(Graph { has_rings: false });
    GRAPH.lock()
}

#[cfg(loom)]
pub(super) fn lock_graph() -> GraphLock {
    loom::lazy_static! {
        static ref GRAPH: Mutex<Graph> = Mutex::new(Graph { has_rings: false });
    }
    GRAPH.lock()
}

/// The result of a search.
pub(super) struct Verdict<C: Contents> {
    /// The processes on a cycle that could never close, each of which requires the next.
    pub(super) cycle: Option<Vec<Label>>,
    /// The edge would complete a ring of owning edges.
    pub(super) completes_ring: bool,
    has_rings: bool,
    /// The nodes that were visited. They are dropped after the graph lock is released.
    _searched: Vec<(Upward<C>, Downward<C>)>,
}

/// Decides whether an edge may be added, and whether it would complete a ring.
pub(super) fn judge<C: Contents>(
    graph: &GraphLock,
    upper: &Arc<Node<C>>,
    lower: &Arc<Node<C>>,
    kind: EdgeKind,
) -> Verdict<C> {
    let mut verdict = Verdict {
        cycle: None,
        completes_ring: false,
        has_rings: graph.has_rings,
        _searched: Vec::new(),
    };
    let is_over = upper.phase() == Phase::Closed || lower.phase() == Phase::Closed;
    if is_over || lower.inner.lock().is_untouched() {
        return verdict;
    }
    if kind.requires_closed() {
        let is_ordered = kind.orders() && upper.phase() == Phase::Running;
        let dependent = if is_ordered { Event::BeginsToClose } else { Event::IsClosed };
        verdict.search((upper, dependent), (lower, Event::IsClosed));
    }
    // Without another parent, the lower process will begin to close only because of the upper one.
    let is_only_parent = || lower.inner.lock().parents().next().is_none();
    let is_running = lower.phase() == Phase::Running;
    if verdict.cycle.is_none() && kind.closes() && is_running && is_only_parent() {
        let new_parent = (upper, Event::BeginsToClose);
        verdict.search((lower, Event::BeginsToClose), new_parent);
    }
    if verdict.cycle.is_none() && kind.owns() {
        let ring = verdict.search((upper, Event::IsHeld), (lower, Event::IsHeld));
        verdict.completes_ring = ring;
        verdict.cycle = None;
    }
    verdict
}

impl<C: Contents> Verdict<C> {
    /// Does `required` itself require `dependent`, so that it could never happen first? If so, records the cycle.
    fn search(
        &mut self,
        dependent: (&Arc<Node<C>>, Event),
        required: (&Arc<Node<C>>, Event),
    ) -> bool {
        let goal = (Arc::as_ptr(required.0), required.1);
        // Two processes that begin to close together are not a cycle, so `required` has to come strictly after
        // `dependent`.
        let has_to_be_after = dependent.1 == required.1 && required.1 == Event::BeginsToClose;
        let mut upward = Upward::from(dependent);
        let mut downward = Downward::from(required);
        if !self.has_rings {
            downward.ancestors.begin(dependent.0);
        }
        let blocked = loop {
            let found = upward.found.get(&goal);
            if found.is_some_and(|found| found.is_certain && !has_to_be_after) {
                break true;
            }
            let is_found = found.is_some();
            if !upward.step() {
                break upward.is_blocked(goal, has_to_be_after);
            }
            if !is_found && downward.is_exhausted(&upward) && !upward.found.contains_key(&goal) {
                break false;
            }
        };
        if blocked {
            self.cycle = Some(upward.path(goal));
        }
        self._searched.push((upward, downward));
        blocked
    }
}

impl<C: Contents> Inner<C> {
    /// Has it no edges, so that an edge to it cannot complete a cycle or a ring?
    fn is_untouched(&self) -> bool {
        let has_edges = |extras: &Extras<C>| {
            let downs = [&extras.waits_for, &extras.closes_after, &extras.blocked_for];
            let ups = [&extras.parents, &extras.dependents];
            ups.iter().any(|ups| !ups.is_empty()) || downs.iter().any(|downs| !downs.is_empty())
        };
        self.parent.is_none()
            && !self.may_have_children()
            && !self.extras_ref().is_some_and(has_edges)
    }
}

/// Are all slots of `limiter` held by processes that wait for `waiting`, so that `waiting` would wait for ever for a
/// slot?
pub(crate) fn slots_wait_for<C: Contents>(limiter: &Arc<Node<C>>, waiting: &Arc<Node<C>>) -> bool {
    let mut upward = Upward::from((waiting, Event::IsClosed));
    while upward.step() {}
    limiter.all_slots_are_held_by(|child| {
        upward.found.contains_key(&(Arc::as_ptr(child), Event::IsClosed))
    })
}
