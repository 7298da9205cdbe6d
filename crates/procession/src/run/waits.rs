//! Blocking waits: each is an edge of the graph while it lasts, and one that could never end is refused (I13).
//!
//! The edges go from each process whose code is on the thread's stack to the process that it waits for. So the usual
//! search also finds cycles of which a blocking wait is a part.

use std::sync::Arc;

use super::call_stack::stack;
use super::{Held, Node};
use crate::state::{BlockedEdge, ShownWait, slots_wait_for};
use crate::value::{Error, Link};

/// Adds the edges of a wait without a timeout for `target`. They last as long as the returned value.
///
/// # Errors
///
/// [`Error::Deadlock`] if the wait could never end.
pub(crate) fn begin_wait(target: &Arc<Node>) -> Result<Vec<BlockedEdge<Held>>, Error> {
    let mut edges = Vec::new();
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_wait_on_runtime(target, stack.last())?;
    for (depth, node) in stack.iter().enumerate().rev() {
        if stack[depth + 1..].iter().any(|above| Arc::ptr_eq(above, node)) {
            continue;
        }
        match BlockedEdge::add(node, target) {
            Ok(edge) => edges.extend(edge),
            Err(_cycle) => return Err(Error::deadlock(node.label(), target.label())),
        }
    }
    Ok(edges)
}

/// Begins a wait without a timeout for the end of the body of `target`, which shows in snapshots as long as the returned
/// value exists. The search for cycles does not follow it, because the children of the target may wait for this too.
///
/// # Errors
///
/// [`Error::Deadlock`] if code on this stack is that of the target, whose body therefore cannot end.
pub(crate) fn begin_wait_for_body(target: &Arc<Node>) -> Result<Vec<Shown>, Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_wait_for_body_on_runtime(target, stack.last())?;
    if stack.iter().any(|node| Arc::ptr_eq(node, target)) {
        return Err(Error::body_deadlock(target.label()));
    }
    Ok(show(&stack, Link::BodyWait, target))
}

/// Begins a wait without a timeout for the children of `target`, which shows in snapshots as long as the returned value
/// exists. The search for cycles does not follow it, because the target need not be Closed for it.
///
/// # Errors
///
/// [`Error::Deadlock`] if code on this stack is that of a process below the target, following first parents.
pub(crate) fn begin_wait_for_children(target: &Arc<Node>) -> Result<Vec<Shown>, Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_wait_for_children_on_runtime(target, stack.last())?;
    match stack.iter().rev().find(|node| node.is_waited_for_below(target)) {
        Some(node) => Err(Error::children_deadlock(node.label(), target.label())),
        None => Ok(show(&stack, Link::ChildrenWait, target)),
    }
}

/// Begins a wait without a timeout for a slot of `limiter`, which shows in snapshots as long as the returned value
/// exists.
///
/// # Errors
///
/// [`Error::Deadlock`] if all slots are held by processes that wait for code on this stack.
pub(crate) fn begin_wait_for_slot(limiter: &Arc<Node>) -> Result<Vec<Shown>, Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_slot_wait_on_runtime(limiter, stack.last())?;
    match stack.iter().rev().find(|node| slots_wait_for(limiter, node)) {
        Some(node) => Err(Error::slot_deadlock(node.label(), limiter.label())),
        None => Ok(show(&stack, Link::SlotWait, limiter)),
    }
}

/// A wait that snapshots show.
pub(crate) type Shown = ShownWait<Held>;

/// Shows that code of `node` waits for the children of `other`.
pub(crate) fn show_wait_for_children(node: &Arc<Node>, other: &Arc<Node>) -> Shown {
    ShownWait::begin(node, Link::ChildrenWait, other)
}

/// Shows the wait at each process whose code is on this stack.
fn show(stack: &[Arc<Node>], kind: Link, target: &Arc<Node>) -> Vec<Shown> {
    stack.iter().map(|node| ShownWait::begin(node, kind, target)).collect()
}
