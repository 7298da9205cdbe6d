//! One run of the user's graph, with or without a fault.
//!
//! The user's function, the closing and the waits have threads of their own, because with an
//! [`Inline`](procession::Inline) spawner, each of them may run a teardown that hangs. The thread of the sweep only
//! waits for changes of the [`Watch`], with a deadline, so that it never hangs.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use procession::{BlockerKind, Error, Event, Process, support};

use super::fault::Fault;
use super::rules::{self, Broken, Rule, Waits, broken};
use super::target::Target;
use super::watch::{Observed, Watch};
use crate::history::{self, History};

/// The user's function.
pub(super) type Build<R> = Arc<dyn Fn(&Process) -> R + Send + Sync>;

/// The times of a sweep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) grace: Duration,
    pub(super) timeout: Duration,
}

/// A run that has ended.
pub(super) struct Run<R> {
    pub(super) watch: Arc<Watch>,
    pub(super) histories: Vec<History>,
    pub(super) events: Vec<Event>,
    pub(super) outcome: Result<(), Error>,
    pub(super) value: Option<R>,
    pub(super) was_struck: bool,
}

/// A rule that a run has broken, and the events of the run.
pub(super) struct Failed {
    pub(super) broken: Broken,
    pub(super) events: Vec<Event>,
}

/// Runs the graph. `first` has the histories of the run without a fault. The root has the line of the caller.
#[track_caller]
pub(super) fn run<R: Send + 'static>(
    build: &Build<R>,
    case: Option<&(Target, Fault)>,
    times: Times,
    first: Option<&[History]>,
) -> Result<Run<R>, Failed> {
    let root = Process::builder().name("app").build().expect("it has no parent");
    let watch = Watch::of(&root, case.cloned(), times.grace);
    let fault = case.map(|(_, fault)| *fault);
    let run = Running { root, watch, fault, times, deadline: Instant::now() + times.timeout };
    let ended = run.to_its_end(build);
    // Whatever was found, nothing must be left hanging.
    run.watch.gate.open();
    run.root.abort();
    let _delivered = support::flush_events(times.timeout);
    let mut events = run.watch.lock().events.clone();
    events.sort_by_key(Event::at);
    let histories = history::of(&events);
    match ended.and_then(|(value, waits)| run.check(&histories, &waits, first).map(|()| value)) {
        Ok(value) => {
            let Running { root, watch, .. } = run;
            let was_struck = watch.lock().struck.is_some();
            let outcome = root.outcome().expect("it was observed Closed");
            Ok(Run { watch, histories, events, outcome, value, was_struck })
        }
        Err(broken) => Err(Failed { broken, events }),
    }
}

struct Running {
    root: Process,
    watch: Arc<Watch>,
    fault: Option<Fault>,
    times: Times,
    deadline: Instant,
}

impl Running {
    /// Builds the graph, closes it, and waits until it is Closed.
    fn to_its_end<R: Send + 'static>(
        &self,
        build: &Build<R>,
    ) -> Result<(Option<R>, Waits), Broken> {
        let value = Arc::new(Mutex::new(None));
        self.start("sweep-build", {
            let (build, root, value) = (build.clone(), self.root.clone(), value.clone());
            let watch = self.watch.clone();
            move || {
                let built = support::catch(|| build(&root)).ok();
                *value.lock() = built;
                watch.change(|observed| observed.has_built = true);
            }
        });
        let hangs = self.fault == Some(Fault::TeardownHangs);
        let mut is_hang_checked = !hangs;
        self.watch.wait(self.deadline, |observed| {
            observed.has_built || (!is_hang_checked && observed.struck.is_some())
        });
        if !is_hang_checked && self.watch.lock().struck.is_some() {
            // The function itself has closed something.
            self.check_hang()?;
            is_hang_checked = true;
        }
        if !self.watch.wait(self.deadline, |observed| observed.has_built) {
            let found = format!("it has not returned within {:?}", self.times.timeout);
            return broken(Rule::Returns, found);
        }
        let built = value.lock().take();
        let Some(value) = built else {
            return broken(Rule::NoPanic, "the function that builds the graph panicked: see above");
        };
        let waits = Waits::of(&self.root.snapshot());
        self.close();
        if !is_hang_checked {
            let ends = |observed: &Observed| observed.struck.is_some() || observed.all_closed();
            self.watch.wait(self.deadline, ends);
            if self.watch.lock().struck.is_some() {
                self.check_hang()?;
            }
        }
        let is_closed = self.watch.wait(self.deadline, |observed| observed.outcomes.len() == 2);
        // Processes that no other one waits for may still be closing.
        if !is_closed || !self.watch.wait(self.deadline, Observed::all_closed) {
            return self.not_closed();
        }
        Ok((Some(value), waits))
    }

    fn not_closed<T>(&self) -> Result<T, Broken> {
        let blockers = self.root.blockers(16);
        if blockers.total > 0 {
            let found = format!("after {:?}, it waits for\n{blockers}", self.times.timeout);
            return broken(Rule::AllClosed, found);
        }
        let events = self.watch.lock().events.clone();
        rules::all_closed(&history::of(&events))?;
        broken(Rule::AllClosed, format!("the root is not Closed after {:?}", self.times.timeout))
    }

    /// Closes the root; two callers wait for it.
    fn close(&self) {
        for is_closer in [true, false] {
            let (root, watch, times) = (self.root.clone(), self.watch.clone(), self.times);
            let is_ignored = self.fault == Some(Fault::BodyIgnoresClosing);
            self.start("sweep-wait", move || {
                match (is_closer, is_ignored) {
                    (true, true) => drop(root.close_within(times.grace)),
                    (true, false) => drop(root.close()),
                    (false, _) => {}
                }
                // The timeout is longer than that of the sweep, so that the sweep is the first to report a hang.
                if let Some(outcome) = root.closed().wait_timeout(times.timeout * 2) {
                    watch.change(|observed| observed.outcomes.push(outcome));
                }
            });
        }
    }

    /// Checks that the blockers name the teardown that hangs, and releases it.
    fn check_hang(&self) -> Result<(), Broken> {
        let struck = self.watch.lock().struck.clone();
        let (process, id, _) = struck.expect("the fault has struck");
        let Some(process) = process.upgrade() else {
            return broken(Rule::HangIsNamed, "nothing refers to its process");
        };
        let snapshot = self.root.snapshot();
        let is_waited_for =
            self.root.is_closing() && Waits::of(&snapshot).reach(self.root.id(), id);
        let blockers = if is_waited_for {
            snapshot.blockers(usize::MAX)
        } else {
            process.blockers(usize::MAX)
        };
        let is_teardown = |kind| matches!(kind, BlockerKind::Teardown | BlockerKind::AsyncTeardown);
        let names = |blocker: &procession::Blocker| {
            is_teardown(blocker.kind) && blocker.site == process.site()
        };
        let is_named = blockers.first.iter().any(names);
        self.watch.gate.open();
        if is_named {
            return Ok(());
        }
        broken(Rule::HangIsNamed, format!("the blockers are\n{blockers}"))
    }

    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) {
        let thread = thread::Builder::new().name(name.to_owned());
        drop(thread.spawn(run).expect("the OS should be able to create a thread"));
    }

    /// Checks the rules.
    fn check(
        &self,
        histories: &[History],
        waits: &Waits,
        first: Option<&[History]>,
    ) -> Result<(), Broken> {
        rules::all_closed(histories)?;
        rules::phases_in_order(histories)?;
        rules::teardowns_once(histories)?;
        rules::waits_first(histories, waits)?;
        let observed = self.watch.lock();
        let mut outcomes = observed.outcomes.clone();
        let struck = observed.struck.as_ref().map(|(_, id, at)| (*id, *at));
        drop(observed);
        outcomes.extend(self.root.outcome());
        rules::one_outcome(&outcomes)?;
        if let (Some(struck), Some(fault)) = (struck, self.fault) {
            rules::outcome_has_fault(histories, struck, fault)?;
        }
        // With other faults, the user's code may not have come to set a teardown.
        let sets_all = matches!(
            self.fault,
            Some(Fault::TeardownPanics | Fault::TeardownFails | Fault::TeardownHangs)
        );
        match first.filter(|_| sets_all) {
            Some(first) => rules::no_teardown_lost(first, histories),
            None => Ok(()),
        }
    }
}
