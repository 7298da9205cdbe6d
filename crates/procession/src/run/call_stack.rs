//! The processes whose bodies, teardowns and hooks are on the stack of this thread. [`waits`](super::waits) uses them
//! to refuse a wait that cannot end (I13).
//!
//! There is rarely more than one, so the innermost process has a cell of its own. The list of the processes around it
//! is touched only where code of one process runs inside that of another.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::Node;
use crate::value::Label;
use crate::value::sync::thread_local;

thread_local! {
    static INNERMOST: Cell<Option<Arc<Node>>> = Cell::default();
    /// The processes around the innermost one, from the outside in.
    static OUTER: RefCell<Vec<Arc<Node>>> = RefCell::default();
}

/// Runs code of the process, with the process on this thread's stack. `run` must not panic. Returns the process with
/// the result.
#[inline(always)]
pub(super) fn run_as<R>(node: Arc<Node>, run: impl FnOnce() -> R) -> (Arc<Node>, R) {
    let mut node = Some(node);
    // At the end of a thread, the thread-local stack no longer exists, and waits are no longer checked.
    let mut around = INNERMOST.try_with(|innermost| innermost.replace(node.take())).ok().flatten();
    let is_nested = around.is_some();
    if is_nested {
        push_outer(&mut around);
    }
    let result = run();
    if is_nested {
        pop_outer(&mut around);
    }
    let node = node.or_else(|| INNERMOST.with(|innermost| innermost.replace(around)));
    (node.expect("what was put on the stack is on it"), result)
}

/// Puts a process on the list. At the end of a thread, the list may no longer exist. Then the process stays with the
/// caller, because its frame expects it back.
#[cold]
fn push_outer(node: &mut Option<Arc<Node>>) {
    let _ = OUTER.try_with(|outer| outer.borrow_mut().extend(node.take()));
}

#[cold]
fn pop_outer(node: &mut Option<Arc<Node>>) {
    if node.is_none() {
        *node = OUTER.with(|outer| outer.borrow_mut().pop());
    }
}

/// The processes whose code is on this thread's stack, from the outside in.
pub(super) fn stack() -> Vec<Arc<Node>> {
    let mut stack = OUTER.try_with(|outer| outer.borrow().clone()).unwrap_or_default();
    stack.extend(innermost());
    stack
}

fn innermost() -> Option<Arc<Node>> {
    let look = |innermost: &Cell<Option<Arc<Node>>>| {
        let node = innermost.take();
        innermost.set(node.clone());
        node
    };
    INNERMOST.try_with(look).ok().flatten()
}

/// The label of the process whose code runs on this thread.
pub(crate) fn innermost_label() -> Option<Label> {
    innermost().as_ref().map(Node::own_label)
}
