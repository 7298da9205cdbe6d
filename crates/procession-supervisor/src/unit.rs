//! [`Unit`]: a runnable with the rules for its supervision.

use std::fmt;
use std::time::Duration;

use procession::support::{catch, panicked};
use procession::{Error, Process};
use procession_runnable::{Runnable, Start};

/// A runnable under supervision: when it is started again, how long it may take to stop, and what its failures and
/// changes mean to others.
///
/// A [`Runnable`] is a unit with the defaults.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | [`restart`](Self::restart) | [`Restart::Transient`] | when it is started again |
/// | [`on_failure`](Self::on_failure) | [`OnFailure::Restart`] | what its failure means to its set or manager |
/// | [`grace`](Self::grace) | [`Policy::grace`](crate::Policy::grace) | how long it may take to stop before it is aborted |
/// | [`significant`](Self::significant) | `false` | whether its end may close its set ([`AutoShutdown`](crate::AutoShutdown)) |
/// | [`version`](Self::version) | none | what its row is compared by |
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

/// The rules of a unit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) restart: Restart,
    pub(crate) on_failure: OnFailure,
    pub(crate) grace: Option<Duration>,
    pub(crate) significant: bool,
    pub(crate) version: Option<u64>,
    pub(crate) on_change: OnChange,
}

/// When a unit that has ended without having been asked to stop is started again. The names are Erlang's.
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

/// What the failure of a unit means to the set or the manager that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// The unit is started again, as its [`Restart`] says; the others go on, or follow the strategy of their set.
    #[default]
    Restart,
    /// The unit stays ended, and the others go on.
    End,
    /// The set or the manager closes, with the error in its outcome.
    CloseAll,
}

/// When a row that has another [version](Unit::version) takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnChange {
    /// At once: the unit is stopped, and started as its row says now.
    #[default]
    Restart,
    /// When the unit is started again for another reason.
    NextStart,
}

impl Unit {
    /// A unit that is started again after a failure.
    pub fn new(runnable: Runnable) -> Self {
        Self { runnable, rules: Rules::default() }
    }

    /// When it is started again.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.rules.restart = restart;
        self
    }

    /// What its failure means to its set or manager. `set_on_failure` of both changes it while the unit runs.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.rules.on_failure = on_failure;
        self
    }

    /// How long it may take to stop before it is aborted, instead of [`Policy::grace`](crate::Policy::grace).
    /// [`Duration::ZERO`] aborts it at once (OTP's `brutal_kill`); [`Duration::MAX`] waits for ever (`infinity`).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.rules.grace = Some(grace);
        self
    }

    /// Whether its end can close its set: see [`AutoShutdown`](crate::AutoShutdown).
    pub fn significant(mut self, significant: bool) -> Self {
        self.rules.significant = significant;
        self
    }

    /// The version of its row, such as a hash of its contents. When a scan or a change finds another version, the unit
    /// changes, as [`on_change`](Self::on_change) says. Without a version, only [`Manager::restart`] applies a changed
    /// row to a unit that runs.
    ///
    /// [`Manager::restart`]: crate::Manager::restart
    pub fn version(mut self, version: u64) -> Self {
        self.rules.version = Some(version);
        self
    }

    /// When a changed row takes effect.
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.rules.on_change = on_change;
        self
    }

    /// Starts a run. A panic of the code that starts it is an error of `owner`.
    pub(crate) fn start(&self, start: Start<'_>, owner: &Process) -> Result<Process, Error> {
        let started = catch(|| self.runnable.start(start));
        started.unwrap_or_else(|message| Err(panicked(owner.label(), message)))
    }
}

impl Restart {
    /// Is a unit that ended like this started again?
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
