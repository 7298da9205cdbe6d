//! [`Task`]: the unit of work of a pool thread.

use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::run::catch::contain;
use crate::run::{Node, NodeContents, Teardown};
use crate::state::Due;

/// A unit of work for a thread of the pool.
pub(in crate::run) enum Task {
    /// A blocking teardown.
    TearDown(Due<NodeContents>),
    /// Anything else.
    Call(Box<dyn FnOnce() + Send>),
}

/// Is given the tasks that follow from a task, and whether the thread will be back soon to take the first of them.
pub(in crate::run) type Submit<'a> = dyn FnMut(Vec<Task>, bool) + 'a;

/// The function that runs the teardown of a node. It is part of the interpreter, which is built on the pool, so the
/// interpreter passes it down here.
pub(in crate::run) type TearDown = fn(Arc<Node>, Teardown, &mut Submit<'_>);

static TEAR_DOWN: OnceCell<TearDown> = OnceCell::new();

pub(in crate::run) fn set_tear_down(tear_down: TearDown) {
    let _is_set = TEAR_DOWN.set(tear_down);
}

/// Runs a task.
pub(in crate::run) fn run(task: Task, submit: &mut Submit<'_>) {
    match task {
        Task::TearDown(Due { node, teardown }) => {
            let tear_down = TEAR_DOWN.get().expect("it is set when the first root is made");
            tear_down(node, teardown, submit);
        }
        Task::Call(call) => contain(call),
    }
}
