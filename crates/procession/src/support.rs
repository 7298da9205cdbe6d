//! Items of this crate that only the other crates of its repository may use. They are not part of the public interface,
//! and may change in any release.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
#[cfg(not(loom))]
use std::time::Duration;

use crate::process::{Builder, Process};
#[cfg(not(loom))]
use crate::run::abort::{ReportedBy, close};
use crate::run::body::ErrorRecipient;
use crate::value::{Blocker, BoxError, Error, IntoOutcome, Label, ProcessId, Site, Snapshot};
#[cfg(not(loom))]
use crate::value::{Reason, Stall};

pub use crate::process::{Supervised, Unstarted};
pub use crate::run::catch::catch;
#[cfg(all(feature = "test-faults", not(loom)))]
pub use crate::run::fault::{Fault, FaultPlace, Gate};
pub use crate::run::park::block_on;
use crate::run::report::Report;
pub use crate::run::report::{Listener, RunEvent, RunId};
#[cfg(not(loom))]
pub use crate::run::reports::Deadlines;
pub use crate::run::wake_sleeper;
pub use crate::value::model::model_has_failed;
pub use crate::value::nested::Nested;
pub use crate::value::sleeper::{Sleeper, register};
pub use crate::value::time::deadline_after;
pub use crate::value::{Marks, Name, fold, sync, text, with_causes};

/// Waits until the hooks of [`Process::on_event`] were called for every event so far; `false` if that takes longer than
/// `timeout`.
///
/// # Blocking
///
/// Blocks the thread, at most until the timeout.
#[cfg(not(loom))]
pub fn flush_events(timeout: Duration) -> bool {
    crate::run::observers::flush(timeout)
}

/// [`Process::on_stall`], without `tracing` events, for programs in which something else reports slow closings.
#[cfg(not(loom))]
pub fn on_stall_unrecorded(
    process: &Process,
    after: Duration,
    on_stall: impl Fn(&Stall) + Send + Sync + 'static,
) {
    if !process.node.is_background() {
        crate::run::deadlines::watch_for_stalls(&process.node, after, false, on_stall);
    }
}

/// [`Process::run`], with an explicit site.
pub fn run_at<F, Fut>(
    site: Site,
    parent: &Process,
    body: F,
) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    parent.run_at(site, body)
}

/// [`run_at`], blocking: the future of the body is polled on this thread. The processes whose code is on its stack wait
/// for the child, as in [`Closed::wait`](crate::Closed::wait).
///
/// # Errors
///
/// Those of [`Process::run`], and [`Error::Deadlock`](crate::Error::Deadlock).
pub fn run_blocking_at<F, Fut>(site: Site, parent: &Process, body: F) -> Result<(), Error>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    parent.run_blocking_at(site, body)
}

/// [`run_at`], with a name for the child, for a caller that is not handed the outcome: failures of the child are
/// reported like those of [`Process::spawn`]. The future is ready when the body has ended.
///
/// # Errors
///
/// Those of `spawn`.
pub fn run_unattended_at<F, Fut>(
    site: Site,
    parent: &Process,
    name: Arc<str>,
    body: F,
) -> Result<impl Future<Output = ()> + use<F, Fut>, Error>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    parent.run_unattended_at(site, name, body)
}

/// [`Process::close_when`], with an explicit site.
///
/// # Errors
///
/// Those of `close_when`.
pub fn close_when_at<F>(site: Site, process: &Process, future: F) -> Result<(), Error>
where
    F: Future + Send + 'static,
{
    process.close_when_at(site, future)
}

/// Sets the run to which the builder's process belongs. The process gets the name of the run and, unless the builder
/// was given a spawner, the spawner of the run's parent.
#[inline]
pub fn supervised(builder: Builder<'_>, supervised: Supervised) -> Builder<'_> {
    builder.supervised(supervised)
}

/// Aborts the process if it is still Closing `grace` after it began to close, for whatever reason. The library's
/// deadline thread does this, so it happens even while users' tasks block every executor. Nothing is added to the
/// outcome of the process.
#[cfg(not(loom))]
pub fn abort_past_grace(process: &Process, grace: Duration) {
    crate::run::deadlines::abort_past_grace(&process.node, grace);
}

/// Closes or aborts the process. Its phase changes at once, but everything that this wakes or starts is left to a
/// thread of the library. This is for threads that users' wakers must not hold up.
#[cfg(not(loom))]
pub fn close_elsewhere(process: &Process, by_force: bool) {
    let reported_by = ReportedBy::Event;
    crate::run::perform_elsewhere(close(&process.node, &Reason::Asked, by_force, reported_by));
}

/// Nothing has handled a failure in the tree of the process (I17): calls the hooks of the process or, if there are
/// none, reports the failure. Does nothing if that has happened before. This is for code that ignores the failures of
/// children at first, because it decides only later whether it handles them. Call it with no lock held, because it
/// calls the `tracing` subscriber and the hooks. In a model, it does nothing.
#[cfg_attr(loom, expect(unused_variables, reason = "a model reports nothing"))]
pub fn report_failure(process: &Process, error: &Error) {
    #[cfg(not(loom))]
    crate::run::hooks::left(&process.node, error);
}

/// [`report_failure`], on a thread of the library: for code that may be on any stack, such as a `Drop`.
#[cfg_attr(loom, expect(unused_variables, reason = "a model reports nothing"))]
pub fn report_failure_elsewhere(process: &Process, error: Error) {
    #[cfg(not(loom))]
    crate::run::hooks::left_elsewhere(&process.node, crate::run::Failure::new(error));
}

/// Was the failure reported, or were hooks called for it?
pub fn was_reported(error: &Error) -> bool {
    error.was_reported()
}

/// The failure only passes on other failures, each of which was reported, or had hooks called for it. From now on, it
/// counts as reported as well. Call it before anything else has the error.
#[cfg_attr(loom, expect(unused_variables, reason = "a model reports nothing"))]
pub fn count_as_reported(error: &Error) {
    #[cfg(not(loom))]
    crate::run::reports::hooked(error);
}

/// Notifies the supervisor of the nearest run that `process` is part of, if there is one, with [`RunEvent::Leaves`].
/// `process` is that of a supervisor that ends and leaves something behind that has not ended. Call it with no lock
/// held.
pub fn report_left_behind(process: &Process, left: impl FnOnce() -> Arc<dyn Any + Send + Sync>) {
    wake_sleeper(Report::leave_behind(&process.node, left));
}

/// Are hooks called for the failures of this process?
pub fn has_failure_hooks(process: &Process) -> bool {
    !process.node.hooks().is_empty()
}

/// Is each of the errors the failure of the process that it is about?
pub fn names_its_process(error: &Error) -> bool {
    error.each().iter().all(|error| error.failed_process().is_some())
}

/// Notifies the service manager that the program of which the process is a part has finished starting. Does not wait
/// for that.
#[cfg(not(loom))]
pub fn program_is_ready(process: &Process) {
    crate::run::reports::program_is_ready(&process.node);
}

/// Is the process part of a [`Main`](crate::Main) that is [quiet](crate::Main::quiet)? As for failures, a process that
/// is in the tree of no `Main` counts as part of all of them.
#[cfg(not(loom))]
pub fn is_quiet(process: &Process) -> bool {
    crate::run::reports::is_quiet(&process.node)
}

/// The grace of the [`Main`](crate::Main) that the process is part of; `None` if there is no `Main`, or no grace.
#[cfg(not(loom))]
pub fn grace_of_program(process: &Process) -> Option<Duration> {
    crate::run::reports::grace_of_program(&process.node)
}

/// The deadlines of the [`Main`](crate::Main) whose root this process is; `None` for any other process.
#[cfg(not(loom))]
pub fn deadlines_of_root(process: &Process) -> Option<Deadlines> {
    crate::run::reports::deadlines_of_root(&process.node)
}

/// The item with renamed processes and threads, for a picture that must not show the real names.
#[must_use]
pub fn renamed(blocker: Blocker, rename: &dyn Fn(&str) -> String) -> Blocker {
    blocker.renamed(rename)
}

/// The labels of [`Snapshot::path`], which a name that contains `/` does not divide. At most `limit` processes are
/// named, the nearest ones, because the path of a deep process is long; if others are left out, the first label is `…`.
#[must_use]
pub fn nearest_labels(snapshot: &Snapshot, id: ProcessId, limit: usize) -> Vec<String> {
    let labels = snapshot.nearest_labels(id, limit).unwrap_or_default();
    labels.into_iter().map(Cow::into_owned).collect()
}

/// The labels of [`Label::path`], which a name that contains `/` does not divide.
#[must_use]
pub fn labels(label: &Label) -> Vec<String> {
    label.labels()
}

/// The item's line in three parts, for a table: the chain down to it, what it is, and how long it has lasted.
#[must_use]
pub fn columns(blocker: &Blocker) -> [String; 3] {
    blocker.columns()
}

/// Puts the process that the builder makes between `before` and `after`, in an order in which their parents close the
/// last one first. Unlike with [`Process::close_after`], none of them waits for another.
#[inline]
pub fn in_order<'a>(
    builder: Builder<'a>,
    before: Option<&'a Process>,
    after: Option<&'a Process>,
) -> Builder<'a> {
    builder.in_order(before, after)
}

/// [`Builder::spawn_thread`], for a caller that does not pass on the error: if the OS cannot create a thread, that is
/// reported like any other failure of the process.
///
/// # Errors
///
/// Those of `spawn_thread`.
pub fn spawn_thread_unattended<F, R>(builder: Builder<'_>, body: F) -> Result<Process, Error>
where
    F: FnOnce(Process) -> R + Send + 'static,
    R: IntoOutcome,
{
    builder.spawn_thread_handed(ErrorRecipient::Nobody, body)
}

/// As long as the returned value exists, snapshots show that code of `process` waits for the children of `other`.
pub fn show_wait_for_children(process: &Process, other: &Process) -> ShownWait {
    ShownWait { _shown: crate::run::waits::show_wait_for_children(&process.node, &other.node) }
}

/// Waits for `future`, which is ready when children of `process` are Closed. As long as that takes and one of them is
/// open, snapshots show that `process` waits for its children. A body that makes parts and waits for them awaits them
/// in this way, so that reports name the part that hangs, and not the body.
pub async fn wait_for_own_children<F: Future>(process: &Process, future: F) -> F::Output {
    crate::run::waits::wait_for_own_children(&process.node, future).await
}

/// Makes snapshots show a wait as long as it exists. Made by [`show_wait_for_children`].
#[must_use = "the wait is shown as long as this exists"]
pub struct ShownWait {
    _shown: crate::run::waits::Shown,
}

/// From now on, the process passes on the failures of its children: such a failure is handled if a failure of the
/// process itself would be. This is for a body that reads the outcomes of the children, and returns their errors with
/// [`pass_on`], which does not report them again.
pub fn pass_failures_on(process: &Process) {
    process.node.pass_failures_on();
}

/// The error of a body or a teardown that [passes failures on](pass_failures_on). `error` is all that it has to report,
/// and `own` is the part of it that is not a failure of a child.
pub fn pass_on(error: Error, own: Option<Error>) -> BoxError {
    crate::run::hooks::pass_on(error, own)
}

/// The error for a panic with this message in code that concerns a process.
pub fn panicked(label: Label, message: Arc<str>) -> Error {
    Error::panicked(label, message)
}

/// From now on, the process ignores the failures of its children. This is for code that reads their outcomes.
pub fn ignore_failures_of_children(process: &Process) {
    process.node.ignore_failures_of_children();
}

/// From now on, `faults` decides which fault strikes the process and everything below it. It is inherited like a hook
/// that is set with [`Process::on_event`], and is called whenever one of these processes reaches a place where a fault
/// can strike.
#[cfg(all(feature = "test-faults", not(loom)))]
pub fn inject(
    root: &Process,
    faults: impl Fn(FaultPlace, &Process) -> Option<Fault> + Send + Sync + 'static,
) {
    let look = move |place, node: &Arc<_>| faults(place, &Process::of_node(Arc::clone(node)));
    crate::run::faults::inject(&root.node, Box::new(look));
}
