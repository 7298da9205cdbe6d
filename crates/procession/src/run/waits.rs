//! Blocking waits without a timeout: each is an edge of the graph while it lasts, and a wait that could never end is
//! refused (I13).
//!
//! The edges lead from each process whose code is on the thread's stack to the process that the wait is for. So the
//! usual search also finds cycles that contain a blocking wait.

use std::future::Future;
use std::sync::Arc;

use super::call_stack::stack;
use super::{Node, NodeContents};
use crate::state::{BlockedEdge, ShownWait, slots_wait_for};
use crate::value::{Error, Link};

/// Begins a wait without a timeout for the end of `target`: adds its edges, which exist as long as the returned value.
///
/// # Errors
///
/// [`Error::Deadlock`] if the wait could never end.
pub(crate) fn begin_wait(target: &Arc<Node>) -> Result<Vec<BlockedEdge<NodeContents>>, Error> {
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

/// Begins a wait without a timeout for the end of the body of `target`. Snapshots show it as long as the returned value
/// exists. The search for cycles does not follow it, because even a process that the target waits for, such as a child,
/// may wait for the body of the target.
///
/// # Errors
///
/// [`Error::Deadlock`] if code of the target is on this stack, so that its body cannot end.
pub(crate) fn begin_leave_to_body(target: &Arc<Node>) -> Result<Vec<Shown>, Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_leave_to_body_on_runtime(target, stack.last())?;
    if stack.iter().any(|node| Arc::ptr_eq(node, target)) {
        return Err(Error::body_deadlock(target.label()));
    }
    Ok(show(&stack, Link::BodyWait, target))
}

/// Begins a wait without a timeout for the children of `target`. Snapshots show it as long as the returned value
/// exists. The search for cycles does not follow it, because the wait does not require that the target is Closed.
///
/// # Errors
///
/// [`Error::Deadlock`] if code of a process below the target, along first parents that wait, is on this stack.
pub(crate) fn begin_wait_for_children(target: &Arc<Node>) -> Result<Vec<Shown>, Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_wait_for_children_on_runtime(target, stack.last())?;
    match stack.iter().rev().find(|node| node.is_waited_for_below(target)) {
        Some(node) => Err(Error::children_deadlock(node.label(), target.label())),
        None => Ok(show(&stack, Link::ChildrenWait, target)),
    }
}

/// Begins a wait without a timeout for a slot of `limiter`. Snapshots show it as long as the returned value exists.
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
pub(crate) type Shown = ShownWait<NodeContents>;

/// Makes snapshots show that code of `node` waits for the children of `other`, as long as the returned value exists.
pub(crate) fn show_wait_for_children(node: &Arc<Node>, other: &Arc<Node>) -> Shown {
    ShownWait::begin(node, Link::ChildrenWait, other)
}

/// Waits for `future`, which is ready when children of the process are Closed. As long as that takes and one of them is
/// open, snapshots show that the process waits for its children, so that its body is not taken for the cause of the
/// wait. This is for bodies of the library that make children and wait for them.
pub(crate) async fn wait_for_own_children<F: Future>(node: &Arc<Node>, future: F) -> F::Output {
    let _shown = show_wait_for_children(node, node);
    future.await
}

/// Makes snapshots show the wait at each process whose code is on this stack.
fn show(stack: &[Arc<Node>], kind: Link, target: &Arc<Node>) -> Vec<Shown> {
    stack.iter().map(|node| ShownWait::begin(node, kind, target)).collect()
}
