//! [`Backoff`] and [`Rate`]: the pauses before retries, and the limits on their number.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double from the first one up to a maximum, with jitter. They precede the restarts of a unit, and further
/// attempts to read a table. The crate `backon` computes them.
///
/// ```
/// use procession_supervisor::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).jitter(false);
/// assert_eq!(backoff.max, Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "pauses do nothing until a policy has them"]
pub struct Backoff {
    /// The first pause. Default: 100 ms.
    pub first: Duration,
    /// The maximum pause. Default: 30 s.
    pub max: Duration,
    /// Whether each pause is extended by a random part of itself, but not beyond the maximum, so that units that failed
    /// together do not restart together. Default: `true`.
    pub jitter: bool,
}

/// The maximum that is passed to `backon`, in which longer pauses would overflow.
const MAX_PAUSE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A number of occurrences within a period.
///
/// ```
/// use procession_supervisor::Rate;
/// use std::time::Duration;
///
/// const FIVE_A_MINUTE: Rate = Rate::new(5, Duration::from_secs(60));
/// # let _ = FIVE_A_MINUTE;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a rate does nothing until a policy has it"]
pub struct Rate {
    /// The number of occurrences.
    pub count: usize,
    /// The period.
    pub within: Duration,
}

impl Backoff {
    /// Pauses from `first` up to `max`, with jitter.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, jitter: true }
    }

    /// Sets whether each pause is extended by a random part of itself. Default: `true`.
    pub const fn jitter(self, jitter: bool) -> Self {
        Self { jitter, ..self }
    }

    pub(crate) fn pauses(&self) -> ExponentialBackoff {
        let builder = ExponentialBuilder::default()
            .with_min_delay(self.first.min(MAX_PAUSE))
            .with_max_delay(self.max.min(MAX_PAUSE))
            .without_max_times();
        if self.jitter { builder.with_jitter().build() } else { builder.build() }
    }

    /// Returns the next pause, in whole microseconds.
    pub(crate) fn next(&self, pauses: &mut ExponentialBackoff) -> Duration {
        let pause = pauses.next().unwrap_or(self.max).min(self.max);
        // `backon` computes in floating point, and a pause such as 200.000003 ms would be hard to read.
        u64::try_from(pause.as_micros()).map_or(pause, Duration::from_micros)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Rate {
    /// A rate of `count` occurrences within `within`.
    pub const fn new(count: usize, within: Duration) -> Self {
        Self { count, within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_max() {
        let backoff = Backoff { jitter: false, ..Backoff::default() };
        let mut pauses = backoff.pauses();
        let pauses: Vec<u128> = (0..20).map(|_| backoff.next(&mut pauses).as_millis()).collect();
        assert_eq!(pauses[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(pauses[8..], [25_600].into_iter().chain([30_000; 11]).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_makes_pauses_longer_and_different() {
        let backoff = Backoff::default();
        let first = || backoff.next(&mut backoff.pauses());
        let pauses: Vec<Duration> = (0..50).map(|_| first()).collect();
        assert!(pauses.iter().all(|pause| *pause >= backoff.first && *pause <= 2 * backoff.first));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        let mut pauses = backoff.pauses();
        assert!((0..50).all(|_| backoff.next(&mut pauses) <= backoff.max));
    }
}
