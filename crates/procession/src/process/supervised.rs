//! [`Supervised`]: the values that a supervisor gives to the process of a run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Builder, Process};
use crate::run::report::{Listener, Report, RunId, Told};
use crate::run::{Inherited, Spawner, wake_sleeper};
use crate::value::{Label, Name};

/// The name of the process of a run, and its report to the supervisor. Clones are about the same run.
#[derive(Clone)]
pub struct Supervised(Arc<Inherited>);

impl Supervised {
    /// A run below `parent`. Its process is aborted if it is still Closing `grace` after it began to close, for
    /// whatever reason. The library's deadline thread does this, so it happens even while users' tasks block every
    /// executor. Nothing is added to the outcome of the process.
    pub fn new(
        parent: &Process,
        name: Name,
        listener: Arc<dyn Listener>,
        run: RunId,
        grace: Option<Duration>,
    ) -> Self {
        let report = Report::new(listener, run, grace);
        Self(Inherited::supervised(name, report, parent.heritage()))
    }

    /// The same run, whose process has another name.
    #[must_use]
    pub fn renamed(&self, name: Name) -> Self {
        Self(Inherited::supervised(name, Report::of(&self.0), self.0.passed_on()))
    }

    /// The name of the process.
    pub fn name(&self) -> Option<&Name> {
        self.0.name()
    }

    /// Has the run said that it is ready, or that it will never be?
    pub fn has_said(&self) -> bool {
        self.0.report().is_some_and(Report::has_said)
    }

    /// The run is ready. Only the first call of this and of the two others counts.
    pub fn ready(&self) {
        self.say(Some(Told::Ready));
    }

    /// This process ended without an error before the run was ready, which it will never be.
    pub fn ended_unready(&self, label: Label) {
        self.say(Some(Told::EndedUnready(label)));
    }

    /// The run will never be ready. The end of its process says why.
    pub fn not_ready(&self) {
        self.say(None);
    }

    fn say(&self, told: Option<Told>) {
        let sleeper = self.0.report().and_then(|report| report.say(told));
        wake_sleeper(sleeper);
    }

    /// The run has this process: makes sure that the supervisor hears of its end, even if the process was not made
    /// with [`Builder::supervised`].
    pub fn attach(&self, process: &Process) {
        let is_own = match (self.0.report(), process.node.report()) {
            (Some(one), Some(other)) => one.is(other),
            _ => false,
        };
        if !is_own {
            Report::attach(&self.0, &process.node);
        }
    }
}

impl Builder<'_> {
    /// The process is that of a run. This replaces its name. Unless the builder was given a spawner, it has that of the
    /// parent of the run.
    #[inline]
    pub(crate) fn supervised(mut self, supervised: Supervised) -> Self {
        self.supervised = Some(supervised);
        self
    }
}

impl Supervised {
    /// The values for the process, which may have a spawner of its own.
    pub(super) fn into_inherited(self, spawner: Option<Spawner>) -> Arc<Inherited> {
        match (spawner, self.name()) {
            (Some(spawner), Some(name)) => {
                let shared = Some(Inherited::unnamed(spawner));
                Inherited::supervised(name.clone(), Report::of(&self.0), shared)
            }
            _ => self.0,
        }
    }
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::run::Job;
    use crate::value::sleeper::Sleeper;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    /// Passes on what it hears.
    struct Heard(Mutex<Sender<&'static str>>);

    impl Listener for Heard {
        fn hear(&self, run: RunId, told: Told) -> Option<Sleeper> {
            assert_eq!(run, RunId { unit: 1, number: 2 });
            let what = match told {
                Told::Ready => "ready",
                Told::EndedUnready(_) => "ended unready",
                Told::Closing => "closing",
                Told::Closed => "closed",
            };
            self.0.lock().unwrap().send(what).unwrap();
            None
        }
    }

    /// A supervised process can have a spawner of its own, and its supervisor still hears of it.
    #[test]
    fn a_spawner_of_its_own() {
        let dropping = |job: Job| drop(job);
        let parent = Process::builder().spawner(dropping).build().unwrap();
        let (hears, heard) = channel();
        let listener = Arc::new(Heard(Mutex::new(hears)));
        let name = Name::from(Arc::<str>::from("unit"));
        let run = RunId { unit: 1, number: 2 };
        let supervised = Supervised::new(&parent, name, listener, run, None);
        let says = supervised.clone();
        let builder = Process::builder().parent(&parent).spawner(crate::Threads);
        let body = move |_| async move { says.ready() };
        let process = builder.supervised(supervised).spawn(body).unwrap();
        process.closed().wait().unwrap();
        assert_eq!(process.name().as_deref(), Some("unit"));
        let limit = Duration::from_secs(60);
        let next = || heard.recv_timeout(limit).unwrap();
        // It begins to close and is Closed in one step.
        assert_eq!([next(), next()], ["ready", "closed"]);
    }
}
