//! Which bodies and teardowns are on this thread's stack, so that a wait that cannot end is refused (I13).

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::Error;
use crate::state::{Node, waiting_for, waits_for};
use crate::sync::thread_local;

thread_local! {
    static STACK: RefCell<Vec<Arc<Node>>> = RefCell::default();
}

/// Runs code of the process, which must not panic, with the process on this thread's stack; hands the process
/// back.
pub(crate) fn run_as<R>(node: Arc<Node>, run: impl FnOnce() -> R) -> (Arc<Node>, R) {
    let mut node = Some(node);
    // At the end of a thread its thread-locals are gone; then waits are not looked at.
    let _ = STACK.try_with(|stack| stack.borrow_mut().extend(node.take()));
    let result = run();
    let node = node.or_else(|| STACK.with(|stack| stack.borrow_mut().pop()));
    (node.expect("what was put on the stack is on it"), result)
}

/// Refuses a wait for a slot of `limiter` if all are held by processes that wait for code on this stack.
pub(crate) fn check_slots(limiter: &Arc<Node>) -> Result<(), Error> {
    let stack = STACK.try_with(|stack| stack.borrow().clone()).unwrap_or_default();
    match stack.iter().rev().find(|node| limiter.slots_are_held_by(&waiting_for(node))) {
        Some(node) => Err(Error::deadlock(node.label(), limiter.label())),
        None => Ok(()),
    }
}

/// Refuses a wait for `target` if it waits for code that is on this stack.
pub(crate) fn check(target: &Arc<Node>) -> Result<(), Error> {
    let stack = STACK.try_with(|stack| stack.borrow().clone()).unwrap_or_default();
    match stack.iter().rev().find(|node| waits_for(target, node)) {
        Some(node) => Err(Error::deadlock(node.label(), target.label())),
        None => Ok(()),
    }
}
