//! [`Unit`]: a runnable with the rules for its supervision.

use std::fmt;
use std::time::Duration;

use procession::{Error, Process, Site};
use procession_runnable::{Runnable, Start};

/// A runnable with rules for its supervision: when it is restarted, how long it may take to stop, and what its failures
/// mean to its set or manager.
///
/// Conceptually, a unit is a job description: it runs nothing, and each run of it is a process of its own. A
/// [`Runnable`] converts into a unit with the default rules.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | [`restart`](Self::restart) | [`Restart::Transient`] | when it is restarted |
/// | [`on_failure`](Self::on_failure) | [`OnFailure::Restart`] | what its failure means to its set or manager |
/// | [`grace`](Self::grace) | [`Policy::grace`](crate::Policy::grace) | how long it may take to stop before it is aborted |
/// | [`significant`](Self::significant) | `false` | whether its end may close its set ([`AutoShutdown`](crate::AutoShutdown)) |
/// | [`version`](Self::version) | none | a number that changes with its row |
/// | [`on_change`](Self::on_change) | [`OnChange::Restart`] | when a changed row takes effect |
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::{Restart, Unit};
/// use std::time::Duration;
///
/// let poller = body(|run| async move {
///     run.ready();
///     run.closing().await;
/// });
/// let unit = Unit::new(poller).restart(Restart::Permanent).grace(Duration::from_secs(5));
/// # let _ = unit;
/// ```
#[derive(Clone)]
#[must_use = "a unit does nothing until a manager or a set runs it"]
pub struct Unit {
    runnable: Runnable,
    pub(crate) rules: Rules,
}

/// The rules of a unit. A manager keeps them for each of its units, so they are small.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) grace: Grace,
    version: u64,
    has_version: bool,
    pub(crate) restart: Restart,
    pub(crate) on_failure: OnFailure,
    pub(crate) significant: bool,
    pub(crate) on_change: OnChange,
}

/// The grace of a unit, if it has one of its own, in 8 bytes. 0 means that it has none. Other values are one more than
/// the number of nanoseconds; the largest value stands for all longer graces, which never end.
#[derive(Clone, Copy, Default)]
pub(crate) struct Grace(u64);

impl Grace {
    pub(crate) fn of(grace: Duration) -> Self {
        let nanos = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        Self(nanos.saturating_add(1))
    }

    pub(crate) fn get(self) -> Option<Duration> {
        match self.0 {
            0 => None,
            u64::MAX => Some(Duration::MAX),
            nanos => Some(Duration::from_nanos(nanos - 1)),
        }
    }
}

impl fmt::Debug for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Rules {
    pub(crate) fn version(&self) -> Option<u64> {
        self.has_version.then_some(self.version)
    }

    pub(crate) fn set_version(&mut self, version: Option<u64>) {
        (self.version, self.has_version) = (version.unwrap_or_default(), version.is_some());
    }
}

/// When a unit restarts after it has ended without being asked to stop. The names are Erlang's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a failure: an error, a panic, or an end before it was ready.
    #[default]
    Transient,
    /// Never.
    Temporary,
}

/// What the failure of a unit means to its set or manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// The unit is restarted, as its [`Restart`] says. The others continue, or follow the strategy of their set.
    #[default]
    Restart,
    /// The unit stays ended, and the others continue. The failure is [reported](procession::ChildFailure::Report),
    /// unless a hook, a reader of the events or a caller takes it. A `SharedManager` records it in its table instead.
    End,
    /// The set or the manager closes, with the error in its outcome.
    CloseAll,
}

/// When a row with a new [version](Unit::version) takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnChange {
    /// At once: the unit is stopped, and starts again from its current row.
    #[default]
    Restart,
    /// When the unit starts again for another reason.
    NextStart,
}

impl Unit {
    /// Makes a unit with the default rules.
    pub fn new(runnable: Runnable) -> Self {
        Self { runnable, rules: Rules::default() }
    }

    /// Sets when the unit is restarted. Default: [`Restart::Transient`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.rules.restart = restart;
        self
    }

    /// Sets what the failure of the unit means to its set or manager. Default: [`OnFailure::Restart`]. Sets and
    /// managers have a method `set_on_failure`, which changes this while the unit runs.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.rules.on_failure = on_failure;
        self
    }

    /// Sets how long the unit may take to stop before it is aborted. Default: [`Policy::grace`](crate::Policy::grace).
    /// [`Duration::ZERO`] aborts it at once, like `brutal_kill` in OTP; [`Duration::MAX`] waits for ever, like
    /// `infinity`.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.rules.grace = Grace::of(grace);
        self
    }

    /// Sets whether the end of the unit can close its set: see [`AutoShutdown`](crate::AutoShutdown). Default: `false`.
    pub fn significant(mut self, significant: bool) -> Self {
        self.rules.significant = significant;
        self
    }

    /// Sets the version of the unit's row, such as a hash of its contents. When a scan or a change finds a different
    /// version, the new row takes effect as [`on_change`](Self::on_change) says. Without a version, only
    /// [`Manager::restart`] applies a changed row to a unit that is running.
    ///
    /// [`Manager::restart`]: crate::Manager::restart
    pub fn version(mut self, version: u64) -> Self {
        self.rules.set_version(Some(version));
        self
    }

    /// Sets when a changed row takes effect. Default: [`OnChange::Restart`].
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.rules.on_change = on_change;
        self
    }

    /// Starts a run. This is foreign code: call it in a catch.
    pub(crate) fn start(&self, start: Start<'_>) -> Result<Process, Error> {
        self.runnable.start_uncaught(start)
    }

    /// The place where its runnable was described.
    pub(crate) fn site(&self) -> Site {
        self.runnable.site()
    }
}

impl Restart {
    /// Returns whether a unit that ended, and failed or not, is restarted.
    pub(crate) fn after(self, failed: bool) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => failed,
            Self::Temporary => false,
        }
    }
}

impl From<Runnable> for Unit {
    fn from(runnable: Runnable) -> Self {
        Self::new(runnable)
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("rules", &self.rules).finish_non_exhaustive()
    }
}
