//! [`Lease`]: the right of a manager to run a unit, and [`Term`]: the lease of the manager itself.
//!
//! 1. A lease that is valid here is valid in the store. Argument: the store counts the time to live from when it
//!    receives a renewal, which is later than [`Term::renewed`] counts it from: just before it was sent. The clock here
//!    runs while the machine is suspended, and [`margin`] covers the difference in speed of the two clocks.
//! 2. A lease that has ended stays ended. Argument: [`Term::renewed`] changes nothing once `is_over` is set, and
//!    [`Term::remaining`] sets it when it finds that the time has passed. Both do so under the lock.
//! 3. Whoever waits in [`Lease::lost`] wakes. Argument: every lease is a process below the process of the term. The
//!    watch ends the term when the time has passed, and whoever ends the term closes that process.
//! 4. The end of a term or a lease waits for no code of a user. Argument: [`close_elsewhere`] leaves all wakers to
//!    other threads. The clock is read before the lock is taken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Condvar;
use procession::support::close_elsewhere;
use procession::{Closing, Process, Site};

use super::runs::Runs;
use super::table::{ManagerId, Token};
use super::time::LeaseClock;
use crate::sync::Mutex;

/// The lease of a manager, from its registration to its end.
pub(super) struct Term {
    pub(super) manager: ManagerId,
    /// How long a renewal lasts; `None` if the lease lasts until the program ends.
    pub(super) lasts: Option<Duration>,
    /// The time to live in the store.
    pub(super) ttl: Option<Duration>,
    /// How long after its end here the lease lasts in the store.
    margin: Duration,
    clock: LeaseClock,
    state: Mutex<TermState>,
    /// Notified when the lease ends.
    ended: Condvar,
    /// It closes when the lease ends.
    process: Process,
    /// It closes when half of the time has passed without a renewal.
    at_risk: Process,
    /// The runs of units under the lease.
    pub(super) runs: Runs,
}

struct TermState {
    /// When the lease ends.
    until: Option<Duration>,
    is_over: bool,
}

/// How long before the end of its lease in the store a manager considers it ended.
fn margin(ttl: Duration) -> Duration {
    MARGIN.min(ttl / 5)
}

const MARGIN: Duration = Duration::from_secs(1);

impl Term {
    /// The lease of a manager that was made at `site`, and has registered with a request sent at `sent`.
    pub(super) fn new(
        manager: ManagerId,
        ttl: Option<Duration>,
        clock: LeaseClock,
        sent: Duration,
        site: Site,
    ) -> Arc<Self> {
        let margin = ttl.map_or(MARGIN, margin);
        let lasts = ttl.map(|ttl| ttl.saturating_sub(margin));
        let until = lasts.map(|lasts| sent.saturating_add(lasts));
        Arc::new(Self {
            manager,
            lasts,
            ttl,
            margin,
            clock,
            state: Mutex::new(TermState { until, is_over: false }),
            ended: Condvar::new(),
            process: named("lease", site),
            at_risk: named("lease at risk", site),
            runs: Runs::default(),
        })
    }

    /// A renewal that was sent at `sent` has succeeded.
    pub(super) fn renewed(&self, sent: Duration) {
        let mut state = self.state.lock();
        if !state.is_over {
            state.until = self.lasts.map(|lasts| sent.saturating_add(lasts));
        }
    }

    /// Ends the lease now.
    pub(super) fn end(&self) {
        self.state.lock().is_over = true;
        self.ended.notify_all();
        close_elsewhere(&self.process, false);
    }

    /// The time until the lease ends; zero if it has ended. `None` if it lasts until the program ends.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let remaining = match state.until {
            _ if state.is_over => Some(Duration::ZERO),
            until => until.map(|until| until.saturating_sub(now)),
        };
        state.is_over |= remaining == Some(Duration::ZERO);
        remaining
    }

    /// How long the lease still lasts in the store after its end here. If it has ended there as well, because the
    /// program was paused or the store has ended it, the result is that of a regular end: haste would gain nothing.
    pub(super) fn left_in_store(&self) -> Duration {
        let now = self.clock.now();
        let until = self.state.lock().until.filter(|until| *until < now);
        let left = until.and_then(|until| self.margin.checked_sub(now - until));
        left.unwrap_or(self.margin)
    }

    pub(super) fn is_valid(&self) -> bool {
        self.remaining() != Some(Duration::ZERO)
    }

    /// Waits for this time, but not beyond the call that [ends](Self::end) the lease.
    pub(super) fn wait(&self, time: Duration) {
        let mut state = self.state.lock();
        if !state.is_over {
            self.ended.wait_for(&mut state, time);
        }
    }

    /// Wakes those who wait in [`at_risk`](Self::at_risk).
    pub(super) fn is_at_risk(&self) {
        close_elsewhere(&self.at_risk, false);
    }

    /// Waits until half of the time has passed without a renewal for the first time.
    pub(super) fn at_risk(&self) -> Closing {
        self.at_risk.closing()
    }
}

/// The right to run a unit and to write in its name. Clones are the same lease.
///
/// It ends when the lease of the manager ends, when somebody else has claimed the unit, or when the manager has
/// released the unit.
///
/// Checking [`is_valid`](Self::is_valid) before a write is **not enough**, because the program may be paused between
/// the two. Make the write itself conditional on the [token](Self::token): with the guard of the store for writes to
/// the same database, and otherwise by rejecting smaller tokens where the write arrives.
#[derive(Clone)]
pub struct Lease {
    key: Arc<str>,
    token: Token,
    term: Arc<Term>,
    /// It closes when the lease ends.
    process: Process,
}

impl Lease {
    pub(super) fn new(term: &Arc<Term>, key: Arc<str>, token: Token) -> Self {
        // If the term has ended already, so has the lease.
        let process = named(key.clone(), term.process.site());
        if term.process.add_child_no_wait(&process).is_err() {
            process.close();
        }
        Self { key, token, term: term.clone(), process }
    }

    /// Returns the key of the unit.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the fencing token of the claim.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns the manager that holds the lease.
    pub fn manager(&self) -> ManagerId {
        self.term.manager
    }

    /// Returns whether the lease has not ended yet. It is a hint that saves work, not a guard.
    pub fn is_valid(&self) -> bool {
        self.remaining() != Some(Duration::ZERO)
    }

    /// Returns the time until the lease ends unless it is renewed; zero if it has ended. `None` if it lasts until the
    /// program ends.
    pub fn remaining(&self) -> Option<Duration> {
        if self.process.is_closing() { Some(Duration::ZERO) } else { self.term.remaining() }
    }

    /// Waits until the lease has ended. The result is a future, and has blocking waits.
    pub fn lost(&self) -> Closing {
        self.process.closing()
    }

    pub(super) fn end(&self) {
        close_elsewhere(&self.process, false);
    }
}

/// A process of a manager that was made at `site`. Logs and errors show its name.
pub(super) fn named(name: impl Into<Arc<str>>, site: Site) -> Process {
    let built = Process::builder().name(name).site(site).build();
    built.expect("a process without a parent can always be made")
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("token", &self.token)
            .field("manager", &self.term.manager)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use procession::ManualClock;

    use super::*;

    /// A program that exits because of a stuck unit must do so before the lease ends in the store.
    #[test]
    fn the_time_that_is_left_in_the_store_ends_with_the_lease_there() {
        const TTL: Duration = Duration::from_secs(10);
        let clock = ManualClock::new();
        let lease_clock = LeaseClock::new(Some(Arc::new(clock.clone())));
        let sent = lease_clock.now();
        let term = Term::new(ManagerId::new(1), Some(TTL), lease_clock, sent, Site::caller());
        clock.advance(TTL - MARGIN - Duration::from_millis(1));
        assert!(term.is_valid());
        clock.advance(Duration::from_millis(1));
        assert!(!term.is_valid(), "it ends here before it ends there");
        assert_eq!(term.left_in_store(), MARGIN);
        clock.advance(MARGIN * 3 / 4);
        assert_eq!(term.left_in_store(), MARGIN / 4);
        // It was paused until the lease had ended there as well, so nothing is gained by haste.
        clock.advance(MARGIN);
        assert_eq!(term.left_in_store(), MARGIN);
    }
}
