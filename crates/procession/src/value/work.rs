//! [`Work`]: the kind of code that a process runs at the moment.

use crate::value::sync::{AtomicU8, Ordering};

/// The kind of code that a process runs at the moment, or that is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Work {
    None,
    ThreadBody,
    AsyncBody,
    /// An async body that its caller polls in a task of its own.
    BodyOfCaller,
    BlockingTeardown,
    AsyncTeardown,
}

#[cfg(all(feature = "tokio", not(loom)))]
const ALL: [Work; 6] = [
    Work::None,
    Work::ThreadBody,
    Work::AsyncBody,
    Work::BodyOfCaller,
    Work::BlockingTeardown,
    Work::AsyncTeardown,
];

/// The work of a process, written by the thread that starts or ends it.
///
/// Its accesses are relaxed, because it only explains the process to a reader and orders nothing.
pub(crate) struct WorkCell(AtomicU8);

impl WorkCell {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Work::None as u8))
    }

    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn get(&self) -> Work {
        ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(crate) fn set(&self, work: Work) {
        self.0.store(work as u8, Ordering::Relaxed);
    }
}
