//! Counts the restarts of one unit, and of all units together, and decides the pauses before them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::ExponentialBackoff;

use crate::backoff::Rate;
use crate::policy::Policy;

/// The times of the restarts within the last period.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<Instant>);

/// Which limit one more restart would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The limit of the unit.
    Own,
    /// The limit of all units together.
    Total,
}

impl Recent {
    /// Counts one more restart, unless it would exceed the rate. Returns whether it was counted.
    pub(crate) fn add(&mut self, rate: Option<Rate>, now: Instant) -> bool {
        let has_room = self.has_room(rate, now);
        if has_room && rate.is_some() {
            self.0.push_back(now);
        }
        has_room
    }

    /// Returns whether one more restart would not exceed the rate.
    fn has_room(&mut self, rate: Option<Rate>, now: Instant) -> bool {
        let Some(rate) = rate else { return true };
        while self.0.front().is_some_and(|at| now.saturating_duration_since(*at) >= rate.within) {
            self.0.pop_front();
        }
        self.0.len() < rate.count
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

    /// Counts one more restart, also in `total`, which has the recent restarts of all units together. Returns the pause
    /// before it.
    ///
    /// # Errors
    ///
    /// The restart would exceed an intensity. Then it counts nowhere.
    pub(crate) fn again(
        &mut self,
        total: &mut Recent,
        policy: &Policy,
        now: Instant,
    ) -> Result<Duration, Exceeded> {
        if !self.recent.has_room(policy.intensity, now) {
            return Err(Exceeded::Own);
        }
        if !total.add(policy.total_intensity, now) {
            return Err(Exceeded::Total);
        }
        self.recent.add(policy.intensity, now);
        self.count += 1;
        Ok(self.pause(policy))
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
        let mut total = Recent::default();
        let mut again = |n| restarts.again(&mut total, policy, now + n * SECOND).ok();
        (0..times).map(|n| again(n).map(|pause| pause.as_secs())).collect()
    }

    /// A restart that one of the two intensities refuses counts for neither.
    #[test]
    fn both_intensities_must_allow_a_restart() {
        let (own, all) = (Rate::new(1, 10 * SECOND), Rate::new(2, 60 * SECOND));
        let policy = policy().intensity(own).total_intensity(all);
        let [mut first, mut second] = [(); 2].map(|()| Restarts::new(&policy));
        let (mut total, start) = (Recent::default(), Instant::now());
        let mut again = |restarts: &mut Restarts, at: u32| {
            restarts.again(&mut total, &policy, start + at * SECOND).map(|pause| pause.as_secs())
        };
        assert_eq!(again(&mut first, 0), Ok(1));
        assert_eq!(again(&mut first, 9), Err(Exceeded::Own));
        assert_eq!(again(&mut second, 9), Ok(1));
        assert_eq!(again(&mut first, 59), Err(Exceeded::Total));
        assert_eq!(again(&mut second, 59), Err(Exceeded::Total));
        assert_eq!(again(&mut first, 60), Ok(2));
        assert_eq!((first.count, second.count), (2, 1));
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
