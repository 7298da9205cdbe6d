//! [`Policy`]: how a [`Manager`](crate::Manager) or a [`Supervisor`](crate::Supervisor) restarts and stops its units.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use procession::{Clock, SystemClock};

use crate::backoff::{Backoff, Rate};
use crate::unit::Grace;

/// How units are restarted and stopped.
///
/// Conceptually, a policy answers three questions about all units of a set or manager: how soon a failed unit is started
/// again, when it is given up, and how long its end may take. What differs between units is in [`Unit`](crate::Unit).
/// These are all settings and their defaults:
///
/// | setting | default | meaning |
/// |---|---|---|
/// | [`grace`](Self::grace) | 10 s | how long a unit may take to stop before it is aborted; [`Unit::grace`](crate::Unit::grace) overrides it |
/// | [`abort_grace`](Self::abort_grace) | 5 s | how long a unit may take to end after its abort before it is reported as stuck |
/// | [`backoff`](Self::backoff) | 100 ms to 30 s, doubling, with jitter | the pauses before restarts, and before a table is read again after an error |
/// | [`steady_after`](Self::steady_after) | 60 s | how long a run must be ready before the pauses begin from the first again |
/// | [`intensity`](Self::intensity) | no limit | the maximum number of restarts of one unit within a period |
/// | [`total_intensity`](Self::total_intensity) | no limit | the same for all units of a set or manager together |
/// | [`load_timeout`](Self::load_timeout) | 10 s | how long a table may take to load one row |
/// | [`scan_timeout`](Self::scan_timeout) | 60 s | how long a table may take to deliver the next row of a scan |
/// | [`clock`](Self::clock) | the system's | the source of the time |
///
/// They interact as follows. A unit that keeps failing is restarted for ever, after pauses that grow up to the maximum,
/// unless it exceeds an intensity and is given up. With the default pauses and an intensity of 5 in 60 s, a unit that
/// fails at once is given up after 3 to 6 s. Each unit has its own pauses and its own count within the period. Both
/// survive its runs, and a start by a call resets both. After a request to stop, the manager waits at most `grace` plus
/// `abort_grace` for each unit. The units of a manager stop concurrently, those of a set one after the other.
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
    /// `None` stands for the system's clock.
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
    /// Makes a policy with the default settings.
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

    /// Sets the source of the time. Default: the system's clock. With the system's clock, graces end in time even while
    /// tasks block every executor; with another clock, graces end when the manager's own task is polled.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets how long a unit may take to stop before it is aborted, unless it has a [grace of its
    /// own](crate::Unit::grace). The grace begins when the process of its run begins to close, for whatever reason.
    /// Default: 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long a unit may take to end after its abort before it is reported as stuck. Default: 5 s.
    pub fn abort_grace(mut self, grace: Duration) -> Self {
        self.abort_grace = grace;
        self
    }

    /// Sets the pauses before a unit is restarted, and before a table is read again after an error.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how long a run must be ready before the pauses of its unit begin from the first again. Default: 60 s.
    pub fn steady_after(mut self, time: Duration) -> Self {
        self.steady_after = time;
        self
    }

    /// Sets the maximum number of restarts of a unit within a period; beyond that, the unit is given up. Restarts are
    /// counted for each unit separately. Default: no limit, because the pauses between restarts grow.
    pub fn intensity(mut self, intensity: Rate) -> Self {
        self.intensity = Some(intensity);
        self
    }

    /// Sets the maximum number of restarts of all units of a set or a manager together within a period, as in OTP;
    /// beyond that, the set or the manager closes. Default: no limit.
    pub fn total_intensity(mut self, intensity: Rate) -> Self {
        self.total_intensity = Some(intensity);
        self
    }

    /// Sets how long a table may take to load one row. After that, the attempt counts as failed. Default: 10 s.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = timeout;
        self
    }

    /// Sets how long a table may take to deliver the next row of a scan. After that, the scan counts as failed.
    /// Default: 60 s.
    pub fn scan_timeout(mut self, timeout: Duration) -> Self {
        self.scan_timeout = timeout;
        self
    }

    /// The clock that was set. `None` for the system's clock.
    #[cfg(not(loom))]
    pub(crate) fn own_clock(&self) -> Option<Arc<dyn Clock>> {
        self.clock.clone()
    }

    pub(crate) fn time(&self) -> &dyn Clock {
        self.clock.as_deref().unwrap_or(&SystemClock)
    }

    /// The grace after which the core aborts a run that is still Closing, whatever closed it. `None` if the policy has
    /// a clock of its own, because only the manager's task reads that clock.
    pub(crate) fn grace_of_run(&self, grace: Grace) -> Option<Duration> {
        self.clock.is_none().then(|| grace.get().unwrap_or(self.grace))
    }

    /// Makes the sequence of pauses, from the first.
    pub(crate) fn pauses(&self) -> ExponentialBackoff {
        self.backoff.pauses()
    }

    /// Returns the next pause.
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
