//! Counts the restarts of one unit, and of all units together, and decides the pauses before them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::ExponentialBackoff;

use crate::backoff::Rate;
use crate::policy::Policy;

/// The times of the restarts within the last period.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<Instant>);

impl Recent {
    /// Counts one more restart, unless it would exceed the rate. Returns whether it was counted.
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

    /// Counts one more restart, and returns the pause before it. Returns `None` if it would exceed the intensity.
    pub(crate) fn again(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        if !self.recent.add(policy.intensity, now) {
            return None;
        }
        self.count += 1;
        Some(self.pause(policy))
    }

    /// Returns the pause before an attempt that does not count as a restart.
    pub(crate) fn pause(&mut self, policy: &Policy) -> Duration {
        policy.next(&mut self.pauses)
    }

    /// Called when a run has been ready for `time`. If that is long enough, the pauses begin from the first again.
    pub(crate) fn was_ready_for(&mut self, policy: &Policy, time: Duration) {
        if time >= policy.steady_after {
            self.pauses = policy.pauses();
        }
    }

    /// Forgets everything except the number of restarts.
    pub(crate) fn forgive(&mut self, policy: &Policy) {
        self.pauses = policy.pauses();
        self.recent = Recent::default();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backoff::Backoff;

    const SECOND: Duration = Duration::from_secs(1);
    const STEADY: Duration = Duration::from_secs(60);

    fn policy() -> Policy {
        let backoff = Backoff { first: SECOND, max: 8 * SECOND, jitter: false };
        Policy::new().backoff(backoff).steady_after(STEADY)
    }

    /// The pauses before the next restarts, which happen one second apart. `None` for a restart that is refused.
    fn pauses(restarts: &mut Restarts, policy: &Policy, times: u32) -> Vec<Option<u64>> {
        let now = Instant::now();
        let again = |n| restarts.again(policy, now + n * SECOND).map(|pause| pause.as_secs());
        (0..times).map(again).collect()
    }

    #[test]
    fn the_pauses_grow_up_to_the_maximum_and_all_restarts_count() {
        let (policy, mut restarts) = (policy(), Restarts::new(&policy()));
        assert_eq!(pauses(&mut restarts, &policy, 6), [1, 2, 4, 8, 8, 8].map(Some));
        assert_eq!(restarts.count, 6);
    }

    #[test]
    fn another_attempt_takes_the_next_pause_but_does_not_count_as_a_restart() {
        let policy = policy().intensity(Rate::new(1, 60 * SECOND));
        let mut restarts = Restarts::new(&policy);
        assert_eq!([(); 3].map(|()| restarts.pause(&policy).as_secs()), [1, 2, 4]);
        assert_eq!(pauses(&mut restarts, &policy, 2), [Some(8), None]);
        assert_eq!(restarts.count, 1);
    }

    #[test]
    fn after_a_steady_run_the_pauses_begin_again_but_the_count_continues() {
        let policy = policy().intensity(Rate::new(3, 60 * SECOND));
        let mut restarts = Restarts::new(&policy);
        assert_eq!(pauses(&mut restarts, &policy, 2), [1, 2].map(Some));
        restarts.was_ready_for(&policy, STEADY - Duration::from_nanos(1));
        assert_eq!(restarts.pause(&policy).as_secs(), 4);
        restarts.was_ready_for(&policy, STEADY);
        assert_eq!(pauses(&mut restarts, &policy, 2), [Some(1), None]);
        assert_eq!(restarts.count, 3);
    }

    #[test]
    fn forgiving_keeps_only_the_number() {
        let policy = policy().intensity(Rate::new(2, 60 * SECOND));
        let mut restarts = Restarts::new(&policy);
        assert_eq!(pauses(&mut restarts, &policy, 3), [Some(1), Some(2), None]);
        restarts.forgive(&policy);
        assert_eq!(pauses(&mut restarts, &policy, 3), [Some(1), Some(2), None]);
        assert_eq!(restarts.count, 4);
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        assert!((0..1000).all(|_| recent.add(None, now)));
        assert!(recent.0.is_empty());
    }

    /// A refused restart does not count towards the rate.
    #[test]
    fn a_restart_stops_counting_at_the_end_of_the_period() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        let rate = Some(Rate::new(2, 10 * SECOND));
        let mut add = |at: u32| recent.add(rate, start + at * SECOND);
        assert_eq!([0, 4, 9].map(&mut add), [true, true, false]);
        assert_eq!([10, 11, 13, 14].map(&mut add), [true, false, false, true]);
        assert_eq!(recent.0.len(), 2);
    }

    #[test]
    fn a_rate_of_zero_allows_none_and_a_period_of_zero_any_number() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        assert!(!recent.add(Some(Rate::new(0, SECOND)), now));
        assert!((0..5).all(|_| recent.add(Some(Rate::new(1, Duration::ZERO)), now)));
    }

    /// A custom clock may go back.
    #[test]
    fn a_restart_in_the_future_counts() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let rate = Some(Rate::new(1, SECOND));
        assert!(recent.add(rate, now + 5 * SECOND));
        assert!(!recent.add(rate, now));
    }
}
