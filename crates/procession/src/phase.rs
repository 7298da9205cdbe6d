//! [`Phase`], and the atomic that publishes it.

use std::sync::atomic::Ordering;

use crate::sync::AtomicU8;

/// Where a process stands: Running, then Closing, then Closed, never back.
///
/// The order of the variants is the order in time, so phases compare:
///
/// ```
/// use procession::{Phase, Process};
///
/// let process = Process::new();
/// assert_eq!(process.phase(), Phase::Running);
/// process.close_blocking()?;
/// assert!(process.phase() > Phase::Closing);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// At work: children, edges and bodies can be added.
    Running,
    /// Asked to end: its children are closed, and it waits for them and for its body; then its teardown runs.
    Closing,
    /// At the end: all it waited for is Closed and its teardown has run.
    Closed,
}

/// A phase that is written under the node's lock and read without it.
///
/// The writes are `Release` and the reads `Acquire`: who sees Closed sees all that the teardown did.
pub(crate) struct AtomicPhase(AtomicU8);

const PHASE: u8 = 0b0011;
const ABORTING: u8 = 0b0100;
const BACKGROUND: u8 = 0b1000;

impl AtomicPhase {
    pub(crate) fn new(background: bool) -> Self {
        Self(AtomicU8::new(if background { BACKGROUND } else { 0 }))
    }

    #[inline]
    pub(crate) fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) & PHASE {
            0 => Phase::Running,
            1 => Phase::Closing,
            _ => Phase::Closed,
        }
    }

    /// Advances the phase. Call it under the node's lock.
    pub(crate) fn advance(&self, phase: Phase) {
        let before = self.0.load(Ordering::Relaxed);
        debug_assert!(before & PHASE < phase as u8 && before & BACKGROUND == 0, "S1");
        self.0.store(before & !PHASE | phase as u8, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_aborting(&self) -> bool {
        self.0.load(Ordering::Acquire) & ABORTING != 0
    }

    /// Marks the process as aborting. Call it under the node's lock.
    pub(crate) fn abort(&self) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before | ABORTING, Ordering::Release);
    }

    pub(crate) fn is_background(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BACKGROUND != 0
    }
}
