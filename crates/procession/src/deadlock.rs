//! Which bodies and teardowns are on this thread's stack, so that a wait that cannot end is refused (I13).

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::Error;
use crate::state::{Node, waits_for};
use crate::sync::thread_local;

thread_local! {
    static STACK: RefCell<Vec<Arc<Node>>> = RefCell::default();
}

/// The time in which the code of a process is on the stack.
pub(crate) struct Frame {
    entered: bool,
}

/// The code of `node` begins to run on this thread.
pub(crate) fn enter(node: &Arc<Node>) -> Frame {
    // At the end of a thread its thread-locals are gone; then waits are not looked at.
    Frame { entered: STACK.try_with(|stack| stack.borrow_mut().push(node.clone())).is_ok() }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.entered {
            let left = STACK.try_with(|stack| stack.borrow_mut().pop());
            drop(left);
        }
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
