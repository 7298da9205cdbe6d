//! The atomic word that publishes the phase of a process.
//!
//! | bits | meaning | set by | when |
//! |---|---|---|---|
//! | 0–1 | the [`Phase`] | [`begin_closing`](PhaseWord::begin_closing), [`finish`](PhaseWord::finish) | once each, under the node's lock |
//! | 2 | aborting | `begin_closing`, together with Closing, or [`abort`](PhaseWord::abort) | at most once, under the node's lock, never before Closing |
//! | 3 | held: made under a parent that waits for it, so its handles are not counted | [`new`](PhaseWord::new) | never changes |
//! | 4 | background: it never closes | `new` | never changes; bits 0 to 3 stay 0 |
//! | 5 | watched: it has observers for events | [`watch`](PhaseWord::watch) | at most once, under the node's lock, in the section that gives it the first observer |
//! | 6 | traced: its observers include the one of the program ([`Contents::is_of_program`](super::Contents::is_of_program)) | `watch` | at most once, in such a section |
//! | 7 | it waits for its body, or for its maker | `new` | cleared once, by [`end_body`](PhaseWord::end_body), under the node's lock |
//!
//! All stores are made under the node's lock, so a load under the lock may be relaxed and is followed by a plain
//! store. `is_aborting()` implies `is_closing()` even for two racing loads (I1), because every store that sets bit 2
//! also contains a phase that is at least Closing.
//!
//! The stores are `Release` and pair with the `Acquire` loads of readers without the lock: a thread that reads Closed
//! sees everything that the teardown did.
//!
//! loom keeps only the last access of each thread to an atomic, which can hide a store behind an earlier load by the
//! same thread. Therefore under loom, each access first touches a second atomic, which makes loom explore both orders.
//! The accesses themselves keep their real orderings, so loom still finds one that is too weak.

use crate::value::Phase;
use crate::value::sync::{AtomicU8, Ordering};

pub(super) struct PhaseWord {
    word: AtomicU8,
    #[cfg(loom)]
    touched: AtomicU8,
}

const PHASE: u8 = 0b0_0011;
const ABORTING: u8 = 0b0_0100;
const HELD: u8 = 0b0_1000;
const BACKGROUND: u8 = 0b1_0000;
const WATCHED: u8 = 0b10_0000;
const TRACED: u8 = 0b100_0000;
const BODY: u8 = 0b1000_0000;

/// What keeps a new process open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Its handles, and parents that are linked later.
    #[default]
    Handles,
    /// The parent under which it is made, until it is Closed, because that parent waits for it.
    Parent,
    /// Nothing, because it never closes.
    Background,
}

impl PhaseWord {
    pub(super) fn new(holder: Holder, body: bool) -> Self {
        let word = match holder {
            Holder::Handles => 0,
            Holder::Parent => HELD,
            Holder::Background => BACKGROUND,
        };
        Self {
            word: AtomicU8::new(if body { word | BODY } else { word }),
            #[cfg(loom)]
            touched: AtomicU8::new(0),
        }
    }

    #[inline]
    fn load(&self, ordering: Ordering) -> u8 {
        self.touch();
        self.word.load(ordering)
    }

    #[inline]
    fn store(&self, word: u8) {
        self.touch();
        self.word.store(word, Ordering::Release);
    }

    #[cfg(not(loom))]
    #[inline]
    fn touch(&self) {}

    #[cfg(loom)]
    fn touch(&self) {
        self.touched.fetch_or(0, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> Phase {
        match self.load(Ordering::Acquire) & PHASE {
            0 => Phase::Running,
            1 => Phase::Closing,
            _ => Phase::Closed,
        }
    }

    #[inline]
    pub(super) fn is_aborting(&self) -> bool {
        self.load(Ordering::Acquire) & ABORTING != 0
    }

    /// Running becomes Closing, and aborting in the same store. Call it under the node's lock.
    pub(super) fn begin_closing(&self, abort: bool) {
        let before = self.load(Ordering::Relaxed);
        debug_assert_eq!(before & (PHASE | ABORTING | BACKGROUND), 0, "S1");
        let aborting = if abort { ABORTING } else { 0 };
        self.store(before | Phase::Closing as u8 | aborting);
    }

    /// Closing becomes aborting. Call it under the node's lock.
    pub(super) fn abort(&self) {
        let before = self.load(Ordering::Relaxed);
        debug_assert_eq!(before & (PHASE | ABORTING), Phase::Closing as u8, "S1");
        self.store(before | ABORTING);
    }

    /// Closing becomes Closed. Call it under the node's lock.
    pub(super) fn finish(&self) {
        let before = self.load(Ordering::Relaxed);
        debug_assert_eq!(before & PHASE, Phase::Closing as u8, "S1");
        self.store(before & !PHASE | Phase::Closed as u8);
    }

    /// Publishes that the process has observers. `traced` says whether they include the one of the program. Call it
    /// under the node's lock.
    pub(super) fn watch(&self, traced: bool) {
        let traced = if traced { TRACED } else { 0 };
        let before = self.load(Ordering::Relaxed);
        if before | WATCHED | traced != before {
            self.store(before | WATCHED | traced);
        }
    }

    /// Does it have observers for events? Relaxed, because the observers are read under the node's lock. A model has
    /// no events.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        cfg!(not(loom)) && self.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Do its observers include the one of the program?
    #[cfg(all(feature = "tracing", not(loom)))]
    #[inline]
    pub(super) fn is_traced(&self) -> bool {
        self.load(Ordering::Relaxed) & TRACED != 0
    }

    /// The body has ended, or the maker is done. Call it under the node's lock.
    #[inline]
    pub(super) fn end_body(&self) {
        let before = self.load(Ordering::Relaxed);
        self.store(before & !BODY);
    }

    /// Does it have a body that has not ended, or a maker that is not done?
    #[inline]
    pub(super) fn has_body(&self) -> bool {
        self.load(Ordering::Acquire) & BODY != 0
    }

    /// Are its handles counted? A model, which reports no failures, counts them only while the process is Running, so
    /// that it has fewer orders to explore.
    #[inline]
    pub(super) fn counts_handles(&self) -> bool {
        let uncounted = if cfg!(loom) { PHASE | HELD } else { HELD };
        self.load(Ordering::Acquire) & uncounted == 0
    }

    #[inline]
    pub(super) fn is_background(&self) -> bool {
        self.load(Ordering::Relaxed) & BACKGROUND != 0
    }
}
