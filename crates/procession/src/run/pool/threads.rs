//! The threads of the pool, and everything else that calls into its [`State`].
//!
//! Lock order: the pool's lock may be taken while any other lock is held, even a node's, because users' values may be
//! dropped there. Under it, only the lock of the deadlines is taken. No task runs and nothing foreign is dropped under
//! it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use event_listener::{Event, IntoNotification, Listener};
use once_cell::sync::Lazy;

use super::state::{State, Surroundings, WakesUp};
use super::task::{Task, TearDown, run, set_tear_down};
use crate::run::catch::contain;
use crate::run::timer;
use crate::state::StableList;
use crate::value::sync::{Mutex, MutexGuard, spawn_thread};

/// The maximum number of teardowns that run at once.
const LIMIT: usize = 512;

/// The interval between looks, after which a stuck pool grows.
const PATIENCE: Duration = Duration::from_micros(200);

/// The interval between looks while the OS cannot create threads.
const RETRY: Duration = Duration::from_millis(50);

/// How long a thread without work stays.
const LINGER: Duration = Duration::from_secs(5);

struct Pool {
    locked: Mutex<Locked>,
    /// Notified once for each idle thread that is called.
    called: Event,
    /// The OS could not create a thread the last time. It is stored under the lock.
    is_short: AtomicBool,
}

struct Locked {
    state: State<Task>,
    /// Threads that are blocked in a wait, and run tasks if the pool has no thread to do it.
    helpers: StableList<Waker>,
}

static POOL: Lazy<Pool> = Lazy::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    Pool {
        locked: Mutex::new(Locked { state: State::new(cores, LIMIT), helpers: StableList::new() }),
        called: Event::new(),
        is_short: AtomicBool::new(false),
    }
});

thread_local! {
    static IS_OF_POOL: Cell<bool> = const { Cell::new(false) };
}

impl Surroundings for &Pool {
    fn wake_idle(&mut self) {
        self.called.notify(1.additional());
    }

    fn start_thread(&mut self) -> bool {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
        spawn_thread(Some(&format!("procession-{number}")), work).is_ok()
    }

    fn schedule_look(&mut self) -> bool {
        let pause = if self.is_short() { RETRY } else { PATIENCE };
        timer::call_at(Instant::now() + pause, check)
    }

    fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    fn set_short(&mut self, is_short: bool) {
        self.is_short.store(is_short, Ordering::Release);
    }
}

/// Starts the first thread of the pool and the deadline thread, unless they are running. Called when a process that may
/// need them is made, so that they exist when resources run out later (I15).
pub(crate) fn prepare(tear_down: TearDown) {
    static IS_PREPARED: AtomicBool = AtomicBool::new(false);
    if IS_PREPARED.load(Ordering::Acquire) {
        return;
    }
    set_tear_down(tear_down);
    // The attempt costs microseconds, so it is not repeated for each process.
    static TRIED: Mutex<Option<Instant>> = Mutex::new(None);
    let now = Instant::now();
    let mut tried = TRIED.lock();
    if tried.is_some_and(|before| now.duration_since(before) < RETRY) {
        return;
    }
    *tried = Some(now);
    drop(tried);
    let has_thread = change(|state, around| state.prepare(around));
    IS_PREPARED.store(timer::prepare() && has_thread, Ordering::Release);
}

/// Runs the tasks on threads of the pool.
pub(in crate::run) fn submit(tasks: Vec<Task>) {
    add(tasks, 0);
}

/// Adds tasks. This thread is about to take `served` of them.
fn add(tasks: Vec<Task>, served: usize) {
    change(|state, around| state.add(tasks, served, around));
}

/// The number of running tasks that a queued teardown waits for, if the pool is at its limit; otherwise 0.
pub(in crate::run) fn tasks_ahead() -> usize {
    POOL.locked.lock().state.tasks_ahead()
}

/// Drops a user's value on a thread of the pool.
pub(in crate::run) fn drop_there(value: Box<dyn Send>) {
    submit(vec![Task::Call(Box::new(move || drop(value)))]);
}

/// Runs a call on a thread of the pool, ahead of all waiting tasks, and beyond the limit if necessary.
pub(in crate::run) fn run_now(call: Box<dyn FnOnce() + Send>) {
    change(|state, around| state.add_urgent(Task::Call(call), around));
}

/// Takes the look that the pool has scheduled.
fn check() {
    change(|state, around| state.look(around));
}

/// Runs `park`, during which this thread does not count as busy (P2).
pub(in crate::run) fn while_blocked<R>(park: impl FnOnce() -> R) -> R {
    if !IS_OF_POOL.try_with(Cell::get).unwrap_or(false) {
        return park();
    }
    change(|state, around| state.block(around));
    let result = park();
    POOL.locked.lock().state.unblock();
    result
}

/// Changes the state, and wakes the threads in `wait` if they have to help.
fn change<R>(change: impl FnOnce(&mut State<Task>, &mut &Pool) -> R) -> R {
    let mut locked = POOL.locked.lock();
    let result = change(&mut locked.state, &mut &*POOL);
    release(locked);
    result
}

/// Releases the lock after a change of the state.
fn release(locked: MutexGuard<'_, Locked>) {
    if locked.state.needs_help(&&*POOL) {
        let helpers: Vec<Waker> = locked.helpers.iter().cloned().collect();
        drop(locked);
        helpers.into_iter().for_each(Waker::wake);
    }
}

/// Registers a thread that waits without a timeout. As long as this exists, the thread is woken when the OS cannot
/// create a thread for a task, and runs one with [`help`].
pub(crate) struct Helper {
    place: u32,
}

pub(crate) fn wait_for_help(waker: &Waker) -> Helper {
    Helper { place: POOL.locked.lock().helpers.insert(waker.clone()) }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let removed = POOL.locked.lock().helpers.remove(self.place);
        drop(removed);
    }
}

/// Runs a task on this thread, if the OS cannot create threads; `false` if there is none to run.
pub(crate) fn help() -> bool {
    if !POOL.is_short.load(Ordering::Acquire) {
        return false;
    }
    let task = POOL.locked.lock().state.help();
    task.map(|task| run(task, &mut |tasks, _| submit(tasks))).is_some()
}

/// The main function of a thread of the pool.
fn work() {
    IS_OF_POOL.set(true);
    let mut locked = POOL.locked.lock();
    locked.state.arrive();
    loop {
        while let Some(task) = locked.state.next(&mut &*POOL) {
            release(locked);
            // A panic in users' code is caught where the task runs that code; nothing else unwinds (I14). The tasks
            // that follow from a task are added when it has returned, so this thread takes the first of them.
            contain(|| run(task, &mut |tasks, soon| add(tasks, usize::from(soon))));
            locked = POOL.locked.lock();
        }
        match wait(locked) {
            Some(woken) => locked = woken,
            None => return,
        }
    }
}

/// Waits for a call; `None` if the thread has to end.
fn wait(mut locked: MutexGuard<'static, Locked>) -> Option<MutexGuard<'static, Locked>> {
    loop {
        let listener = POOL.called.listen();
        drop(locked);
        // The notification does not matter, because another thread may have taken the call. The state knows.
        let _is_notified = listener.wait_deadline(Instant::now() + LINGER);
        locked = POOL.locked.lock();
        match locked.state.wake_up() {
            WakesUp::Works => return Some(locked),
            WakesUp::Waits => {}
            WakesUp::Ends => return None,
        }
    }
}

/// The tasks that a thread in `close_blocking` runs itself. A single task stays with the thread. If there are more, or
/// if the thread may be held up before it takes the task, the pool can help.
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
        change(|state, around| {
            let place = match self {
                Self::Shared { place } => *place,
                Self::Single(single) => {
                    tasks.splice(0..0, single.take());
                    let place = state.queues.share();
                    *self = Self::Shared { place };
                    place
                }
            };
            state.add_to(place, tasks, is_back_soon, around);
        });
    }

    /// The next task; `None` if none is left.
    #[inline]
    pub(in crate::run) fn next(&mut self) -> Option<Task> {
        let place = match self {
            Self::Single(single) => return single.take(),
            Self::Shared { place } => *place,
        };
        let task = POOL.locked.lock().state.queues.pop_from(place);
        if task.is_none() {
            *self = Self::Single(None);
        }
        task
    }

    /// Leaves the tasks to the pool.
    pub(in crate::run) fn give_away(mut self) {
        let tasks: Vec<Task> = std::iter::from_fn(|| self.next()).collect();
        if !tasks.is_empty() {
            submit(tasks);
        }
    }
}
