//! The past restarts of a unit, and of all units together: the pauses before them, and whether there were too many.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::ExponentialBackoff;

use crate::backoff::Rate;
use crate::policy::Policy;

/// The times of past restarts, as far back as they count.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<Instant>);

impl Recent {
    /// Counts one more; `false` if there would be too many.
    pub(crate) fn add(&mut self, rate: Option<Rate>, now: Instant) -> bool {
        let Some(rate) = rate else { return true };
        while self.0.front().is_some_and(|at| now.saturating_duration_since(*at) >= rate.within) {
            self.0.pop_front();
        }
        if self.0.len() >= rate.count {
            return false;
        }
        self.0.push_back(now);
        true
    }
}

/// The restarts of one unit.
pub(crate) struct Restarts {
    /// Their number.
    pub(crate) count: u64,
    pauses: ExponentialBackoff,
    recent: Recent,
}

impl Restarts {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self { count: 0, pauses: policy.pauses(), recent: Recent::default() }
    }

    /// Counts one more, and returns the pause before it; `None` if there were too many.
    pub(crate) fn again(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        if !self.recent.add(policy.intensity, now) {
            return None;
        }
        self.count += 1;
        Some(self.pause(policy))
    }

    /// The pause before another attempt that is no restart.
    pub(crate) fn pause(&mut self, policy: &Policy) -> Duration {
        policy.next(&mut self.pauses)
    }

    /// A run has ended that was ready for this long: if that is long enough, the pauses begin from the first again.
    pub(crate) fn was_ready_for(&mut self, policy: &Policy, time: Duration) {
        if time >= policy.steady_after {
            self.pauses = policy.pauses();
        }
    }

    /// Forgets all but their number.
    pub(crate) fn forgive(&mut self, policy: &Policy) {
        self.pauses = policy.pauses();
        self.recent = Recent::default();
    }
}
