//! Items that `procession-runnable` and `procession-supervisor` share with this crate. They are not part of the public
//! interface, and may change in any release.

use std::sync::Arc;
#[cfg(not(loom))]
use std::time::Duration;

use crate::process::{Builder, Process};
use crate::run::body::ErrorRecipient;
use crate::value::{Blocker, BoxError, Error, IntoOutcome, Label, Site};
#[cfg(not(loom))]
use crate::value::{Reason, Stall};

pub use crate::process::Supervised;
pub use crate::run::catch::catch;
#[cfg(all(feature = "test-faults", not(loom)))]
pub use crate::run::fault::{Fault, FaultPlace, Gate};
pub use crate::run::park::block_on;
pub use crate::run::report::{Listener, RunEvent, RunId};
#[cfg(not(loom))]
pub use crate::run::reports::Deadlines;
pub use crate::run::wake_sleeper;
pub use crate::value::model::model_has_failed;
pub use crate::value::sleeper::{Sleeper, register};
pub use crate::value::time::deadline_after;
pub use crate::value::{Marks, Name, fold, sync, text, with_causes};

/// Waits until the hooks of [`Process::on_event`] were called for every event so far; `false` if that takes longer than
/// `timeout`.
///
/// # Blocking
///
/// Blocks the thread, but no longer than that.
#[cfg(not(loom))]
pub fn flush_events(timeout: Duration) -> bool {
    crate::run::observers::flush(timeout)
}

/// [`Process::on_stall`] without `tracing` events: for an observer of a program that reports its slow closing anyway.
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

/// [`run_at`] with a name for the child, for a caller that is not handed the outcome: failures of the child are
/// reported as those of [`Process::spawn`] are. The future is ready when the body has ended.
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

/// The process that the builder makes is that of a run. It has the name of the run and, unless the builder was given
/// one, the spawner of its parent.
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

/// Closes the process, or aborts it. Its phase changes now, but everything that this wakes or starts is left to a
/// library thread: for a thread that no waker of a user may hold up.
#[cfg(not(loom))]
pub fn close_elsewhere(process: &Process, by_force: bool) {
    crate::run::perform_elsewhere(process.node.close(&Reason::Asked, by_force));
}

/// The program that the process is part of has started: tells its service manager, without waiting for that.
#[cfg(not(loom))]
pub fn program_is_ready(process: &Process) {
    crate::run::reports::program_is_ready(&process.node);
}

/// Is the process part of a [`Main`](crate::Main) that reports nothing? Outside any `Main`, a process is part of all of
/// them, as for failures.
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

/// The item with other names of processes and threads: for a picture that must not show the real ones.
#[must_use]
pub fn renamed(blocker: Blocker, rename: &dyn Fn(&str) -> String) -> Blocker {
    blocker.renamed(rename)
}

/// The item's line in three parts, for a table: the chain down to it, what it is, and how long it has lasted.
#[must_use]
pub fn columns(blocker: &Blocker) -> [String; 3] {
    blocker.columns()
}

/// The process that the builder makes is between `before` and `after` in the order in which their parents close them,
/// the last one first. Unlike with [`Process::close_after`], none of them waits for another.
#[inline]
pub fn in_order<'a>(
    builder: Builder<'a>,
    before: Option<&'a Process>,
    after: Option<&'a Process>,
) -> Builder<'a> {
    builder.in_order(before, after)
}

/// [`Builder::spawn_thread`], for a caller that passes no error on: if the OS cannot create a thread, this is a failure
/// of the process like any other, and is reported.
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

/// A wait that snapshots show.
#[must_use = "the wait is shown as long as this exists"]
pub struct ShownWait {
    _shown: crate::run::waits::Shown,
}

/// From now on, the process passes on the failures of its children: whether such a failure is handled is decided as for
/// a failure of the process. This is for a body that reads the outcomes of the children, and returns their errors with
/// [`pass_on`], which tells nobody of them again.
pub fn pass_failures_on(process: &Process) {
    process.node.pass_failures_on();
}

/// The error of a body that [passes failures on](pass_failures_on). `error` is all that the body has to report, and
/// `own` is the part of it that is not a failure of a child.
pub fn pass_on(error: Error, own: Option<Error>) -> BoxError {
    crate::run::hooks::pass_on(error, own)
}

/// The error for code that concerns a process, and that panicked with this message.
pub fn panicked(label: Label, message: Arc<str>) -> Error {
    Error::panicked(label, message)
}

/// From now on, the process ignores the failures of its children: for code that reads their outcomes.
pub fn ignore_failures_of_children(process: &Process) {
    process.node.ignore_failures_of_children();
}

/// From now on, `faults` decides which fault strikes the process and those below it, like a hook that is set with
/// [`Process::on_event`]. It is called whenever one of them reaches such a place.
#[cfg(all(feature = "test-faults", not(loom)))]
pub fn inject(
    root: &Process,
    faults: impl Fn(FaultPlace, &Process) -> Option<Fault> + Send + Sync + 'static,
) {
    let look = move |place, node: &Arc<_>| faults(place, &Process::of_node(Arc::clone(node)));
    crate::run::faults::inject(&root.node, Box::new(look));
}
