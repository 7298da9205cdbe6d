//! [`Policy`]: how a [`Manager`](crate::Manager) or a [`Supervisor`](crate::Supervisor) starts units again, and stops
//! them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use procession::support::abort_past_grace;
use procession::{Clock, Process, SystemClock};

use crate::backoff::{Backoff, Rate};

/// How units are started again, and stopped. All knobs and their defaults:
///
/// | knob | default | meaning |
/// |---|---|---|
/// | [`grace`](Self::grace) | 10 s | how long a unit may take to stop before it is aborted; [`Unit::grace`](crate::Unit::grace) overrides it |
/// | [`abort_grace`](Self::abort_grace) | 5 s | how long a unit may take to end after its abort before it is reported as stuck |
/// | [`backoff`](Self::backoff) | 100 ms to 30 s, doubling, with jitter | the pauses before restarts, and before a table is read again after an error |
/// | [`steady_after`](Self::steady_after) | 60 s | how long a run must be ready before the pauses begin from the first again |
/// | [`intensity`](Self::intensity) | none | the maximum number of restarts of one unit within a period |
/// | [`total_intensity`](Self::total_intensity) | none | the same for all units of a set or manager together |
/// | [`load_timeout`](Self::load_timeout) | 10 s | how long a table may take to load one row |
/// | [`scan_timeout`](Self::scan_timeout) | 60 s | how long a table may take to deliver the next row of a scan |
/// | [`clock`](Self::clock) | the system's | the source of the time |
///
/// How they interact: a unit that fails again and again is started after pauses that grow, up to the maximum, for ever,
/// unless an intensity gives it up before that; with the default pauses, an intensity of 5 in 60 s gives up after about
/// 3 s. The pauses and the count within the period are kept for each unit and survive its runs; a start by a call
/// forgives both. The time from the request to stop until the manager stops waiting is at most `grace` plus
/// `abort_grace` for each unit; the units of a manager stop side by side, those of a set one after the other.
///
/// ```
/// use procession_supervisor::{Manager, MemoryTable, Policy, Rate};
/// use std::time::Duration;
///
/// let policy = Policy::new()
///     .grace(Duration::from_secs(30))
///     .intensity(Rate::new(5, Duration::from_secs(60)));
/// let manager = Manager::builder(MemoryTable::<String>::new()).policy(policy).build();
/// # let _ = manager;
/// ```
#[derive(Clone)]
#[must_use = "a policy does nothing until a manager or a set has it"]
pub struct Policy {
    /// `None` is the system's.
    clock: Option<Arc<dyn Clock>>,
    pub(crate) grace: Duration,
    pub(crate) abort_grace: Duration,
    backoff: Backoff,
    pub(crate) steady_after: Duration,
    pub(crate) intensity: Option<Rate>,
    pub(crate) total_intensity: Option<Rate>,
    pub(crate) load_timeout: Duration,
    pub(crate) scan_timeout: Duration,
}

impl Policy {
    /// The default.
    pub fn new() -> Self {
        Self {
            clock: None,
            grace: Duration::from_secs(10),
            abort_grace: Duration::from_secs(5),
            backoff: Backoff::default(),
            steady_after: Duration::from_secs(60),
            intensity: None,
            total_intensity: None,
            load_timeout: Duration::from_secs(10),
            scan_timeout: Duration::from_secs(60),
        }
    }

    /// The source of the time. Default: the system's clock, whose graces end in time even while tasks block every
    /// executor. Graces by another clock end when the manager's own task is polled.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long a unit may take to stop before it is aborted, unless it has a [grace of its own](crate::Unit::grace). It
    /// begins when the process of its run begins to close, for whatever reason. Default: 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a unit may take to end after its abort before it is reported as stuck. Default: 5 s.
    pub fn abort_grace(mut self, grace: Duration) -> Self {
        self.abort_grace = grace;
        self
    }

    /// The pauses before a unit is started again, and between tries to read a table.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long a run must be ready before the next pause of its unit is the first one again. Default: 60 s.
    pub fn steady_after(mut self, time: Duration) -> Self {
        self.steady_after = time;
        self
    }

    /// The maximum number of restarts of a unit within a period; beyond that, it is given up. Restarts are counted for
    /// each unit separately. Default: it is never given up, because the pauses between its restarts grow.
    pub fn intensity(mut self, intensity: Rate) -> Self {
        self.intensity = Some(intensity);
        self
    }

    /// The maximum number of restarts of all units of a set or a manager together within a period, as in OTP; beyond
    /// that, the set or the manager closes. Default: no limit.
    pub fn total_intensity(mut self, intensity: Rate) -> Self {
        self.total_intensity = Some(intensity);
        self
    }

    /// How long a table may take to load one row. After that, the attempt counts as failed. Default: 10 s.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = timeout;
        self
    }

    /// How long a table may take to deliver the next row of a scan. After that, the scan counts as failed. Default:
    /// 60 s.
    pub fn scan_timeout(mut self, timeout: Duration) -> Self {
        self.scan_timeout = timeout;
        self
    }

    pub(crate) fn time(&self) -> &dyn Clock {
        self.clock.as_deref().unwrap_or(&SystemClock)
    }

    /// Aborts a run that is still Closing after its grace, no matter what closed it.
    pub(crate) fn bound(&self, run: &Process, grace: Option<Duration>) {
        if self.clock.is_none() {
            abort_past_grace(run, grace.unwrap_or(self.grace));
        }
    }

    /// New pauses.
    pub(crate) fn pauses(&self) -> ExponentialBackoff {
        self.backoff.pauses()
    }

    /// The next of the pauses.
    pub(crate) fn next(&self, pauses: &mut ExponentialBackoff) -> Duration {
        self.backoff.next(pauses)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("grace", &self.grace)
            .field("abort_grace", &self.abort_grace)
            .field("backoff", &self.backoff)
            .field("steady_after", &self.steady_after)
            .field("intensity", &self.intensity)
            .field("total_intensity", &self.total_intensity)
            .field("load_timeout", &self.load_timeout)
            .field("scan_timeout", &self.scan_timeout)
            .finish_non_exhaustive()
    }
}
