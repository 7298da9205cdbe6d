//! The waiting tasks: in the pool's own queues, and in the queues of threads in `close_blocking`, with which the pool
//! helps.
//!
//! `waiting` is the number of tasks in all queues, *because* every change of a queue goes through one of the functions
//! here, each of which counts the tasks that it adds or takes.

use std::collections::{BTreeSet, VecDeque};

use crate::state::StableList;

#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Queues<T> {
    /// Tasks that are ahead of all others.
    urgent: Queue<T>,
    /// The other tasks of the pool's own.
    main: Queue<T>,
    /// The queues of threads in `close_blocking`.
    shared: StableList<Queue<T>>,
    /// The places of the shared queues that are not empty, so that a pool thread need not check all of them.
    filled: BTreeSet<u32>,
    waiting: usize,
}

#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
struct Queue<T> {
    tasks: VecDeque<T>,
    /// A task was started since the last look.
    has_moved: bool,
}

/// Whether queues are stuck: a queue is stuck if tasks wait in it and none was started since the last look.
pub(super) struct Stuck {
    pub(super) any: bool,
    pub(super) urgent: bool,
}

impl<T> Queues<T> {
    pub(super) fn new() -> Self {
        Self {
            urgent: Queue::new(),
            main: Queue::new(),
            shared: StableList::new(),
            filled: BTreeSet::new(),
            waiting: 0,
        }
    }

    /// The number of tasks that wait in all queues.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The number of tasks that wait in the pool's own queues.
    pub(super) fn own(&self) -> usize {
        self.urgent.tasks.len() + self.main.tasks.len()
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent.tasks.is_empty()
    }

    pub(super) fn add(&mut self, tasks: Vec<T>) {
        self.waiting += tasks.len();
        self.main.extend(tasks);
    }

    pub(super) fn add_urgent(&mut self, task: T) {
        self.waiting += 1;
        self.urgent.tasks.push_back(task);
    }

    /// Takes the next task from any queue.
    pub(super) fn pop(&mut self) -> Option<T> {
        if let Some(task) = self.pop_urgent() {
            return Some(task);
        }
        if let Some(task) = self.main.pop() {
            self.waiting -= 1;
            return Some(task);
        }
        self.take_from(*self.filled.first()?)
    }

    pub(super) fn pop_urgent(&mut self) -> Option<T> {
        let task = self.urgent.pop()?;
        self.waiting -= 1;
        Some(task)
    }

    /// Adds a queue that the pool helps with, and returns its place.
    pub(super) fn share(&mut self) -> u32 {
        self.shared.insert(Queue::new())
    }

    pub(super) fn add_to(&mut self, place: u32, tasks: Vec<T>) {
        if let Some(queue) = self.shared.get_mut(place) {
            self.waiting += tasks.len();
            queue.extend(tasks);
            if !queue.tasks.is_empty() {
                self.filled.insert(place);
            }
        }
    }

    /// Takes the next task from this queue. If there is none, the queue is removed.
    #[inline]
    pub(super) fn pop_from(&mut self, place: u32) -> Option<T> {
        let task = self.take_from(place);
        if task.is_none() {
            drop(self.shared.remove(place));
        }
        task
    }

    #[inline]
    fn take_from(&mut self, place: u32) -> Option<T> {
        let queue = self.shared.get_mut(place)?;
        let task = queue.pop()?;
        self.waiting -= 1;
        if queue.tasks.is_empty() {
            self.filled.remove(&place);
        }
        Some(task)
    }

    /// Takes a look: is any queue stuck, and is the queue of urgent tasks?
    pub(super) fn look(&mut self) -> Stuck {
        let urgent = self.urgent.is_stuck();
        let others = std::iter::once(&mut self.main).chain(self.shared.entries_mut().flatten());
        let any = others.fold(urgent, |is_any, queue| queue.is_stuck() | is_any);
        Stuck { any, urgent }
    }
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self { tasks: VecDeque::new(), has_moved: false }
    }

    fn extend(&mut self, tasks: Vec<T>) {
        if self.tasks.is_empty() {
            self.tasks = tasks.into();
        } else {
            self.tasks.extend(tasks);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let task = self.tasks.pop_front()?;
        self.has_moved = true;
        Some(task)
    }

    fn is_stuck(&mut self) -> bool {
        let has_moved = std::mem::take(&mut self.has_moved);
        !has_moved && !self.tasks.is_empty()
    }
}
