//! Edges: linking processes, and what a node keeps of its edges.

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::cycle::{self, GraphLock};
use super::places::Places;
use super::walk::Effects;
use super::{Inner, Node, Seed};
use crate::error::LinkError;
use crate::phase::Phase;
use crate::reason::Reason;

/// What an edge from `p` down to `q` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeKind {
    /// `p` closes `q` and waits for it.
    Child,
    /// The same, and `q` holds a slot of `p`.
    LimitedChild,
    /// `p` closes `q`.
    NoWaitChild,
    /// `p` waits for `q`.
    WaitFor,
    /// `p` waits for `q`, and its parents close it only after that is Closed.
    CloseAfter,
}

impl EdgeKind {
    pub(super) fn waits(self) -> bool {
        self != Self::NoWaitChild
    }

    pub(super) fn closes(self) -> bool {
        !matches!(self, Self::WaitFor | Self::CloseAfter)
    }
}

/// An edge as the process at its lower end keeps it.
pub(super) struct Up {
    pub(super) target: Arc<Node>,
    /// The place in the target's list of children, if the edge closes.
    pub(super) place: u32,
    pub(super) kind: EdgeKind,
}

impl Up {
    /// The edge to the first parent of `node`.
    pub(super) fn first(target: Arc<Node>, node: &Node) -> Self {
        let kind = if node.limited { EdgeKind::LimitedChild } else { EdgeKind::Child };
        Self { target, place: node.place.load(Ordering::Relaxed), kind }
    }
}

/// The children of a process, each in the place that its up edge names. The closing walk has those that were
/// there when it began, and puts back what it left open, for an abort to find.
pub(super) type Children = Places<Arc<Node>>;

/// A spawned process was not taken in: its parent has started its teardown or is Closed.
pub(crate) struct Refused;

/// A fresh child of `parent`. Of a Closing parent, it closes at once; of one that has started its teardown,
/// it is refused.
///
/// No other lock than the parent's is taken, and nothing is searched (I5).
#[inline]
pub(crate) fn fresh_child(parent: &Arc<Node>, seed: Seed) -> (Arc<Node>, Result<Effects, Refused>) {
    let child = Arc::new(Node::with_parent(seed, Some(parent.clone())));
    let mut inner = parent.inner.lock();
    if inner.is_done_waiting(parent) {
        drop(inner);
        child.inner.lock().parent = None;
        return (child, Err(Refused));
    }
    inner.waiting += 1;
    let place = inner.children().insert(child.clone());
    child.place.store(place, Ordering::Relaxed);
    if parent.phase() == Phase::Running {
        return (child, Ok(Effects::default()));
    }
    drop(inner);
    let effects = child.close(Reason::ParentClosed, parent.is_aborting());
    (child, Ok(effects))
}

/// Adds an edge from `upper` down to `lower`.
pub(crate) fn link(
    upper: &Arc<Node>,
    lower: &Arc<Node>,
    kind: EdgeKind,
) -> Result<Effects, LinkError> {
    if lower.is_background() || upper.is_background() && !kind.closes() {
        return Err(LinkError::Background);
    }
    if Arc::ptr_eq(upper, lower) {
        return Err(LinkError::cycle(vec![upper.label()]));
    }
    let graph = cycle::lock_graph();
    if kind.waits() {
        refuse_cycle(&graph, upper, lower)?;
    }
    let linked = link_locked(upper, lower, kind);
    drop(graph);
    match linked {
        Linked::Nothing => Ok(Effects::default()),
        Linked::Close => Ok(lower.close(Reason::ParentClosed, upper.is_aborting())),
        Linked::Refused => Err(LinkError::Closed(upper.label())),
    }
}

/// Refuses an edge that would close a waiting cycle (I5).
fn refuse_cycle(graph: &GraphLock, upper: &Arc<Node>, lower: &Arc<Node>) -> Result<(), LinkError> {
    // Who waits for no other is on no cycle; so a tree that is built from the top is not searched again and
    // again. A body that it waits for is no other.
    if lower.inner.lock().waits_for_no_other() || upper.phase() == Phase::Closed {
        return Ok(());
    }
    match cycle::path_under_lock(graph, lower, upper) {
        Some(path) => Err(LinkError::cycle(path.iter().map(Node::label).collect())),
        None => Ok(()),
    }
}

/// What is left to do after [`link_locked`].
enum Linked {
    Nothing,
    Close,
    Refused,
}

fn link_locked(upper: &Arc<Node>, lower: &Arc<Node>, kind: EdgeKind) -> Linked {
    let mut above = upper.inner.lock();
    let mut below = lower.inner.lock();
    if above.is_done_waiting(upper) {
        // Nobody waits for a no-wait child, so that closing it is all there is to do (I6).
        let closes = kind == EdgeKind::NoWaitChild;
        return if closes { Linked::Close } else { Linked::Refused };
    }
    if lower.phase() == Phase::Closed {
        return Linked::Nothing;
    }
    let mut place = 0;
    if kind.closes() {
        place = above.children().insert(lower.clone());
    } else {
        above.rare().waits_for.push(Arc::downgrade(lower));
        above.rare().held_open += u32::from(kind == EdgeKind::CloseAfter);
    }
    above.waiting += u32::from(kind.waits());
    below.add_up(upper, lower, place, kind);
    if upper.phase() == Phase::Running {
        return Linked::Nothing;
    }
    if kind.closes() { Linked::Close } else { Linked::Nothing }
}

/// Closes a process that could not be linked as it was to be: what it waits for is forgotten, so that it is
/// Closed at once, and nobody has seen more of it than that.
pub(crate) fn unlink_all(node: &Arc<Node>) -> Effects {
    let graph = cycle::lock_graph();
    let targets = node.inner.lock().rare.as_mut().map(|rare| mem::take(&mut rare.waits_for));
    for target in targets.iter().flatten().filter_map(Weak::upgrade) {
        let mut inner = node.inner.lock();
        let mut below = target.inner.lock();
        // One that is Closed has taken its edges; its report is under way.
        if let Some(rare) = &mut below.rare {
            let before = rare.ups.len();
            rare.ups.retain(|up| !Arc::ptr_eq(&up.target, node));
            inner.waiting -= (before - rare.ups.len()) as u32;
        }
        drop((below, inner));
    }
    drop(graph);
    node.close(Reason::Dropped, false)
}

impl Node {
    /// Has a parent that keeps it open (I8)? Parents are not Closed while they wait, and close their children
    /// before anything else, so that any parent of a Running process is an open one.
    pub(super) fn is_held(inner: &Inner) -> bool {
        inner.parent.is_some()
            || inner.rare.as_ref().is_some_and(|rare| rare.ups.iter().any(|up| up.kind.closes()))
    }
}

impl Inner {
    pub(super) fn children(&mut self) -> &mut Children {
        self.children.get_or_insert_with(|| Box::new(Children::new()))
    }

    /// It never had a child, and no wait-for edge.
    fn waits_for_no_other(&self) -> bool {
        self.children.is_none() && self.rare.as_ref().is_none_or(|rare| rare.waits_for.is_empty())
    }

    /// Has the teardown started, so that nothing can be waited for any more (S3)?
    fn is_done_waiting(&self, node: &Node) -> bool {
        self.started || node.phase() == Phase::Closed
    }

    fn add_up(&mut self, upper: &Arc<Node>, node: &Node, place: u32, kind: EdgeKind) {
        let target = upper.clone();
        if self.parent.is_none() && kind == EdgeKind::Child {
            self.parent = Some(target);
            node.place.store(place, Ordering::Relaxed);
        } else {
            self.rare().ups.push(Up { target, place, kind });
        }
    }
}
