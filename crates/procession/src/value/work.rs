//! [`Work`]: the kind of code that a process is running.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::value::stamp::Stamp;

/// The kind of code that a process is running, or is about to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Work {
    /// The process runs no code.
    #[default]
    None,
    /// A body on a thread.
    ThreadBody,
    /// A body that is a future, which the spawner polls.
    AsyncBody,
    /// A body that is a future, which its caller polls in a task of its own.
    CallerBody,
    /// A teardown that is due, and has not begun.
    TeardownQueued,
    /// A blocking teardown.
    Teardown,
    /// An async teardown.
    AsyncTeardown,
    /// A function that was given to [`on_closing`](crate::Process::on_closing).
    Hook,
    /// A future that was given to [`wait_for_future`](crate::Process::wait_for_future).
    Future,
    /// A function that was given to [`on_failure`](crate::Process::on_failure), or the `tracing` subscriber, which was
    /// called for a failure of the process. The process waits for it, and runs nothing else.
    FailureHook,
}

/// The kinds of work, indexed by the number that is stored.
const ALL: [Work; 12] = [
    Work::None,
    Work::ThreadBody,
    Work::AsyncBody,
    Work::CallerBody,
    Work::TeardownQueued,
    Work::Teardown,
    Work::AsyncTeardown,
    Work::Hook,
    Work::Future,
    Work::FailureHook,
    Work::TeardownQueued,
    Work::TeardownQueued,
];

/// The number of an async teardown that was given to its spawner and has not begun.
const SPAWNED_TEARDOWN: u8 = 10;

/// The number of a blocking teardown that was given to a spawner of the user and has not begun.
const SPAWNED_BLOCKING: u8 = 11;

/// The work as it is stored, which also says where a queued teardown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredWork(u8);

impl StoredWork {
    #[inline]
    pub(crate) fn kind(self) -> Work {
        ALL[usize::from(self.0)]
    }

    /// Does a teardown wait for a thread of the library, and not for a spawner?
    pub(crate) fn is_in_pool_queue(self) -> bool {
        self.0 == Work::TeardownQueued as u8
    }

    /// A blocking teardown that was given to a spawner of the user.
    #[cfg(test)]
    pub(crate) const SPAWNED: Self = Self(SPAWNED_BLOCKING);
}

impl From<Work> for StoredWork {
    fn from(work: Work) -> Self {
        Self(work as u8)
    }
}

/// The work of a process and its start time, written by the thread that starts or ends the work.
///
/// The atomics are the standard library's even in a model, and the accesses are relaxed, because they only describe the
/// process to a reader and order nothing. A reader may see the kind of one piece of work with the start time of
/// another.
pub(crate) struct WorkCell {
    work: AtomicU8,
    since_high: AtomicU8,
    since_low: AtomicU32,
}

impl WorkCell {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { work: AtomicU8::new(0), since_high: AtomicU8::new(0), since_low: AtomicU32::new(0) }
    }

    #[inline]
    pub(crate) fn get(&self) -> Work {
        StoredWork(self.work.load(Ordering::Relaxed)).kind()
    }

    /// Is it a closing hook?
    #[inline]
    pub(crate) fn is_hook(&self) -> bool {
        self.work.load(Ordering::Relaxed) == Work::Hook as u8
    }

    /// The work, and when it began.
    #[inline]
    pub(crate) fn get_since(&self) -> (StoredWork, Option<Stamp>) {
        let since = Stamp::from_parts(
            self.since_low.load(Ordering::Relaxed),
            self.since_high.load(Ordering::Relaxed),
        );
        let work = StoredWork(self.work.load(Ordering::Relaxed));
        (work, since.filter(|_| work.kind() != Work::None))
    }

    /// Work of this kind begins now.
    #[inline]
    pub(crate) fn begin(&self, work: Work) {
        self.begin_at(work, Stamp::now());
    }

    /// Work of this kind began at this time.
    #[inline]
    pub(crate) fn begin_at(&self, work: Work, since: Stamp) {
        let (low, high) = since.parts();
        self.since_low.store(low, Ordering::Relaxed);
        self.since_high.store(high, Ordering::Relaxed);
        self.work.store(work as u8, Ordering::Relaxed);
    }

    /// Sets the kind of work before the work begins. This reads no clock.
    pub(crate) fn mark(&self, work: Work) {
        self.work.store(work as u8, Ordering::Relaxed);
    }

    /// Records that the teardown has been due since this time. The teardown of a closing hook is the hook's function,
    /// so its kind remains [`Work::Hook`].
    #[inline]
    pub(crate) fn mark_teardown_due(&self, since: Stamp) {
        let work = if self.is_hook() { Work::Hook } else { Work::TeardownQueued };
        self.begin_at(work, since);
    }

    /// Records that the teardown that is due was given to its spawner.
    pub(crate) fn mark_given_to_spawner(&self, is_blocking: bool) {
        let work = if is_blocking { SPAWNED_BLOCKING } else { SPAWNED_TEARDOWN };
        self.work.store(work, Ordering::Relaxed);
    }

    /// Is there work that the spawner has to poll?
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn needs_polls(&self) -> bool {
        let is_queued = self.work.load(Ordering::Relaxed) == SPAWNED_TEARDOWN;
        is_queued || matches!(self.get(), Work::AsyncBody | Work::AsyncTeardown | Work::Future)
    }

    /// A blocking teardown begins now.
    #[inline]
    pub(crate) fn begin_teardown(&self) {
        let work = if self.is_hook() { Work::Hook } else { Work::Teardown };
        self.begin(work);
    }

    /// The work has ended.
    #[inline]
    pub(crate) fn end(&self) {
        self.work.store(Work::None as u8, Ordering::Relaxed);
    }
}
