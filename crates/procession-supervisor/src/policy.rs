//! [`Policy`]: how units are started again and stopped, by a [`Manager`](crate::Manager) and by a
//! [`Supervisor`](crate::Supervisor).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::ExponentialBackoff;
use procession::support::abort_past_grace;
use procession::{Clock, Process, SystemClock};

use crate::pace::{Backoff, Rate};

/// How units are started again and stopped. What it does not say is as in the default.
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
#[must_use]
pub struct Policy {
    /// `None` is the system's.
    clock: Option<Arc<dyn Clock>>,
    pub(crate) grace: Duration,
    pub(crate) abort_grace: Duration,
    backoff: Backoff,
    steady_after: Duration,
    intensity: Option<Rate>,
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
        }
    }

    /// Where the time comes from. Default: the system's clock, whose graces end in time even while tasks block every
    /// executor. Graces by another clock end when the manager's own task is polled.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long a unit may take to stop before it is aborted, if it does not say so itself
    /// ([`Unit::grace`](crate::Unit::grace)). Default: 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a unit may take to stop after its abort before it is given up. Default: 5 s.
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
            .finish_non_exhaustive()
    }
}

/// The restarts of one unit, as far back as they count.
pub(crate) struct Restarts {
    /// How many there were.
    pub(crate) count: u64,
    pauses: ExponentialBackoff,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self { count: 0, pauses: policy.pauses(), recent: VecDeque::new() }
    }

    /// One more: the pause before it. `None`: these were too many.
    pub(crate) fn again(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        if let Some(rate) = policy.intensity {
            self.recent.retain(|at| now.duration_since(*at) < rate.within);
            if self.recent.len() >= rate.count {
                return None;
            }
            self.recent.push_back(now);
        }
        self.count += 1;
        Some(self.pause(policy))
    }

    /// The pause before something is tried again that is no restart.
    pub(crate) fn pause(&mut self, policy: &Policy) -> Duration {
        policy.next(&mut self.pauses)
    }

    /// A run has ended that was ready since then: if it was so for long enough, the pauses begin from the
    /// first again.
    pub(crate) fn ran(&mut self, policy: &Policy, ready_since: Instant, now: Instant) {
        if now.duration_since(ready_since) >= policy.steady_after {
            self.pauses = policy.pauses();
        }
    }

    /// Forgets all but their number.
    pub(crate) fn forgive(&mut self, policy: &Policy) {
        self.pauses = policy.pauses();
        self.recent.clear();
    }
}
