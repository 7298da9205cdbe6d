//! [`Sweep`]: runs a graph once for each process and each fault.
//!
//! | file | subject |
//! |---|---|
//! | [`fault`] | the faults |
//! | [`target`] | how a process is recognised in the next run |
//! | [`watch`] | what the sweep observes of a run |
//! | [`case`] | one run |
//! | [`rules`] | the guarantees that a run must keep |
//! | [`report`] | the result |

mod case;
mod fault;
mod report;
mod rules;
#[cfg(test)]
mod rules_tests;
mod target;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession::support::FaultPlace;
use procession::{Process, support};

use case::{Build, Failed, Run, Times};
use rules::{Broken, Rule};
use target::Target;

use crate::history::History;

pub use fault::Fault;
pub use report::{Case, Report};

/// Sweeps a graph with all faults. This is [`Sweep::run`] with the default settings.
///
/// # Panics
///
/// If a run breaks a guarantee: see [`Sweep::run`].
///
/// # Blocking
///
/// Blocks the thread until all runs have ended.
///
/// ```
/// use procession::Process;
/// use procession_test::sweep;
///
/// let report = sweep(|app| {
///     let server = Process::builder().name("server").parent(app);
///     let server = server.spawn_thread(|p| p.closing().wait())?;
///     let log = Process::builder().name("log").parent(app).wait_for(&server);
///     log.teardown(|| println!("flush")).build()?;
///     procession::ok()
/// });
/// assert_eq!(report.runs(), 7); // none, three faults of the body, three of the teardown
/// ```
#[track_caller]
pub fn sweep<R, F>(build: F) -> Report
where
    F: Fn(&Process) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    Sweep::new().run(build)
}

/// Runs a graph once without a fault, and then once for each process and each [`Fault`] that its body, teardown or
/// spawner can have. After each run, it checks the guarantees that must hold whatever fails:
///
/// - every process becomes Closed after the root is closed;
/// - phases only advance;
/// - each teardown runs exactly once, after everything that its process waits for is Closed;
/// - the outcome of the process that failed contains the failure;
/// - every caller gets the same outcome;
/// - a teardown that hangs is among the [`blockers`](Process::blockers);
/// - no panic escapes.
///
/// The library keeps these guarantees for every graph, so most failures that a sweep finds are in the code around it: a
/// body that waits for ever for one that has failed, a teardown that unwraps a value that another one should have left,
/// a job that is sent to a thread that is gone. [`run_checked`](Self::run_checked) adds a guarantee of your own, such
/// as a file that must be complete.
///
/// | setting | default | |
/// |---|---|---|
/// | [`faults`](Self::faults) | [all](Fault::ALL) | the faults that strike |
/// | [`only`](Self::only) | all processes | a single case, to repeat one that failed |
/// | [`except`](Self::except) | none | cases that the graph need not survive |
/// | [`timeout`](Self::timeout) | 10 s | how long each run may take |
/// | [`grace`](Self::grace) | 50 ms | the grace after which a root is aborted if a body ignores closing |
///
/// The root is closed as soon as the function has returned. So if the function starts a runnable, it should wait until
/// the runnable is ready:
///
/// ```
/// use procession::Process;
/// use procession_runnable::{Runnable, body, named, run_in, sequential};
/// use procession_test::{Fault, Sweep};
/// use std::sync::mpsc;
///
/// fn serve() -> Runnable {
///     body(|run| async move {
///         run.ready();
///         run.closing().await;
///     })
/// }
///
/// let report = Sweep::new().faults([Fault::BodyPanics, Fault::BodyEndsEarly]).run(|app| {
///     let (tell, ready) = mpsc::channel();
///     let stack = sequential([named("database", serve()), named("server", serve())]);
///     Process::builder().name("main").parent(app).spawn(move |p| async move {
///         let body = |p: Process| async move {
///             tell.send(())?;
///             p.closing().await;
///             procession::ok()
///         };
///         run_in(&p, &stack, body).await
///     })?;
///     let _has_started = ready.recv(); // an error if a fault has prevented the start
///     procession::ok()
/// });
/// assert!(report.cases().iter().any(|case| case.path().ends_with("/server")), "{report}");
/// ```
///
/// # Which processes
///
/// The sweep recognises a process in the next run by its path and by the place where it was made. If several processes
/// have the same path and place, they are numbered in the order in which their code first ran. If a process exists only
/// in some runs, because it depends on timing, its case may be [missed](Report::missed). Faults do not strike the
/// function of [`on_closing`](Process::on_closing), nor processes that are not below the root.
#[derive(Clone)]
#[must_use = "a sweep does nothing before `run`"]
pub struct Sweep {
    faults: Vec<Fault>,
    only: Option<(String, Fault)>,
    except: Option<Except>,
    times: Times,
}

/// Returns `true` for the cases to leave out.
type Except = Arc<dyn Fn(&str, Fault) -> bool + Send + Sync>;

impl Sweep {
    /// A sweep with the defaults.
    pub fn new() -> Self {
        let times = Times { grace: Duration::from_millis(50), timeout: Duration::from_secs(10) };
        Self { faults: Fault::ALL.to_vec(), only: None, except: None, times }
    }

    /// Sweeps with only these faults.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }

    /// Runs only this case, after the run without a fault, to repeat a case that failed. `process` is a path as the
    /// message of the sweep prints it, such as `app/db` or `app/session#2`.
    pub fn only(mut self, process: impl Into<String>, fault: Fault) -> Self {
        self.only = Some((process.into(), fault));
        self
    }

    /// Leaves out the cases for which `is_left_out` returns `true` for the path and the fault, because the graph need
    /// not survive them. For example, if the teardown that should wake a thread panics, nothing else may be able to end
    /// that thread.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_test::{Fault, Sweep};
    ///
    /// let sweep = Sweep::new().except(|path, fault| path == "app/db" && fault == Fault::TeardownPanics);
    /// let report = sweep.run(|app| {
    ///     Process::builder().name("db").parent(app).teardown(|| println!("closed")).build()
    /// });
    /// assert_eq!(report.cases().len(), 2); // the teardown fails, and it hangs
    /// ```
    pub fn except(
        mut self,
        is_left_out: impl Fn(&str, Fault) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.except = Some(Arc::new(is_left_out));
        self
    }

    /// How long each run may take before it counts as hanging. The default is 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.times.timeout = timeout;
        self
    }

    /// How long the root may be Closing before it is aborted, in cases of [`Fault::BodyIgnoresClosing`]. The default is
    /// 50 ms.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.times.grace = grace;
        self
    }

    /// Sweeps the graph that `build` makes below the root that it is given. The root is closed when `build` has
    /// returned, and the value that it returned is dropped at the end of the run.
    ///
    /// Calls in `build` can fail because of a fault, so return their errors instead of unwrapping them.
    ///
    /// # Panics
    ///
    /// If a run breaks a guarantee, if `build` panics or does not return, or if [`only`](Self::only) names no case. The
    /// message names the process, the fault and the guarantee, and lists the events of the run.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until all runs have ended.
    #[track_caller]
    pub fn run<R, F>(&self, build: F) -> Report
    where
        F: Fn(&Process) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        self.run_checked(build, |_, _| ())
    }

    /// [`run`](Self::run) with a check of your own. `check` is called after each run, when all processes are Closed,
    /// with the case and the value that `build` returned. It should panic if something is wrong.
    ///
    /// # Panics
    ///
    /// In the cases of [`run`](Self::run), and if `check` panics.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until all runs have ended.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_test::{Fault, Sweep};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let build = |app: &Process| {
    ///     let log = Arc::new(Mutex::new(Vec::new()));
    ///     let (writes, ends) = (log.clone(), log.clone());
    ///     let writer = app.spawn_thread(move |p| {
    ///         p.closing().wait();
    ///         writes.lock().unwrap().push("last line");
    ///     })?;
    ///     let builder = Process::builder().name("log").parent(app).wait_for(&writer);
    ///     builder.teardown(move || ends.lock().unwrap().push("end")).build()?;
    ///     procession::ok_with(log)
    /// };
    /// Sweep::new().run_checked(build, |case, log| {
    ///     let log = log.as_ref().unwrap().lock().unwrap();
    ///     let is_torn_down =
    ///         !matches!(case.fault(), Some(Fault::TeardownPanics | Fault::TeardownFails));
    ///     assert_eq!(log.last() == Some(&"end"), is_torn_down, "the log is not complete");
    /// });
    /// ```
    #[track_caller]
    pub fn run_checked<R, F>(&self, build: F, check: impl Fn(&Case, &R)) -> Report
    where
        F: Fn(&Process) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        match self.try_run(&(Arc::new(build) as Build<R>), &check) {
            Ok(report) => report,
            Err(message) => panic!("{message}"),
        }
    }

    #[track_caller]
    fn try_run<R: Send + 'static>(
        &self,
        build: &Build<R>,
        check: &dyn Fn(&Case, &R),
    ) -> Result<Report, String> {
        let first = self.run_case(build, check, None, None)?;
        let places = first.watch.lock().places.clone();
        let all =
            self.only.as_ref().map_or(&self.faults[..], |(_, fault)| std::slice::from_ref(fault));
        let strikes = |target: &Target| self.only.as_ref().is_none_or(|(path, _)| target.is(path));
        let mut report = Report::new(first.histories.len());
        for (target, place) in places.iter().filter(|(target, _)| strikes(target)) {
            for fault in all.iter().filter(|fault| fault.place() == *place) {
                if self.except.as_ref().is_some_and(|except| except(&target.to_string(), *fault)) {
                    continue;
                }
                let case = (target.clone(), *fault);
                let run = self.run_case(build, check, Some(&case), Some(&first.histories))?;
                report.add(Case::of(&run, Some(&case)), run.was_struck);
            }
        }
        match &self.only {
            Some((path, fault)) if report.runs() == 1 => Err(no_such_case(path, *fault, &places)),
            _ => Ok(report),
        }
    }

    /// Runs one case, and checks it.
    #[track_caller]
    fn run_case<R: Send + 'static>(
        &self,
        build: &Build<R>,
        check: &dyn Fn(&Case, &R),
        case: Option<&(Target, Fault)>,
        first: Option<&[History]>,
    ) -> Result<Run<R>, String> {
        let run = case::run(build, case, self.times, first);
        let mut run = run.map_err(|failed| message(case, &failed))?;
        if let Some(value) = run.value.take() {
            let shown = Case::of(&run, case);
            if let Err(panic) = support::catch(|| check(&shown, &value)) {
                let broken = Broken { rule: Rule::Check, found: panic.to_string() };
                return Err(message(case, &Failed { broken, events: run.events }));
            }
        }
        Ok(run)
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("faults", &self.faults)
            .field("only", &self.only)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self::new()
    }
}

fn message(case: Option<&(Target, Fault)>, failed: &Failed) -> String {
    let Failed { broken: Broken { rule, found }, events } = failed;
    let (what, repeat) = match case {
        None => ("without a fault".to_owned(), String::new()),
        Some((target, fault)) => (
            format!("process `{target}` ({}): {fault}", target.site),
            format!(
                "\nTo repeat only this case: Sweep::new().only({:?}, Fault::{fault:?})",
                target.to_string()
            ),
        ),
    };
    let lines = crate::timeline::Lines(events);
    format!(
        "the sweep has found a failure\n  case:     {what}\n  expected: {rule}\n  found:    {found}\n{repeat}\nWhat happened:\n{lines}"
    )
}

fn no_such_case(path: &str, fault: Fault, places: &[(Target, FaultPlace)]) -> String {
    let mut known: Vec<_> = places
        .iter()
        .filter(|(_, place)| *place == fault.place())
        .map(|(target, _)| target.to_string())
        .collect();
    known.dedup();
    format!(
        "there is no case Fault::{fault:?} of {path:?}; the processes with such a case are: {}",
        known.join(", ")
    )
}
