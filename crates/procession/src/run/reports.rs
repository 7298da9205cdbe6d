//! Reports of failures that nothing handles (I17): the `tracing` event `failed`, and the report to `Main`.
//!
//! Whether a failure is handled is decided by the state machine, in `state/handled.rs`. The event is recorded on the
//! thread where the failure happened, because foreign code runs there anyway. `Main` is given the error itself, and
//! formats it on a thread of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[cfg(feature = "tracing")]
use super::catch::catch;
use super::pool::run_now;
use super::{Failure, Node};
use crate::value::sync::Mutex;
use crate::value::text::Escaped;
use crate::value::{Error, Label, with_causes};

/// A single failure of a process.
#[derive(Clone)]
pub(crate) struct SingleFailure {
    /// The process that failed.
    pub(crate) label: Label,
    /// Its error, which is not [`Error::Many`].
    error: Failure,
    /// It was recorded as a `tracing` event.
    pub(crate) is_recorded: bool,
}

/// The interface of a running `Main`.
pub(crate) trait MainListener: Send + Sync {
    /// Are reports turned off?
    fn is_quiet(&self) -> bool;

    /// The time between the closing of its root and the abort, if there is a limit.
    fn grace(&self) -> Option<Duration>;

    /// The time between an abort of its root and the end of the program by force, if there is a limit.
    fn abort_grace(&self) -> Option<Duration>;

    /// The exit status if the program is ended by force now.
    fn code_by_force(&self) -> u8;

    /// The exit status, once its root is Closed.
    fn code(&self) -> Option<u8>;

    /// The program has finished starting. The implementation must return at once.
    fn program_is_ready(&self);

    /// A failure was not handled, which decides the exit status. Called before [`report`](Self::report) and on the
    /// thread that found the failure, so that no failure is missing when the program ends.
    fn count_failure(&self);

    /// Reports a failure that was not handled. Called with no lock held; the implementation must return at once.
    fn report(&self, failure: &SingleFailure);
}

struct Registered {
    /// The address of the root, which is not kept alive.
    root: usize,
    listener: Arc<dyn MainListener>,
}

static LISTENERS: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// The number of listeners. It only decides whether the right one must be chosen.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// From now on, `listener` is given the failures in the tree of `root`, and those that are in no listener's tree.
#[cfg_attr(
    not(all(feature = "signal", any(unix, windows))),
    expect(dead_code, reason = "for `Main`")
)]
pub(crate) fn add_listener(root: &Arc<Node>, listener: Arc<dyn MainListener>) {
    LISTENERS.lock().push(Registered { root: Arc::as_ptr(root).addr(), listener });
    RUNNING.fetch_add(1, Ordering::Relaxed);
}

/// Removes the listener for this root.
#[cfg_attr(
    not(all(feature = "signal", any(unix, windows))),
    expect(dead_code, reason = "for `Main`")
)]
pub(crate) fn remove_listener(root: &Arc<Node>) {
    let root = Arc::as_ptr(root).addr();
    let mut listeners = LISTENERS.lock();
    let position = listeners.iter().position(|listener| listener.root == root);
    let removed = position.map(|position| listeners.swap_remove(position));
    RUNNING.fetch_sub(usize::from(removed.is_some()), Ordering::Relaxed);
    drop(listeners);
    drop(removed);
}

/// A process has failed, and it has no hooks: reports the failure, unless something else handles it. If the work of the
/// process was dropped because the process was aborted, it has not failed. Returns whether the failure was reported.
pub(super) fn failed(node: &Arc<Node>, error: &Error, aborted: bool) -> bool {
    if aborted && node.is_aborting() || node.is_handled(&Failure::new(error.clone())) {
        return false;
    }
    report(node, error);
    true
}

/// A process has failed, and its hooks are called for the failure: no later [`report`] reports it.
pub(crate) fn hooked(error: &Error) {
    for error in error.each() {
        if let Some(label) = error.process() {
            label.set_reported();
        }
    }
}

/// A process has failed, and something handles the failure: records a warning. Work that was dropped by an abort has
/// not failed.
#[cfg(feature = "tracing")]
pub(super) fn handled(node: &Arc<Node>, error: &Error) {
    if super::tracing::may_warn() && !matches!(error, Error::Aborted(_)) {
        for failure in each_error(node, error) {
            record(&failure, true);
        }
    }
}

/// Without the feature `tracing`, a handled failure is not recorded.
#[cfg(not(feature = "tracing"))]
pub(super) fn handled(_node: &Arc<Node>, _error: &Error) {}

/// Reports failures that were left to a caller which has dropped the process unread. `listeners` are those that were
/// found when the process was handed to the caller. The caller may be on any stack, so a subscriber is called on a
/// thread of the library.
pub(crate) fn report_left(node: &Arc<Node>, left: Vec<Failure>, listeners: Option<Listeners>) {
    let mut failures: Vec<_> = left.iter().flat_map(|left| each_error(node, left.get())).collect();
    failures.retain(|failure| !failure.label.set_reported());
    if failures.is_empty() {
        return;
    }
    let listeners = listeners.unwrap_or_else(|| listeners_of(node));
    count(&listeners, &failures);
    if may_record() {
        run_now(Box::new(move || record_and_report(&listeners, failures)));
    } else {
        record_and_report(&listeners, failures);
    }
}

/// A handle to the process or a waiter for its end was dropped: reports the failures that were left to such readers, if
/// none are left.
#[inline]
pub(crate) fn report_unread(node: &Arc<Node>) {
    let left = node.take_unread_failures();
    if !left.is_empty() {
        report_left(node, left, None);
    }
}

/// Reports a failure in the tree of the process, unless it was reported or hooks were called for it.
pub(crate) fn report(node: &Arc<Node>, error: &Error) {
    let mut failures = each_error(node, error);
    failures.retain(|failure| !failure.label.set_reported());
    if !failures.is_empty() {
        let listeners = listeners_of(node);
        count(&listeners, &failures);
        record_and_report(&listeners, failures);
    }
}

fn count(listeners: &[Arc<dyn MainListener>], failures: &[SingleFailure]) {
    for _failure in failures {
        listeners.iter().for_each(|listener| listener.count_failure());
    }
}

/// Records each failure as an event, or has the listeners report it. That is decided only here, so each failure is
/// reported in exactly one way.
fn record_and_report(listeners: &[Arc<dyn MainListener>], mut failures: Vec<SingleFailure>) {
    let wants_events = !any_is_quiet(listeners);
    for failure in &mut failures {
        failure.is_recorded = wants_events && record(failure, false);
        listeners.iter().for_each(|listener| listener.report(failure));
    }
}

/// Each error separately, with the process that it is about.
fn each_error(node: &Arc<Node>, error: &Error) -> Vec<SingleFailure> {
    let with_label = |error: &Error| SingleFailure {
        label: error.failed_process().cloned().unwrap_or_else(|| node.label()),
        error: Failure::new(error.clone()),
        is_recorded: false,
    };
    error.each().iter().map(with_label).collect()
}

/// The listeners of one process.
pub(crate) type Listeners = Vec<Arc<dyn MainListener>>;

/// The listeners of a process that is being handed to a caller, if there are several to choose from. They are found
/// before the process is Closed, because a Closed process has nothing above it any more.
pub(crate) fn choose_listeners(node: &Arc<Node>) -> Option<Listeners> {
    (RUNNING.load(Ordering::Relaxed) > 1).then(|| listeners_of(node))
}

/// The listener whose root is above the process; all of them if there is none.
fn listeners_of(node: &Arc<Node>) -> Listeners {
    let listeners = all_listeners();
    // With one listener, there is nothing to choose from.
    let above = (listeners.len() > 1).then(|| listener_above(node, &listeners)).flatten();
    if let Some(listener) = above {
        return vec![listener];
    }
    listeners.into_iter().map(|(_, listener)| listener).collect()
}

/// Are reports turned off in a listener of the process?
#[cfg(not(loom))]
pub(crate) fn is_quiet(node: &Arc<Node>) -> bool {
    any_is_quiet(&listeners_of(node))
}

fn any_is_quiet(listeners: &[Arc<dyn MainListener>]) -> bool {
    listeners.iter().any(|listener| listener.is_quiet())
}

/// The grace of the program that the process is part of, if it has one.
pub(crate) fn grace_of_program(node: &Arc<Node>) -> Option<Duration> {
    listener_above(node, &all_listeners())?.grace()
}

/// The deadlines of a program whose root closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// The time between the closing of the root and its abort, if there is a limit.
    pub grace: Option<Duration>,
    /// The time between the abort of the root and the end of the program by force, if there is a limit.
    pub abort_grace: Option<Duration>,
    /// The exit status if the program is ended by force now.
    pub code_by_force: u8,
    /// The exit status, once the program has found it, after the root is Closed.
    pub code: Option<u8>,
}

/// The deadlines of the program whose root this is.
#[cfg(not(loom))]
pub(crate) fn deadlines_of_root(node: &Arc<Node>) -> Option<Deadlines> {
    let root = Arc::as_ptr(node).addr();
    let (_, listener) = all_listeners().into_iter().find(|(other, _)| *other == root)?;
    Some(Deadlines {
        grace: listener.grace(),
        abort_grace: listener.abort_grace(),
        code_by_force: listener.code_by_force(),
        code: listener.code(),
    })
}

/// The program that the process is part of has finished starting. Does nothing if the process is not part of a `Main`.
pub(crate) fn program_is_ready(node: &Arc<Node>) {
    if let Some(listener) = listener_above(node, &all_listeners()) {
        listener.program_is_ready();
    }
}

/// The listeners, and their roots.
fn all_listeners() -> Vec<(usize, Arc<dyn MainListener>)> {
    LISTENERS.lock().iter().map(|listener| (listener.root, listener.listener.clone())).collect()
}

/// The listener whose root is the process, or above it.
fn listener_above(
    node: &Arc<Node>,
    listeners: &[(usize, Arc<dyn MainListener>)],
) -> Option<Arc<dyn MainListener>> {
    let (_, listener) = listeners.iter().find(|(root, _)| node.is_below(*root))?;
    Some(listener.clone())
}

/// Records the errors in the outcome of a root.
#[cfg(all(feature = "tracing", feature = "signal", any(unix, windows)))]
pub(crate) fn record_outcome(error: &Error) {
    for error in error.each() {
        if let Some(label) = error.process().cloned() {
            let error = Failure::new(error.clone());
            record(&SingleFailure { label, error, is_recorded: false }, false);
        }
    }
}

/// Records a `tracing` event `failed`, at ERROR or, if something handles the failure, at WARN. Returns whether the
/// subscriber wanted it. The subscriber and the `Display` of an error are foreign code.
#[cfg(feature = "tracing")]
fn record(failure: &SingleFailure, is_handled: bool) -> bool {
    use tracing::Level;

    // A level has to be a constant, so a function cannot choose it.
    macro_rules! record_at {
        ($level:expr) => {{
            let is_wanted = tracing::enabled!(target: "procession", $level);
            if is_wanted {
                tracing::event!(
                    name: "failed",
                    target: "procession",
                    $level,
                    event = "failed",
                    process = failure.label.path().as_str(),
                    kind = failure.kind(),
                    error = failure.message().as_str(),
                    site = %failure.label.site(),
                    "{failure}"
                );
            }
            is_wanted
        }};
    }

    let record = || if is_handled { record_at!(Level::WARN) } else { record_at!(Level::ERROR) };
    catch(record).unwrap_or(true)
}

#[cfg(not(feature = "tracing"))]
fn record(_failure: &SingleFailure, _is_handled: bool) -> bool {
    false
}

/// Might a subscriber want errors? One relaxed load.
fn may_record() -> bool {
    #[cfg(feature = "tracing")]
    return super::tracing::may_want_errors();
    #[cfg(not(feature = "tracing"))]
    false
}

impl SingleFailure {
    /// `panic` or `error`.
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "for events"))]
    pub(crate) fn kind(&self) -> &'static str {
        if matches!(self.error.get(), Error::Panicked(_)) { "panic" } else { "error" }
    }

    /// The error with all its causes, or the message of a panic. This runs foreign code: call it in a catch.
    pub(crate) fn message(&self) -> String {
        match self.error.get() {
            Error::Panicked(panicked) => panicked.message().to_owned(),
            Error::Failed(failed) => with_causes(failed.get()).to_string(),
            Error::Aborted(_) => "it was dropped before its end".to_owned(),
            Error::TimeLimit(_) => "its time limit was over".to_owned(),
            Error::NoThread(no_thread) => {
                let cause = std::error::Error::source(no_thread).map(with_causes);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                format!("the OS could not create a thread{cause}")
            }
            error => error.with_causes().to_string(),
        }
    }

    /// The verb for the failure.
    fn verb(&self) -> &'static str {
        match self.error.get() {
            Error::Panicked(_) => "panicked",
            Error::Aborted(_) | Error::TimeLimit(_) => "was aborted",
            _ => "failed",
        }
    }

    /// The line that reports the failure. `message` is its [`message`](Self::message). `verb` and `site` may add
    /// colours.
    pub(crate) fn line(
        &self,
        message: &str,
        verb: impl FnOnce(&str) -> String,
        site: impl FnOnce(&str) -> String,
    ) -> String {
        let Self { label, .. } = self;
        let (verb, message) = (verb(self.verb()), Escaped::error(message));
        // The chain of an unnamed process already ends with its site.
        let site = match label.is_site() {
            true => String::new(),
            false => format!(" {}", site(&format!("({})", label.site()))),
        };
        format!("{} {verb}: {message}{site}", label.chain())
    }
}

/// Displays the line without colours. This runs foreign code: call it in a catch.
impl fmt::Display for SingleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(&self.message(), str::to_owned, str::to_owned))
    }
}
