//! Which bodies, teardowns and hooks are on this thread's stack, so that a wait that cannot end is refused (I13): see
//! [`waits`](super::waits).

use std::cell::RefCell;
use std::sync::Arc;

use super::Node;
use crate::value::Label;
use crate::value::sync::thread_local;

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

pub(super) fn stack() -> Vec<Arc<Node>> {
    STACK.try_with(|stack| stack.borrow().clone()).unwrap_or_default()
}

/// The process whose code runs on this thread.
pub(crate) fn innermost_label() -> Option<Label> {
    STACK.try_with(|stack| stack.borrow().last().map(Node::own_label)).ok().flatten()
}
