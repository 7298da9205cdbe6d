//! [`Stamp`]: a time in five bytes.

use std::time::Duration;

/// A time in ticks of 1/1024 s of the coarse monotonic clock, which is read in a few nanoseconds and advances every few
/// milliseconds.
///
/// It is stored as four bytes, which wrap after 48 days, and a fifth byte, which counts the wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

/// Ticks per second.
pub(crate) const RATE: u64 = 1024;

/// The number of the coarse clock's own ticks in one tick of a [`Stamp`].
#[cfg(not(loom))]
const CLOCK_TICKS: u64 = coarsetime::Duration::from_secs(1).as_ticks() / RATE;

impl Stamp {
    /// The time now. A model has no clock.
    #[inline]
    pub(crate) fn now() -> Self {
        #[cfg(not(loom))]
        let ticks = coarsetime::Instant::now_without_cache_update().as_ticks() / CLOCK_TICKS;
        #[cfg(loom)]
        let ticks = 0;
        // Zero means that no time is stored.
        Self(ticks.max(1))
    }

    /// The parts to store: the low four bytes, and the fifth. They are never both 0, because that means "no time".
    #[inline]
    pub(crate) fn parts(self) -> (u32, u8) {
        (self.0 as u32, (self.0 >> u32::BITS) as u8)
    }

    /// The time that was stored, if there is one.
    pub(crate) fn from_parts(low: u32, high: u8) -> Option<Self> {
        let ticks = u64::from(high) << u32::BITS | u64::from(low);
        (ticks > 0).then_some(Self(ticks))
    }

    /// The number of ticks since the earlier time; zero if that is in fact later.
    pub(crate) fn ticks_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time since the earlier time; zero if that is in fact later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        duration(self.ticks_since(earlier))
    }
}

/// The duration of this number of ticks.
pub(crate) fn duration(ticks: u64) -> Duration {
    let nanos = (ticks % RATE) * 1_000_000_000 / RATE;
    Duration::new(ticks / RATE, nanos as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::Stamp;

    #[test]
    fn a_stamp_is_restored_from_its_parts() {
        let stamps = [1, 1024, u64::from(u32::MAX) + 1, 0xFF_FFFF_FFFF].map(Stamp);
        for stamp in stamps {
            let (low, high) = stamp.parts();
            assert_eq!(Stamp::from_parts(low, high), Some(stamp));
        }
        assert_eq!(Stamp::from_parts(0, 0), None);
        assert_eq!(Stamp(3 * 1024 + 512).since(Stamp(1024)), Duration::from_millis(2500));
        assert_eq!(Stamp(1).since(Stamp(2)), Duration::ZERO);
    }

    /// Its seconds are those of the clock.
    #[test]
    fn a_stamp_advances_with_the_clock() {
        let (start, stamp) = (Instant::now(), Stamp::now());
        while start.elapsed() < Duration::from_millis(50) {
            std::thread::yield_now();
        }
        let (elapsed, measured) = (start.elapsed(), Stamp::now().since(stamp));
        let tolerance = Duration::from_millis(25);
        assert!(measured + tolerance >= elapsed.min(Duration::from_millis(50)));
        assert!(measured <= elapsed + tolerance);
    }
}
