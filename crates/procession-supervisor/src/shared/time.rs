//! [`LeaseClock`]: the clock of leases, which runs while the machine is suspended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::Clock;

/// A clock that never goes back. Its times count from an arbitrary origin.
#[derive(Clone)]
pub(super) enum LeaseClock {
    /// The system's, which runs while the machine is suspended where the system has such a clock (Linux).
    System,
    /// Another one, for tests, and its origin.
    Other(Arc<dyn Clock>, Instant),
}

impl LeaseClock {
    pub(super) fn new(clock: Option<Arc<dyn Clock>>) -> Self {
        clock.map_or(Self::System, |clock| {
            let origin = clock.now();
            Self::Other(clock, origin)
        })
    }

    pub(super) fn now(&self) -> Duration {
        match self {
            Self::System => since_boot(),
            Self::Other(clock, origin) => clock.now().saturating_duration_since(*origin),
        }
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}
