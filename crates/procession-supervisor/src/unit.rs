//! What is supervised: [`Unit`], a runnable with what is to happen when it ends and when it is stopped.

use std::fmt;
use std::time::Duration;

use procession::support::catch;
use procession::{Error, Label, Process, Site};
use procession_runnable::{Runnable, Start};

/// A runnable under supervision: when it is started again, and how long it may take to stop.
///
/// A [`Runnable`] is one as it stands.
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
pub struct Unit {
    runnable: Runnable,
    pub(crate) restart: Restart,
    pub(crate) grace: Option<Duration>,
}

/// When a unit that has ended by itself is started again. The names are Erlang's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a failure: an error, a panic, or an end before it was ready.
    #[default]
    Transient,
    /// Never.
    Temporary,
}

impl Unit {
    /// A unit that is started again after a failure.
    pub fn new(runnable: Runnable) -> Self {
        Self { runnable, restart: Restart::default(), grace: None }
    }

    /// When it is started again.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long it may take to stop before it is aborted, in place of what holds for all units.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

impl Unit {
    /// Where its runnable was described.
    pub(crate) fn site(&self) -> Site {
        self.runnable.site()
    }

    /// Starts a run. A panic of what starts it is an error, of `owner`.
    pub(crate) fn start(&self, start: Start<'_>, owner: &Label) -> Result<Process, Error> {
        let started = catch(|| self.runnable.start(start));
        started.unwrap_or_else(|message| {
            Err(Error::failed(owner.clone(), format!("a start panicked: {message}").into()))
        })
    }
}

impl Restart {
    /// Is a unit started again that ended so?
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
        f.debug_struct("Unit")
            .field("restart", &self.restart)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
