//! The stand-in for the pool under loom. A model can have only a few threads, and lasts until all have ended, so there
//! are no pooled threads: each task has a thread of its own.

use std::collections::VecDeque;

use std::task::Waker;

use super::task::{Task, TearDown, run, set_tear_down};
use crate::value::model::prepare_model;
use crate::value::sync::spawn_thread;

pub(crate) fn prepare(tear_down: TearDown) {
    set_tear_down(tear_down);
    prepare_model();
}

pub(in crate::run) fn submit(tasks: Vec<Task>) {
    for task in tasks {
        let work = move || run(task, &mut |tasks, _| submit(tasks));
        spawn_thread(None, work).expect("loom starts threads");
    }
}

/// A model reads no report, so the number does not matter.
pub(in crate::run) fn tasks_ahead() -> usize {
    0
}

/// In a model, values are dropped on the spot, because the effects of dropping them are part of the model.
pub(in crate::run) fn drop_there(value: Box<dyn Send>) {
    drop(value);
}

pub(in crate::run) fn run_now(call: Box<dyn FnOnce() + Send>) {
    submit(vec![Task::Call(call)]);
}

pub(in crate::run) fn while_blocked<R>(park: impl FnOnce() -> R) -> R {
    park()
}

/// Nothing has to be done when the wait ends.
pub(crate) struct Helper;

pub(crate) fn wait_for_help(_waker: &Waker) -> Helper {
    Helper
}

pub(crate) fn help() -> bool {
    false
}

pub(in crate::run) struct OwnQueue(VecDeque<Task>);

impl OwnQueue {
    pub(in crate::run) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(in crate::run) fn extend(&mut self, tasks: Vec<Task>, _is_back_soon: bool) {
        self.0.extend(tasks);
    }

    pub(in crate::run) fn next(&mut self) -> Option<Task> {
        self.0.pop_front()
    }

    pub(in crate::run) fn give_away(self) {
        submit(self.0.into());
    }
}
