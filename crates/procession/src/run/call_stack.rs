//! Which bodies, teardowns and hooks are on this thread's stack, so that a wait that cannot end is refused (I13).
//!
//! While a thread blocks without a timeout, there is an edge of the graph from each process whose code is on its stack
//! to the process it waits for. So the usual search also finds cycles of which a blocking wait is a part.

use std::cell::RefCell;
use std::sync::Arc;

use super::Held;
use super::Node;
use crate::state::{BlockedEdge, slots_wait_for};
use crate::value::sync::thread_local;
use crate::value::{Error, Label};

thread_local! {
    static STACK: RefCell<Vec<Arc<Node>>> = RefCell::default();
}

/// Runs code of the process, which must not panic, with the process on this thread's stack; hands the process back.
#[inline]
pub(super) fn run_as<R>(node: Arc<Node>, run: impl FnOnce() -> R) -> (Arc<Node>, R) {
    let mut node = Some(node);
    // At the end of a thread, the stack is gone, and waits are no longer checked.
    let _ = STACK.try_with(|stack| stack.borrow_mut().extend(node.take()));
    let result = run();
    let node = node.or_else(|| STACK.with(|stack| stack.borrow_mut().pop()));
    (node.expect("what was put on the stack is on it"), result)
}

fn stack() -> Vec<Arc<Node>> {
    STACK.try_with(|stack| stack.borrow().clone()).unwrap_or_default()
}

/// The process whose code runs on this thread.
pub(crate) fn innermost_label() -> Option<Label> {
    STACK.try_with(|stack| stack.borrow().last().map(Node::label)).ok().flatten()
}

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

/// Refuses a wait for a slot of `limiter` if all slots are held by processes that wait for code on this stack.
pub(crate) fn refuse_wait_for_slot(limiter: &Arc<Node>) -> Result<(), Error> {
    let stack = stack();
    #[cfg(all(feature = "tokio", not(loom)))]
    super::spawn::refuse_slot_wait_on_runtime(limiter, stack.last())?;
    match stack.iter().rev().find(|node| slots_wait_for(limiter, node)) {
        Some(node) => Err(Error::deadlock(node.label(), limiter.label())),
        None => Ok(()),
    }
}
