//! [`Age`]: an optional duration in four bytes, so that a large snapshot is small.

use std::time::Duration;

use crate::value::stamp::{RATE, Stamp, duration};

/// How long something has lasted, if that is known. Up to 24 days, it is kept in ticks of 1/1024 s, beyond that in
/// seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(u32);

const NONE: u32 = u32::MAX;
/// This bit says that the number counts seconds instead of ticks.
const SECONDS: u32 = 1 << 31;

impl Age {
    /// The time from `since` to `now`, if `since` is known.
    #[inline]
    pub(crate) fn between(since: Option<Stamp>, now: Stamp) -> Self {
        since.map_or(Self(NONE), |since| Self::of_ticks(now.ticks_since(since)))
    }

    #[inline]
    fn of_ticks(ticks: u64) -> Self {
        match u32::try_from(ticks) {
            Ok(ticks) if ticks < SECONDS => Self(ticks),
            _ => Self::of_seconds(ticks / RATE),
        }
    }

    #[cold]
    fn of_seconds(seconds: u64) -> Self {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Self(SECONDS + seconds.min(NONE - SECONDS - 1))
    }

    pub(crate) fn get(self) -> Option<Duration> {
        match self.0 {
            NONE => None,
            seconds if seconds >= SECONDS => {
                Some(Duration::from_secs(u64::from(seconds - SECONDS)))
            }
            ticks => Some(duration(ticks.into())),
        }
    }
}

#[cfg(test)]
impl From<Option<Duration>> for Age {
    fn from(age: Option<Duration>) -> Self {
        let Some(age) = age else { return Self(NONE) };
        // Rounded up, so that a duration of whole milliseconds is not shown as one less.
        let nanos = u64::from(age.subsec_nanos()) * RATE;
        let whole = age.as_secs().saturating_mul(RATE);
        let ticks = whole.saturating_add(nanos.div_ceil(1_000_000_000));
        Self::of_ticks(ticks)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::{Age, Stamp};

    #[test]
    fn an_age_is_kept_to_the_millisecond_or_the_second() {
        assert_eq!(Age::from(None).get(), None);
        for millis in [0, 1, 410, 6_100, 41_999, 1_000_000_000] {
            let age = Duration::from_millis(millis);
            let kept = Age::from(Some(age)).get().unwrap();
            assert_eq!(kept.as_millis(), age.as_millis(), "{kept:?}");
        }
        for days in [24, 25, 100, 10_000] {
            let age = Duration::from_secs(days * 86_400);
            assert_eq!(Age::from(Some(age)).get(), Some(age));
        }
        let between = |ticks: u64| {
            let now = Stamp::from_parts((1 + ticks) as u32, ((1 + ticks) >> 32) as u8);
            Age::between(Stamp::from_parts(1, 0), now.unwrap())
        };
        assert_eq!(between(6 * 1024 + 512).get(), Some(Duration::from_millis(6_500)));
        assert_eq!(between((1 << 31) - 1).get().unwrap().as_secs(), (1 << 21) - 1);
        assert_eq!(between(1 << 31).get(), Some(Duration::from_secs(1 << 21)));
        assert_eq!(Age::between(None, Stamp::now()).get(), None);
        assert!(Age::from(Some(Duration::MAX)).get().unwrap().as_secs() > 1 << 30);
    }
}
