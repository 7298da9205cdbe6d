//! Blocking waits: each is an edge of the graph while it lasts, and one that could never end is refused (I13).
//!
//! The edges go from each process whose code is on the thread's stack to the process that it waits for. So the usual
//! search also finds cycles of which a blocking wait is a part.

use std::sync::Arc;

use super::call_stack::stack;
use super::{Held, Node};
use crate::state::{BlockedEdge, SlotWait, slots_wait_for};
use crate::value::Error;

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

/// Begins a wait without a timeout for a slot of `limiter`, which shows in snapshots as long as the returned value
/// exists.
///
/// # Errors
///
/// [`Error::Deadlock`] if all slots are held by processes that wait for code on this stack.
pub(crate) fn begin_wait_for_slot(limiter: &Arc<Node>) -> Result<Vec<SlotWait<Held>>, Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_slot_wait_on_runtime(limiter, stack.last())?;
    match stack.iter().rev().find(|node| slots_wait_for(limiter, node)) {
        Some(node) => Err(Error::deadlock(node.label(), limiter.label())),
        None => Ok(stack.iter().map(|node| SlotWait::begin(node, limiter)).collect()),
    }
}
