//! [`Supervised`]: the values that a supervisor gives to the process of a run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Builder, Process};
use crate::run::report::{Listener, Report, RunEvent, RunId};
use crate::run::{Inherited, Spawner, wake_sleeper};
use crate::value::{Label, Name};

/// The name of the process of a run, and its report to the supervisor. Clones refer to the same run.
#[derive(Clone)]
pub struct Supervised(Arc<Inherited>);

impl Supervised {
    /// For a run below `parent`. The process of the run is aborted if it is still Closing `grace` after it began to
    /// close, whatever the reason. The library's deadline thread does this, so it happens even while users' tasks block
    /// every executor. Nothing is added to the outcome of the process.
    pub fn new(
        parent: &Process,
        name: Name,
        listener: Arc<dyn Listener>,
        run: RunId,
        grace: Option<Duration>,
    ) -> Self {
        let report = Report::new(listener, run, grace);
        Self(Inherited::supervised(name, report, parent.passed_on()))
    }

    /// The same run, with another name for its process.
    #[must_use]
    pub fn renamed(&self, name: Name) -> Self {
        Self(Inherited::supervised(name, Report::of(&self.0), self.0.passed_on()))
    }

    /// The name of the process.
    pub fn name(&self) -> Option<&Name> {
        self.0.name()
    }

    /// Has the run reported that it is ready, or that it never will be?
    pub fn has_reported_readiness(&self) -> bool {
        self.0.report().is_some_and(Report::has_reported_readiness)
    }

    /// Reports that the run is ready. Of this call, [`ended_unready`](Self::ended_unready) and
    /// [`not_ready`](Self::not_ready), only the first one counts.
    pub fn ready(&self) {
        self.report_readiness(Some(RunEvent::Ready));
    }

    /// Reports that this process ended without an error before the run was ready, so the run never will be.
    pub fn ended_unready(&self, label: Label) {
        self.report_readiness(Some(RunEvent::EndedUnready(label)));
    }

    /// Records that the run will never be ready. The outcome of its process will say why.
    pub fn not_ready(&self) {
        self.report_readiness(None);
    }

    fn report_readiness(&self, event: Option<RunEvent>) {
        let sleeper = self.0.report().and_then(|report| report.report_readiness(event));
        wake_sleeper(sleeper);
    }

    /// Declares that this is the process of the run. Makes sure that the supervisor is notified of its closing and its
    /// end, even if the process was not made with `Builder::supervised`.
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
    /// Makes the process that of a run. The name of the run replaces its name. Unless the builder was given a spawner,
    /// the process has that of the parent of the run.
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
    use std::any::Any;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Sends the events that it is notified of to a channel.
    struct Recorder(Mutex<Sender<&'static str>>);

    impl Listener for Recorder {
        fn notify(&self, run: RunId, event: RunEvent) -> Option<Sleeper> {
            assert_eq!(run, RunId { unit: 1, number: 2 });
            let what = match event {
                RunEvent::Ready => "ready",
                RunEvent::EndedUnready(_) => "ended unready",
                RunEvent::Closing => "closing",
                RunEvent::Closed => "closed",
                RunEvent::Leaves(_) => "leaves",
            };
            // A test may end before its processes.
            let _sent = self.0.lock().unwrap().send(what);
            None
        }
    }

    /// A run, and the events that its supervisor is notified of.
    fn run_below(parent: &Process) -> (Supervised, Receiver<&'static str>) {
        let (sender, receiver) = channel();
        let listener = Arc::new(Recorder(Mutex::new(sender)));
        let name = Name::from(Arc::<str>::from("unit"));
        let run = RunId { unit: 1, number: 2 };
        (Supervised::new(parent, name, listener, run, None), receiver)
    }

    /// What a process leaves behind is reported to the supervisor of the nearest run that it is part of, whether or not
    /// the process of that run was made for it.
    #[test]
    fn what_is_left_behind_is_reported_to_the_nearest_run() {
        let left = || Arc::new(()) as Arc<dyn Any + Send + Sync>;
        let alone = Process::new();
        crate::support::report_left_behind(&alone, || unreachable!("it is part of no run"));

        let (outer, outer_events) = run_below(&alone);
        let outer = Process::builder().parent(&alone).supervised(outer).build().unwrap();
        let (inner, inner_events) = run_below(&outer);
        let attached = outer.child();
        inner.attach(&attached);
        let below = attached.child().child();
        crate::support::report_left_behind(&below, left);
        assert_eq!(
            (inner_events.try_recv().ok(), outer_events.try_recv().ok()),
            (Some("leaves"), None)
        );
        crate::support::report_left_behind(&outer.child(), left);
        assert_eq!(
            (inner_events.try_recv().ok(), outer_events.try_recv().ok()),
            (None, Some("leaves"))
        );
        crate::support::report_left_behind(&outer, left);
        assert_eq!(outer_events.try_recv(), Ok("leaves"));
    }

    /// A supervised process can have a spawner of its own, and its supervisor is still notified.
    #[test]
    fn a_supervised_process_can_have_a_spawner_of_its_own() {
        let dropping = |job: Job| drop(job);
        let parent = Process::builder().spawner(dropping).build().unwrap();
        let (supervised, receiver) = run_below(&parent);
        let run = supervised.clone();
        let builder = Process::builder().parent(&parent).spawner(crate::Threads);
        let body = move |_| async move { run.ready() };
        let process = builder.supervised(supervised).spawn(body).unwrap();
        process.closed().wait().unwrap();
        assert_eq!(process.name().as_deref(), Some("unit"));
        let limit = Duration::from_secs(60);
        let next = || receiver.recv_timeout(limit).unwrap();
        // It begins to close and is Closed in one step.
        assert_eq!([next(), next()], ["ready", "closed"]);
    }
}
