//! The pool: the library's threads for blocking teardowns, for drops of what the library holds of users, and for what a
//! deadline leads to.
//!
//! Teardowns of siblings run side by side, up to [`LIMIT`] at once, and yet 100,000 that do next to nothing do not start
//! 512 threads, because the pool grows only when it is stuck. A thread for each core is called at once. While tasks
//! wait, the deadline thread looks every [`PATIENCE`] whether any task was started since the last look; if none was, all
//! that run are blocked, and the number of threads is doubled. A pool that is at its limit is not looked at.
//!
//! A thread in `close_blocking` runs the teardowns that become due by it from a queue of its own, and the pool helps with
//! that in the same way.
//!
//! This is not the crate `blocking`, because that pool grows by the number of tasks that wait (see `BENCHMARKS.md`), and
//! because it keeps a task for which no thread can be created, while a teardown must run all the same (I2, I15).
//!
//! # Invariants
//!
//! - P1. Each thread is in exactly one of four states, counted by [`Threads`]: idle, called, busy or blocked. *Because*
//!   each change of state is made under the lock, by the thread itself, except that whoever calls an idle thread makes it
//!   called. Idle threads are interchangeable: a thread that gives up waiting leaves as one that is idle, if there is one
//!   that nobody has called, and otherwise is one of the called.
//! - P2. At most [`LIMIT`] threads are called or busy, except for an urgent task. A thread that blocks in a wait of the
//!   library is blocked and does not count, so work that waits for other work does not keep that from a thread.
//! - P3. If a task waits, a thread is called, or a look is scheduled, or the pool is at its limit and every busy thread
//!   takes the next task when it is done, or there is no thread at all and threads in `wait` run the tasks. *Because*
//!   each change that could end one of these is followed by [`State::provide`] in the same locked section.
//! - P4. The last thread never ends, so that a pool that had a thread once has one for ever.
//!
//! Lock order: the pool's lock is taken with any lock held, also a node's, because values of users may be dropped there;
//! under it, only that of the deadlines is taken. No task runs and nothing foreign is dropped under it.

#[cfg(not(loom))]
pub(super) use threads::{OwnQueue, check, drop_there, run_now, submit, while_blocked};
#[cfg(not(loom))]
pub(crate) use threads::{help, prepare, wait_for_help};

#[cfg(loom)]
pub(super) use model::{OwnQueue, drop_there, submit, while_blocked};
#[cfg(loom)]
pub(crate) use model::{help, prepare, wait_for_help};

use crate::run::Held;
use crate::state::Due;

/// What a thread of the pool runs.
pub(super) enum Task {
    /// A blocking teardown.
    TearDown(Due<Held>),
    /// Anything else.
    Call(Box<dyn FnOnce() + Send>),
}

#[cfg(not(loom))]
mod threads {
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use std::task::Waker;

    use event_listener::{Event, IntoNotification, Listener};
    use once_cell::sync::Lazy;

    use super::Task;
    use crate::run::catch::contain;
    use crate::run::deadlines;
    use crate::run::park::ThisThread;
    use crate::run::perform::run_task;
    use crate::state::StableList;
    use crate::value::sync::{Mutex, MutexGuard, spawn_thread};

    /// How many teardowns run at once.
    const LIMIT: usize = 512;

    /// How long tasks wait before the pool grows.
    const PATIENCE: Duration = Duration::from_micros(200);

    /// How long tasks wait before the pool tries again to have a thread created.
    const RETRY: Duration = Duration::from_millis(50);

    /// How long a thread without work stays.
    const LINGER: Duration = Duration::from_secs(5);

    struct Pool {
        state: Mutex<State>,
        /// Notified once for each idle thread that is called.
        called: Event,
    }

    struct State {
        queue: Queue,
        /// The queues of threads in `close_blocking` that may need help.
        shared: StableList<Queue>,
        threads: Threads,
        /// A look at the pool is scheduled.
        is_watched: bool,
        /// Threads that are blocked in a wait, and run tasks if the pool has no thread to do it.
        helpers: StableList<Waker>,
    }

    /// The number of threads in each state (P1).
    #[derive(Default)]
    struct Threads {
        /// Waiting to be called.
        idle: usize,
        /// Called, and not there yet.
        called: usize,
        /// Running a task, or looking for one.
        busy: usize,
        /// Running a task that is blocked in a wait of the library.
        blocked: usize,
    }

    #[derive(Default)]
    struct Queue {
        tasks: VecDeque<Task>,
        /// How many were ever started.
        started: u64,
        /// `started` at the last look.
        seen: u64,
    }

    static POOL: Lazy<Pool> = Lazy::new(|| Pool {
        state: Mutex::new(State {
            queue: Queue::default(),
            shared: StableList::new(),
            threads: Threads::default(),
            is_watched: false,
            helpers: StableList::new(),
        }),
        called: Event::new(),
    });

    /// Whether the OS could not create a thread the last time, so that threads in `wait` should help.
    static IS_SHORT: AtomicBool = AtomicBool::new(false);

    thread_local! {
        static IS_OF_POOL: Cell<bool> = const { Cell::new(false) };
    }

    fn cores() -> usize {
        static CORES: Lazy<usize> =
            Lazy::new(|| std::thread::available_parallelism().map_or(1, Into::into));
        *CORES
    }

    /// Starts the pool's first thread and the deadline thread, if they do not run yet: called when the first process is
    /// made that may need them, so that they exist when resources run out later (I15).
    pub(crate) fn prepare() {
        static IS_PREPARED: AtomicBool = AtomicBool::new(false);
        if IS_PREPARED.load(Ordering::Relaxed) {
            return;
        }
        let mut state = POOL.state.lock();
        let has_thread = state.threads.all() > 0 || state.call();
        drop(state);
        IS_PREPARED.store(deadlines::prepare() && has_thread, Ordering::Relaxed);
    }

    /// Runs the tasks on threads of the pool.
    pub(in crate::run) fn submit(tasks: Vec<Task>) {
        add(tasks, 0);
    }

    /// Adds tasks, as many of which as `served` are about to be taken by this thread.
    fn add(tasks: Vec<Task>, served: usize) {
        let mut state = POOL.state.lock();
        state.queue.extend(tasks);
        state.provide(served);
        release(state);
    }

    /// Drops a value of a user's on a thread of the pool.
    pub(in crate::run) fn drop_there(value: Box<dyn Send>) {
        submit(vec![Task::Call(Box::new(move || drop(value)))]);
    }

    /// Runs a call on a thread of the pool, ahead of everything that waits and beyond the limit.
    pub(in crate::run) fn run_now(call: Box<dyn FnOnce() + Send>) {
        let mut state = POOL.state.lock();
        state.queue.tasks.push_front(Task::Call(call));
        if state.threads.called == 0 {
            state.call();
        }
        state.provide(0);
        release(state);
    }

    /// Looks whether the pool is stuck: the look that [`State::provide`] scheduled.
    pub(in crate::run) fn check() {
        let mut state = POOL.state.lock();
        state.is_watched = false;
        if state.is_stuck() {
            let Threads { called, busy, .. } = state.threads;
            let more = busy.max(1).min(LIMIT.saturating_sub(busy + called));
            let _as_many_as_possible = (0..more).all(|_| state.call());
        }
        state.provide(0);
        release(state);
    }

    /// Runs `park`, during which this thread does not count as busy (P2).
    pub(in crate::run) fn while_blocked<R>(park: impl FnOnce() -> R) -> R {
        if !IS_OF_POOL.try_with(Cell::get).unwrap_or(false) {
            return park();
        }
        let mut state = POOL.state.lock();
        state.threads.busy -= 1;
        state.threads.blocked += 1;
        state.provide(0);
        release(state);
        let result = park();
        let mut state = POOL.state.lock();
        state.threads.blocked -= 1;
        state.threads.busy += 1;
        drop(state);
        result
    }

    /// A thread that waits without a timeout: as long as this exists, it is woken when the OS cannot create a thread for a
    /// task, and runs one with [`help`].
    pub(crate) struct Helper {
        place: u32,
    }

    pub(crate) fn wait_for_help(thread: &ThisThread) -> Helper {
        Helper { place: POOL.state.lock().helpers.insert(thread.waker().clone()) }
    }

    impl Drop for Helper {
        fn drop(&mut self) {
            let removed = POOL.state.lock().helpers.remove(self.place);
            drop(removed);
        }
    }

    /// Runs a task on this thread, if the OS cannot create threads for it; `false` if there is none to run.
    pub(crate) fn help() -> bool {
        if !IS_SHORT.load(Ordering::Acquire) {
            return false;
        }
        let task = POOL.state.lock().pop();
        task.map(|task| run_task(task, |tasks, _| submit(tasks))).is_some()
    }

    /// Releases the lock, and wakes the threads in `wait` if they have to help.
    fn release(state: MutexGuard<'_, State>) {
        if !IS_SHORT.load(Ordering::Relaxed) || !state.has_tasks() {
            return;
        }
        let helpers: Vec<Waker> = state.helpers.iter().cloned().collect();
        drop(state);
        helpers.into_iter().for_each(Waker::wake);
    }

    impl State {
        /// Makes sure that tasks that wait are run (P3). As many as `served` are about to be taken by threads that are
        /// busy.
        fn provide(&mut self, served: usize) {
            while self.queue.tasks.len() > self.threads.called + served
                && self.threads.working() < cores()
            {
                if !self.call() {
                    break;
                }
            }
            let shared: usize = self.shared.iter().map(|queue| queue.tasks.len()).sum();
            let waiting = self.queue.tasks.len() + shared;
            let is_covered = waiting <= self.threads.called + served;
            if !self.is_watched && !is_covered && self.threads.working() < LIMIT {
                let is_short = IS_SHORT.load(Ordering::Relaxed);
                let pause = if is_short { RETRY } else { PATIENCE };
                self.is_watched = deadlines::schedule_pool_check(Instant::now() + pause);
            }
        }

        /// Calls an idle thread, or starts one; `false` if the OS cannot create it.
        fn call(&mut self) -> bool {
            if self.threads.idle > 0 {
                self.threads.idle -= 1;
                self.threads.called += 1;
                POOL.called.notify(1.additional());
                return true;
            }
            self.threads.called += 1;
            let is_started = spawn_thread(Some("procession-pool"), work).is_ok();
            if !is_started {
                self.threads.called -= 1;
            }
            IS_SHORT.store(!is_started, Ordering::Release);
            is_started
        }

        fn queues_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
            std::iter::once(&mut self.queue).chain(self.shared.entries_mut().flatten())
        }

        fn pop(&mut self) -> Option<Task> {
            self.queues_mut().find_map(Queue::pop)
        }

        fn has_tasks(&self) -> bool {
            let has_tasks = |queue: &Queue| !queue.tasks.is_empty();
            has_tasks(&self.queue) || self.shared.iter().any(has_tasks)
        }

        /// Is there a queue that is stuck?
        fn is_stuck(&mut self) -> bool {
            self.queues_mut().fold(false, |is_stuck, queue| queue.is_stuck() | is_stuck)
        }
    }

    impl Threads {
        /// Those that count towards the limit.
        fn working(&self) -> usize {
            self.called + self.busy
        }

        fn all(&self) -> usize {
            self.idle + self.called + self.busy + self.blocked
        }
    }

    impl Queue {
        fn extend(&mut self, tasks: Vec<Task>) {
            if self.tasks.is_empty() {
                self.tasks = tasks.into();
            } else {
                self.tasks.extend(tasks);
            }
        }

        fn pop(&mut self) -> Option<Task> {
            let task = self.tasks.pop_front()?;
            self.started += 1;
            Some(task)
        }

        /// Do tasks wait of which none was started since the last look?
        fn is_stuck(&mut self) -> bool {
            let is_stuck = !self.tasks.is_empty() && self.seen == self.started;
            self.seen = self.started;
            is_stuck
        }
    }

    /// The life of a thread.
    fn work() {
        IS_OF_POOL.set(true);
        loop {
            let mut state = POOL.state.lock();
            state.threads.called -= 1;
            state.threads.busy += 1;
            while let Some(task) = state.pop() {
                state.provide(0);
                drop(state);
                // What a task runs of users is caught where it runs; nothing else unwinds (I14).
                // What follows from a task is added when the task has returned, so this thread takes the first of it.
                contain(|| run_task(task, |tasks, soon| add(tasks, usize::from(soon))));
                state = POOL.state.lock();
            }
            state.threads.busy -= 1;
            state.threads.idle += 1;
            if !wait(state) {
                return;
            }
        }
    }

    /// Waits for a call; `false` if the thread has to end.
    fn wait(mut state: MutexGuard<'static, State>) -> bool {
        loop {
            let listener = POOL.called.listen();
            drop(state);
            if listener.wait_deadline(Instant::now() + LINGER).is_some() {
                return true;
            }
            state = POOL.state.lock();
            if state.threads.idle == 0 {
                // Every waiting thread was called, so this one was.
                return true;
            }
            if state.threads.all() > 1 {
                state.threads.idle -= 1;
                return false;
            }
        }
    }

    /// The tasks that a thread in `close_blocking` runs itself. A single one stays with the thread; if there are more, or
    /// if the thread may be held up before it takes it, the pool can help.
    pub(in crate::run) enum OwnQueue {
        Single(Option<Task>),
        Shared { place: u32 },
    }

    impl OwnQueue {
        pub(in crate::run) fn new() -> Self {
            Self::Single(None)
        }

        pub(in crate::run) fn extend(&mut self, mut tasks: Vec<Task>, is_back_soon: bool) {
            if let Self::Single(single) = self {
                if tasks.len() == 1 && single.is_none() && is_back_soon {
                    *single = tasks.pop();
                    return;
                }
            }
            let mut state = POOL.state.lock();
            let place = match self {
                Self::Shared { place } => *place,
                Self::Single(single) => {
                    let mut queue = Queue::default();
                    queue.tasks.extend(single.take());
                    let place = state.shared.insert(queue);
                    *self = Self::Shared { place };
                    place
                }
            };
            if let Some(queue) = state.shared.get_mut(place) {
                queue.extend(tasks);
            }
            state.provide(usize::from(is_back_soon));
            release(state);
        }

        /// The next task; `None` if there are none any more.
        pub(in crate::run) fn next(&mut self) -> Option<Task> {
            let place = match self {
                Self::Single(single) => return single.take(),
                Self::Shared { place } => *place,
            };
            let mut state = POOL.state.lock();
            let task = state.shared.get_mut(place)?.pop();
            if task.is_none() {
                let _empty = state.shared.remove(place);
                *self = Self::Single(None);
            }
            task
        }
    }
}

/// A model has few threads, and lasts as long as they do: each task has one of its own.
#[cfg(loom)]
mod model {
    use std::collections::VecDeque;

    use super::Task;
    use crate::run::park::ThisThread;
    use crate::run::perform::run_task;
    use crate::value::sync::spawn_thread;

    pub(crate) use crate::value::model::prepare_model as prepare;

    pub(in crate::run) fn submit(tasks: Vec<Task>) {
        for task in tasks {
            let run = move || run_task(task, |tasks, _| submit(tasks));
            spawn_thread(None, run).expect("loom starts threads");
        }
    }

    /// In a model, values are dropped on the spot: what a model's values do when they are dropped is part of the model.
    pub(in crate::run) fn drop_there(value: Box<dyn Send>) {
        drop(value);
    }

    pub(in crate::run) fn while_blocked<R>(park: impl FnOnce() -> R) -> R {
        park()
    }

    /// Nothing has to be ended with the wait.
    pub(crate) struct Helper;

    pub(crate) fn wait_for_help(_thread: &ThisThread) -> Helper {
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
    }
}
