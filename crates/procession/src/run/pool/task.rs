//! [`Task`]: what a thread of the pool runs.

use once_cell::sync::OnceCell;

use crate::run::Held;
use crate::run::catch::contain;
use crate::state::Due;

/// What a thread of the pool runs.
pub(in crate::run) enum Task {
    /// A blocking teardown.
    TearDown(Due<Held>),
    /// Anything else.
    Call(Box<dyn FnOnce() + Send>),
}

/// Takes the tasks that follow from a task, and whether the thread will be back soon to take the first of them.
pub(in crate::run) type Submit<'a> = dyn FnMut(Vec<Task>, bool) + 'a;

/// Runs a teardown. It belongs to the interpreter, which is built on the pool, and therefore hands it down here.
pub(in crate::run) type TearDown = fn(Due<Held>, &mut Submit<'_>);

static TEAR_DOWN: OnceCell<TearDown> = OnceCell::new();

pub(in crate::run) fn set_tear_down(tear_down: TearDown) {
    let _is_set = TEAR_DOWN.set(tear_down);
}

/// Runs a task.
pub(in crate::run) fn run(task: Task, submit: &mut Submit<'_>) {
    match task {
        Task::TearDown(due) => {
            let tear_down = TEAR_DOWN.get().expect("it is set when the first root is made");
            tear_down(due, submit);
        }
        Task::Call(call) => contain(call),
    }
}
