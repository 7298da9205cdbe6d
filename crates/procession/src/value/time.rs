//! The time now, and how a duration becomes a deadline.

use std::time::{Duration, Instant};

/// The time now.
#[cfg(not(loom))]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time now. A model has no clock, so this is always the same time.
#[cfg(loom)]
pub(crate) fn now() -> Instant {
    static NOW: once_cell::sync::Lazy<Instant> = once_cell::sync::Lazy::new(Instant::now);
    *NOW
}

/// The duration in whole milliseconds.
#[cfg(any(feature = "serde", feature = "tracing"))]
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The deadline that is `duration` from now; `None`, which means never, if that is later than a clock can express.
pub fn deadline_after(duration: Duration) -> Option<Instant> {
    now().checked_add(duration)
}
