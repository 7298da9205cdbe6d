//! The state of the pool: the number of threads, the waiting tasks, and the decisions about them.
//!
//! It starts no thread, wakes no thread and reads no clock: that is left to its [`Surroundings`]. Each function is
//! called in one locked section of the pool.
//!
//! # Invariants
//!
//! - P1. Each thread is in exactly one of four states, counted by [`Threads`]: idle, called, busy or blocked. *Because*
//!   each change of state is made under the lock, by the thread itself, with one exception: calling an idle thread
//!   makes it a called one. Idle threads are interchangeable: the first one that wakes up takes the call, even if it
//!   was not woken for it but has waited in vain. *No call is lost*: a call wakes a waiting thread; if no thread is
//!   waiting, each idle thread has waited in vain, and is about to check whether there is a call.
//! - P2. No thread is called while `limit` threads are called or busy, except for an urgent task: for that, one is
//!   called if no called thread is on its way, and each look that finds the urgent tasks stuck calls one more. A thread
//!   that blocks in a wait of the library does not count, so work that waits for other work does not take a thread away
//!   from it. When such a thread returns from the wait, it counts again, which may exceed the limit. While more than
//!   `limit` threads are busy, a thread that has finished its task takes only urgent tasks, so the pool returns to its
//!   limit.
//! - P3. If a task waits, one of these holds: a thread was called for it or is about to take it; a look is scheduled;
//!   the task is not urgent and the pool is at its limit, so that `limit` busy threads take the next task when they
//!   have finished theirs; or the OS could not create a thread, and the threads in `wait` run the tasks. *Because* each
//!   change that could end one of these conditions is followed by [`State::provide`] in the same locked section, and by
//!   waking the threads in `wait` if the state [needs help](State::needs_help).
//! - P4. The last thread never ends, so a pool that has had a thread always has one.

use super::queues::Queues;

/// The surroundings on which the state of the pool acts.
pub(super) trait Surroundings {
    /// Wakes one of the idle threads.
    fn wake_idle(&mut self);

    /// Starts a thread, which [arrives](State::arrive); `false` if the OS cannot create it.
    fn start_thread(&mut self) -> bool;

    /// Schedules a call of [`State::look`]; `false` if the OS cannot create the deadline thread, which makes it.
    fn schedule_look(&mut self) -> bool;

    /// Did the OS fail to create a thread the last time, so that threads in `wait` have to help?
    fn is_short(&self) -> bool;

    fn set_short(&mut self, is_short: bool);
}

#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct State<T> {
    /// The number of threads up to which one is called at once for each task.
    cores: usize,
    /// The maximum number of threads that run tasks at once.
    limit: usize,
    pub(super) queues: Queues<T>,
    pub(super) threads: Threads,
    /// A look is scheduled.
    is_watched: bool,
}

/// The number of threads in each state (P1).
#[derive(Clone, Copy, Default)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq, Hash))]
pub(super) struct Threads {
    /// Waiting to be called.
    pub(super) idle: usize,
    /// Called, and not yet busy.
    pub(super) called: usize,
    /// The number of called threads that were idle. The first idle threads that wake up take these calls.
    pub(super) calls: usize,
    /// Running a task, or looking for one.
    pub(super) busy: usize,
    /// Running a task that is blocked in a wait of the library.
    pub(super) blocked: usize,
}

/// The next step of an idle thread when it stops waiting.
pub(super) enum WakesUp {
    /// It was called, and is busy.
    Works,
    /// It is the last one, and waits again.
    Waits,
    Ends,
}

impl<T> State<T> {
    pub(super) fn new(cores: usize, limit: usize) -> Self {
        let (queues, threads) = (Queues::new(), Threads::default());
        Self { cores, limit, queues, threads, is_watched: false }
    }

    /// Starts the first thread; `false` if the pool has no thread then.
    pub(super) fn prepare(&mut self, around: &mut impl Surroundings) -> bool {
        let has_thread = self.threads.all() > 0 || self.call(around);
        self.provide(0, around);
        has_thread
    }

    /// Adds tasks. The calling thread is about to take `served` of them.
    pub(super) fn add(&mut self, tasks: Vec<T>, served: usize, around: &mut impl Surroundings) {
        self.queues.add(tasks);
        self.provide(served, around);
    }

    /// Adds an urgent task, which is ahead of all others, and for which the limit may be exceeded.
    pub(super) fn add_urgent(&mut self, task: T, around: &mut impl Surroundings) {
        self.queues.add_urgent(task);
        if self.threads.called == 0 {
            self.call(around);
        }
        self.provide(0, around);
    }

    /// Adds tasks to the queue of the calling thread. If `is_back_soon` is set, that thread is about to take the first
    /// one.
    pub(super) fn add_to(
        &mut self,
        place: u32,
        tasks: Vec<T>,
        is_back_soon: bool,
        around: &mut impl Surroundings,
    ) {
        self.queues.add_to(place, tasks);
        self.provide(usize::from(is_back_soon), around);
    }

    /// The look that [`provide`](Self::provide) has scheduled: if the pool is stuck, lets it grow.
    pub(super) fn look(&mut self, around: &mut impl Surroundings) {
        self.is_watched = false;
        let stuck = self.queues.look();
        if stuck.any {
            let room = self.limit.saturating_sub(self.threads.working());
            let more = self.threads.busy.max(1).min(room).max(usize::from(stuck.urgent));
            let _as_many_as_possible = (0..more).all(|_| self.call(around));
        }
        self.provide(0, around);
    }

    /// A called thread becomes busy, because it has started or woken up.
    pub(super) fn arrive(&mut self) {
        self.threads.called -= 1;
        self.threads.busy += 1;
    }

    /// The next task for a busy thread. If it is `None`, the thread is idle from now on.
    pub(super) fn next(&mut self, around: &mut impl Surroundings) -> Option<T> {
        let is_over_limit = self.threads.busy > self.limit;
        let task = if is_over_limit { self.queues.pop_urgent() } else { self.queues.pop() };
        if task.is_none() {
            self.threads.busy -= 1;
            self.threads.idle += 1;
            return None;
        }
        // The owner of the queue may have been about to take this task, and another task may have counted on this
        // thread.
        self.provide(0, around);
        task
    }

    /// A task for a thread in `wait`. No task counted on that thread.
    pub(super) fn help(&mut self) -> Option<T> {
        self.queues.pop()
    }

    #[cfg(test)]
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The number of tasks that a task which is not urgent waits for: `limit` running ones if the pool is at its limit
    /// (P2). Below the limit it waits for a thread, not for other tasks. The tasks beyond the limit do not count,
    /// because they are urgent, or were blocked.
    pub(super) fn tasks_ahead(&self) -> usize {
        if self.threads.busy < self.limit { 0 } else { self.limit }
    }

    /// A busy thread blocks in a wait of the library.
    pub(super) fn block(&mut self, around: &mut impl Surroundings) {
        self.threads.busy -= 1;
        self.threads.blocked += 1;
        self.provide(0, around);
    }

    pub(super) fn unblock(&mut self) {
        self.threads.blocked -= 1;
        self.threads.busy += 1;
    }

    /// An idle thread stops waiting, because it was woken or has waited long enough. It takes a call if there is one,
    /// even if it was not woken for it.
    pub(super) fn wake_up(&mut self) -> WakesUp {
        if self.threads.calls > 0 {
            self.threads.calls -= 1;
            self.arrive();
            return WakesUp::Works;
        }
        if self.threads.all() == 1 {
            return WakesUp::Waits;
        }
        self.threads.idle -= 1;
        WakesUp::Ends
    }

    /// Do threads in `wait` have to run tasks?
    pub(super) fn needs_help(&self, around: &impl Surroundings) -> bool {
        around.is_short() && self.queues.waiting() > 0
    }

    /// Makes sure that waiting tasks are run (P3). Busy threads are about to take `served` of them.
    fn provide(&mut self, served: usize, around: &mut impl Surroundings) {
        while self.queues.own() > self.threads.called + served
            && self.threads.working() < self.cores
        {
            if !self.call(around) {
                break;
            }
        }
        let is_covered = self.queues.waiting() <= self.threads.called + served;
        let may_grow = self.threads.working() < self.limit || self.queues.has_urgent();
        if !self.is_watched && !is_covered && may_grow {
            self.is_watched = around.schedule_look();
            if !self.is_watched {
                around.set_short(true);
            }
        }
    }

    /// Calls an idle thread, or starts one; `false` if the OS cannot create it.
    fn call(&mut self, around: &mut impl Surroundings) -> bool {
        if self.threads.idle > 0 {
            self.threads.idle -= 1;
            self.threads.called += 1;
            self.threads.calls += 1;
            around.wake_idle();
            return true;
        }
        let is_started = around.start_thread();
        self.threads.called += usize::from(is_started);
        around.set_short(!is_started);
        is_started
    }
}

impl Threads {
    /// The number of threads that count towards the limit.
    pub(super) fn working(&self) -> usize {
        self.called + self.busy
    }

    pub(super) fn all(&self) -> usize {
        self.idle + self.called + self.busy + self.blocked
    }
}
