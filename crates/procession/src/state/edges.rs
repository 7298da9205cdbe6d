//! Adding and removing edges.

use std::mem;
use std::sync::Arc;

use super::contents::Contents;
use super::cycle::{self, GraphLock};
use super::edge_kind::EdgeKind;
use super::effects::Effects;
use super::node::{Down, Inner, Node, Up};
use super::phase_word::Holder;
use super::scope::Scope;
use super::seed::Seed;
use super::watched::inherit;
use crate::value::sync::Ordering;
use crate::value::{LinkError, Phase, Reason};

/// The result of [`fresh_child`].
#[must_use = "the child of a Closing parent has to be closed"]
pub(crate) enum Added {
    /// The child was added to a Running parent.
    Open,
    /// The child was added to a Closing parent: the caller must close it.
    Late,
    /// The child was not added, because the parent has started its teardown.
    Refused,
}

/// Makes a child of `parent` from the seed. `scope` has the observers that its maker gives it.
///
/// This needs no search for a cycle (S7), and takes no lock but the parent's, unless the child is refused or watched.
#[inline(always)]
pub(crate) fn fresh_child<C: Contents>(
    parent: &Arc<Node<C>>,
    seed: Seed<C>,
    scope: Option<Arc<Scope<C>>>,
) -> (Arc<Node<C>>, Added) {
    let child = Arc::new(Node::with_parent(seed, Some(parent.clone()), Holder::Parent));
    let mut inner = parent.inner.lock();
    if inner.teardown.has_started() {
        drop(inner);
        child.inner.lock().parent = None;
        return (child, Added::Refused);
    }
    parent.increment_waiting();
    if parent.phase.is_watched() || scope.is_some() {
        inner.watch_fresh(parent, &child, scope);
    }
    if parent.phase() == Phase::Running {
        inner.add_open_child(&child);
        return (child, Added::Open);
    }
    let dead = inner.add_late_child(child.clone(), EdgeKind::CHILD);
    drop(inner);
    drop(dead);
    (child, Added::Late)
}

/// Adds an edge from `upper` down to `lower`.
pub(crate) fn link<C: Contents>(
    upper: &Arc<Node<C>>,
    lower: &Arc<Node<C>>,
    kind: EdgeKind,
) -> Result<Effects<C>, LinkError> {
    if lower.is_background() || upper.is_background() && !kind.closes() {
        return Err(LinkError::Background);
    }
    if Arc::ptr_eq(upper, lower) {
        return Err(LinkError::cycle(vec![upper.label()]));
    }
    let linked = link_judged(upper, lower, kind)?;
    if kind.closes() && upper.phase.is_watched() {
        inherit(upper, lower);
    }
    match linked {
        Linked::Nothing | Linked::At { .. } => Ok(Effects::default()),
        Linked::Close => Ok(lower.close(&Reason::ParentClosed, upper.is_aborting())),
        Linked::Refused => Err(LinkError::Closed(upper.label())),
    }
}

/// The result of [`link_judged`].
pub(super) enum Linked {
    /// No edge was added, because the lower process is Closed.
    Nothing,
    /// The edge was added, at this place in the list of the upper process.
    At { place: u32 },
    /// The edge was added, and the upper process is Closing: the caller must close the lower one.
    Close,
    /// The edge was not added, because the upper process has started its teardown.
    Refused,
}

/// Adds an edge, unless it would complete a cycle that could never close (S7). An edge that would complete a ring of
/// owning edges is added without owning (S5).
pub(super) fn link_judged<C: Contents>(
    upper: &Arc<Node<C>>,
    lower: &Arc<Node<C>>,
    kind: EdgeKind,
) -> Result<Linked, LinkError> {
    let mut graph = cycle::lock_graph();
    let mut verdict = cycle::judge(&graph, upper, lower, kind);
    let linked = match verdict.cycle.take() {
        Some(path) => Err(LinkError::cycle(path)),
        None => {
            graph.has_rings |= verdict.completes_ring;
            let kind = if verdict.completes_ring { kind.without_owning() } else { kind };
            Ok(link_locked(&graph, upper, lower, kind))
        }
    };
    drop(graph);
    drop(verdict);
    linked
}

/// Adds an edge that is known to complete no cycle.
fn link_locked<C: Contents>(
    _graph: &GraphLock,
    upper: &Arc<Node<C>>,
    lower: &Arc<Node<C>>,
    kind: EdgeKind,
) -> Linked {
    let mut above = upper.inner.lock();
    let mut below = lower.inner.lock();
    // Code of a process may block at any time before the process is Closed.
    let may_block = kind == EdgeKind::BLOCKED && upper.phase() != Phase::Closed;
    if above.teardown.has_started() && !may_block {
        return Linked::Refused;
    }
    if lower.phase() == Phase::Closed {
        return Linked::Nothing;
    }
    let is_running = upper.phase() == Phase::Running;
    if kind.waits() {
        upper.increment_waiting();
        if !kind.closes() {
            above.extras().other_waits += 1;
        }
    }
    if kind.closes() {
        below.forget_hooks_above();
        if !kind.waits() {
            above.extras().has_had_no_wait_child = true;
        }
        if !is_running {
            below.add_up(lower, Up { target: upper.clone(), place: 0, kind });
            let dead = above.add_late_child(lower.clone(), kind);
            drop((below, above));
            drop(dead);
            return Linked::Close;
        }
        let place = above.children(kind).insert(lower.clone());
        below.add_up(lower, Up { target: upper.clone(), place, kind });
        return Linked::At { place };
    }
    let downs = above.extras().downs(kind);
    let new = Down { target: Arc::downgrade(lower), place: 0 };
    // A Closing process removes its edges only when it becomes Closed, and must not grow until then, so edges to Closed
    // processes are swept out. But a blocked edge is removed by the thread that is blocked, which knows its place.
    let (place, dead) = if is_running || kind == EdgeKind::BLOCKED {
        (downs.insert(new), Vec::new())
    } else {
        let is_closed = |node: Arc<Node<C>>| node.phase() == Phase::Closed;
        downs.insert_and_sweep(new, |down| down.upgrade().is_none_or(is_closed))
    };
    let up_place = below.add_up(lower, Up { target: upper.clone(), place, kind });
    if let Some(down) = downs.get_mut(place) {
        down.place = up_place;
    }
    drop((below, above));
    drop(dead);
    Linked::At { place }
}

/// Closes a process that was refused one of its edges. Its wait-for edges are removed, so it is Closed as soon as it no
/// longer waits for its maker. No caller has a handle to it.
pub(crate) fn unlink_all<C: Contents>(node: &Arc<Node<C>>) -> Effects<C> {
    let graph = cycle::lock_graph();
    let mut targets = Vec::new();
    if let Some(extras) = node.inner.lock().extras_mut() {
        for kind in [EdgeKind::WAIT_FOR, EdgeKind::CLOSE_AFTER] {
            targets.extend(mem::take(extras.downs(kind)));
        }
    }
    let mut removed = Vec::new();
    for Down { target, place } in targets {
        let Some(target) = target.upgrade() else { continue };
        let mut inner = node.inner.lock();
        let mut below = target.inner.lock();
        // A target that is Closed has already taken its end of the edge, and will release it.
        let up = below.extras_mut().and_then(|extras| extras.dependents.remove(place));
        // An edge that only orders closings is not counted.
        if up.as_ref().is_some_and(|up| up.kind.waits()) {
            node.decrement_waiting();
            inner.decrement_other_waits();
        }
        drop((below, inner));
        removed.push((up, target));
    }
    drop(graph);
    drop(removed);
    node.close(&Reason::Dropped, false)
}

impl<C: Contents> Inner<C> {
    /// Adds a fresh child to a Running process, whose `waiting` already counts the child.
    #[inline(always)]
    pub(super) fn add_open_child(&mut self, child: &Arc<Node<C>>) {
        let place = self.children(EdgeKind::CHILD).insert(child.clone());
        child.place.store(place, Ordering::Relaxed);
    }

    /// Adds a child to a Closing process. Such a process keeps its children until it is Closed. To keep it from growing
    /// until then, Closed children are swept out from time to time, and are returned for the caller to drop.
    pub(super) fn add_late_child(
        &mut self,
        child: Arc<Node<C>>,
        kind: EdgeKind,
    ) -> Vec<Arc<Node<C>>> {
        let is_closed = |child: &Arc<Node<C>>| child.phase() == Phase::Closed;
        self.children(kind).insert_and_sweep(child, is_closed).1
    }

    /// Adds the lower end of an edge. Returns its place in the list, or 0 if it became the edge to the first parent,
    /// which is in no list.
    fn add_up(&mut self, node: &Node<C>, up: Up<C>) -> u32 {
        let is_plain_child = up.kind == EdgeKind::CHILD;
        if self.parent.is_none() && is_plain_child {
            node.place.store(up.place, Ordering::Relaxed);
            self.parent = Some(up.target);
            self.parent_edge = up.kind;
            return 0;
        }
        let extras = self.extras();
        let list = if up.kind.closes() { &mut extras.parents } else { &mut extras.dependents };
        list.insert(up)
    }

    /// Removes the upper end of an edge to a Closed process. If that was a child, it is returned for the caller to
    /// drop.
    pub(super) fn remove_edge(&mut self, place: u32, kind: EdgeKind) -> Option<Arc<Node<C>>> {
        if kind.closes() {
            return self.children(kind).remove(place);
        }
        self.extras_mut()?.downs(kind).remove(place);
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::node::Node;
    use super::super::seed::Seed;
    use super::super::testing::Plain;
    use super::fresh_child;
    use crate::value::{Reason, Site};

    fn seed(teardown: Option<&'static str>) -> Seed<Plain> {
        Seed { teardown, ..Seed::at(Site::caller()) }
    }

    /// Room is reserved for the teardowns of siblings once, and not for the one of their parent.
    #[test]
    fn room_is_reserved_for_the_teardowns_of_siblings() {
        for (of_parent, of_children) in [(true, false), (false, true), (true, true)] {
            let parent = Node::new(seed(of_parent.then_some("parent")), None);
            for _ in 0..1_000 {
                drop(fresh_child(&parent, seed(of_children.then_some("child")), None));
            }
            let due = parent.close(&Reason::Asked, false).take_due();
            let expected = if of_children { 1_000 } else { 1 };
            assert_eq!(due.len(), expected);
            assert!(due.capacity() < expected + 8, "{} places", due.capacity());
        }
    }
}
