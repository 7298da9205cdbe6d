//! [`Age`]: an optional duration in four bytes, so that a large snapshot is small.

use std::time::Duration;

/// How long something has lasted, if that is known: in ticks of 1/1024 s, or in seconds from 24 days on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(u32);

const NONE: u32 = u32::MAX;
/// The number is one of seconds, not of ticks.
const SECONDS: u32 = 1 << 31;
const TICKS_PER_SECOND: u64 = 1024;

impl Age {
    pub(crate) fn get(self) -> Option<Duration> {
        match self.0 {
            NONE => None,
            seconds if seconds >= SECONDS => {
                Some(Duration::from_secs(u64::from(seconds - SECONDS)))
            }
            ticks => {
                let ticks = u64::from(ticks);
                let nanos = ticks % TICKS_PER_SECOND * 1_000_000_000 / TICKS_PER_SECOND;
                Some(Duration::new(ticks / TICKS_PER_SECOND, nanos as u32))
            }
        }
    }
}

impl From<Option<Duration>> for Age {
    fn from(age: Option<Duration>) -> Self {
        let Some(age) = age else { return Self(NONE) };
        // Rounded up, so that a duration of whole milliseconds is not shown as one less.
        let nanos = u64::from(age.subsec_nanos()) * TICKS_PER_SECOND;
        let whole = age.as_secs().saturating_mul(TICKS_PER_SECOND);
        let ticks = whole.saturating_add(nanos.div_ceil(1_000_000_000));
        match u32::try_from(ticks) {
            Ok(ticks) if ticks < SECONDS => Self(ticks),
            _ => {
                let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
                Self(SECONDS + seconds.min(NONE - SECONDS - 1))
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::Age;

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
        assert!(Age::from(Some(Duration::MAX)).get().unwrap().as_secs() > 1 << 30);
    }
}
