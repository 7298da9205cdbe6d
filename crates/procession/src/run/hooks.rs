//! Hooks for failures, and how bodies and teardowns report their ends.

use std::sync::Arc;

use super::call_stack::run_as;
use super::catch::catch;
use super::foreign::Foreign;
#[cfg(not(loom))]
use super::reports;
use super::{Effects, Failure, Node};
use crate::state::{CallingHooks, Failed, Place, Waits};
use crate::value::sleeper::Sleeper;
use crate::value::{BoxError, Error, Label};

/// A function that is called for failures.
pub(crate) type Hook = Arc<Foreign<Box<dyn Fn(&Arc<Node>, &Error) + Send + Sync>>>;

/// A hook that calls `call`.
pub(crate) fn hook(call: impl Fn(&Arc<Node>, &Error) + Send + Sync + 'static) -> Hook {
    Arc::new(Foreign::new(Box::new(call)))
}

/// The failure of a body, a teardown or a time limit.
pub(super) struct WorkFailure {
    error: Error,
    unreported: Unreported,
}

/// The part of an error for which the hooks have not been called yet.
enum Unreported {
    /// The whole error.
    All,
    /// Only this part, if any. The rest consists of failures of children, which the process passes on.
    Only(Option<Error>),
}

/// The error of a body that passes failures of its children on: see [`pass_on`].
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct PassedOn {
    error: Error,
    own: Option<Error>,
}

/// The result of a body that reads the outcomes of its children, and has declared that the process
/// [passes their failures on](crate::support::pass_failures_on). `error` is all that the body has to report, and `own`
/// is the part of it that is not a failure of a child.
pub(crate) fn pass_on(error: Error, own: Option<Error>) -> BoxError {
    Box::new(PassedOn { error, own })
}

/// Turns the result of a body or a teardown, or its panic, into a part of the outcome.
#[inline(always)]
pub(super) fn outcome(
    caught: Result<Result<(), BoxError>, Arc<str>>,
    label: impl FnOnce() -> Label,
) -> Result<(), WorkFailure> {
    match caught {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match error.downcast::<PassedOn>() {
            Ok(passed_on) => {
                let PassedOn { error, own } = *passed_on;
                WorkFailure { error, unreported: Unreported::Only(own) }
            }
            Err(error) => Error::failed(label(), error).into(),
        }),
        Err(message) => Err(Error::panicked(label(), message).into()),
    }
}

impl From<Error> for WorkFailure {
    fn from(error: Error) -> Self {
        Self { error, unreported: Unreported::All }
    }
}

/// The body has ended: calls the hooks if it has failed, then reports the end.
#[inline]
pub(super) fn body_ended(
    node: &Arc<Node>,
    result: Result<(), WorkFailure>,
    place: Option<Place>,
) -> (Effects, Option<Sleeper>) {
    let failed = call_hooks(node, result);
    node.body_ended(failed, place)
}

/// The teardown has ended: calls the hooks if it has failed, then reports the end.
#[inline]
pub(super) fn torn_down(node: &Arc<Node>, result: Result<(), WorkFailure>) -> Effects {
    let failed = call_hooks(node, result);
    node.torn_down(failed)
}

/// The time limit has ended, and the process was aborted: calls the hooks, then reports the failure.
pub(super) fn time_limit_over(node: &Arc<Node>, error: Error, waits: Waits) -> Effects {
    let failed = call_hooks(node, Err(error.into()));
    node.time_limit_reported(failed, waits)
}

/// Calls the hooks if the result is an error.
#[inline(always)]
fn call_hooks(
    node: &Arc<Node>,
    result: Result<(), WorkFailure>,
) -> Option<Failed<super::NodeContents>> {
    match result {
        Ok(()) => None,
        Err(failure) => Some(call_hooks_with(node, failure)),
    }
}

/// Calls the hooks for the part of the error that they were not called for before. The process waits for them, and
/// snapshots show that.
#[cold]
fn call_hooks_with(node: &Arc<Node>, failure: WorkFailure) -> Failed<super::NodeContents> {
    let WorkFailure { error, unreported } = failure;
    let aborted = matches!(error, Error::Aborted(_));
    let unreported = match unreported {
        Unreported::All => &error,
        Unreported::Only(Some(ref own)) => own,
        Unreported::Only(None) => return Failed { failure: Failure::new(error), aborted },
    };
    let _shown = CallingHooks::begin(node);
    let hooks = node.hooks();
    #[cfg(not(loom))]
    if !hooks.is_empty() {
        reports::hooked(unreported);
    }
    #[cfg(not(loom))]
    if !(hooks.is_empty() && reports::failed(node, unreported, aborted)) {
        reports::handled(node, unreported);
    }
    call_each(hooks, node, unreported);
    Failed { failure: Failure::new(error), aborted }
}

fn call_each(hooks: Vec<Hook>, node: &Arc<Node>, error: &Error) {
    for hook in hooks {
        // If a hook panics, the panic hook prints that, and it has no other effect.
        let (_, _panicked) = run_as(node.clone(), || catch(|| (hook.get())(node, error)));
    }
}

/// [`left`] for a caller that may be on any stack: hooks and the subscriber are called on a thread of the library.
#[cfg(not(loom))]
pub(crate) fn left_elsewhere(node: &Arc<Node>, error: Failure) {
    if error.get().was_reported() {
        return;
    }
    if node.hooks().is_empty() {
        return reports::report_left(node, vec![error], None);
    }
    let node = node.clone();
    super::pool::run_now(Box::new(move || left(&node, error.get())));
}

/// Nothing has handled a failure in the tree of the process, whose failures were ignored at first: calls the hooks or,
/// if there are none, reports it. Does nothing if that has happened before.
#[cfg(not(loom))]
pub(crate) fn left(node: &Arc<Node>, error: &Error) {
    if error.was_reported() {
        return;
    }
    let hooks = node.hooks();
    if hooks.is_empty() {
        return reports::report(node, error);
    }
    reports::hooked(error);
    reports::handled(node, error);
    call_each(hooks, node, error);
}
