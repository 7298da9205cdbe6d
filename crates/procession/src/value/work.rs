//! [`Work`]: the kind of code that a process runs at the moment.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::value::stamp::Stamp;

/// The kind of code that a process runs at the moment, or that is about to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Work {
    /// None.
    #[default]
    None,
    /// A body on a thread.
    ThreadBody,
    /// A body as a future, on the spawner.
    AsyncBody,
    /// A body as a future that its caller polls in a task of its own.
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
}

/// The kinds of work, by their numbers.
const ALL: [Work; 10] = [
    Work::None,
    Work::ThreadBody,
    Work::AsyncBody,
    Work::CallerBody,
    Work::TeardownQueued,
    Work::Teardown,
    Work::AsyncTeardown,
    Work::Hook,
    Work::Future,
    Work::TeardownQueued,
];

/// The number of an async teardown that was given to its spawner and has not begun.
const SPAWNED_TEARDOWN: u8 = 9;

/// The work of a process, and when it began, written by the thread that starts or ends it.
///
/// The atomics are the standard library's, also in a model, and the accesses are relaxed, because they only explain the
/// process to a reader and order nothing. A reader may see the work of one moment with the time of another.
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
        ALL[usize::from(self.work.load(Ordering::Relaxed))]
    }

    /// Is it a closing hook?
    #[inline]
    pub(crate) fn is_hook(&self) -> bool {
        self.work.load(Ordering::Relaxed) == Work::Hook as u8
    }

    /// The work, and when it began.
    #[inline]
    pub(crate) fn get_since(&self) -> (Work, Option<Stamp>) {
        let since = Stamp::from_parts(
            self.since_low.load(Ordering::Relaxed),
            self.since_high.load(Ordering::Relaxed),
        );
        match self.get() {
            Work::None => (Work::None, None),
            work => (work, since),
        }
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

    /// The kind of work, before it begins. It reads no clock.
    pub(crate) fn mark(&self, work: Work) {
        self.work.store(work as u8, Ordering::Relaxed);
    }

    /// The teardown has been due since this time. The teardown of a closing hook is its function, and remains
    /// [`Work::Hook`].
    #[inline]
    pub(crate) fn teardown_is_due(&self, since: Stamp) {
        let work = if self.is_hook() { Work::Hook } else { Work::TeardownQueued };
        self.begin_at(work, since);
    }

    /// The async teardown that is due was given to its spawner.
    pub(crate) fn is_given_to_spawner(&self) {
        self.work.store(SPAWNED_TEARDOWN, Ordering::Relaxed);
    }

    /// Does it need its spawner to poll it?
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
