//! Hooks for failures, and how bodies and teardowns report their ends.

use std::sync::Arc;

use super::call_stack::run_as;
use super::catch::catch;
use super::foreign::Foreign;
#[cfg(not(loom))]
use super::reports;
use super::{Effects, Failure, Node};
use crate::state::{Failed, Place, Waits};
use crate::value::sleeper::Sleeper;
use crate::value::{BoxError, Error, Label};

/// A function that is called for failures.
pub(crate) type Hook = Arc<Foreign<Box<dyn Fn(&Arc<Node>, &Error) + Send + Sync>>>;

/// A hook that calls `tell`.
pub(crate) fn hook(tell: impl Fn(&Arc<Node>, &Error) + Send + Sync + 'static) -> Hook {
    Arc::new(Foreign::new(Box::new(tell)))
}

/// Turns the result of code of a process, or its panic, into a part of the outcome.
#[inline]
pub(super) fn outcome(
    caught: Result<Result<(), BoxError>, Arc<str>>,
    label: impl FnOnce() -> Label,
) -> Result<(), Error> {
    match caught {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::failed(label(), error)),
        Err(message) => Err(Error::panicked(label(), message)),
    }
}

/// The body has ended: tells the hooks of a failure, then reports the end.
#[inline]
pub(super) fn body_ended(
    node: &Arc<Node>,
    result: Result<(), Error>,
    place: Option<Place>,
) -> (Effects, Option<Sleeper>) {
    let failed = tell_hooks(node, result);
    node.body_ended(failed, place)
}

/// The teardown has ended: tells the hooks of a failure, then reports the end.
#[inline]
pub(super) fn torn_down(node: &Arc<Node>, result: Result<(), Error>) -> Effects {
    let failed = tell_hooks(node, result);
    node.torn_down(failed)
}

/// The time limit is over, and the process is aborted: tells the hooks, then reports the failure.
pub(super) fn time_limit_over(node: &Arc<Node>, error: Error, waits: Waits) -> Effects {
    let failed = tell_hooks(node, Err(error));
    node.time_limit_reported(failed, waits)
}

/// Calls the hooks if the result is an error.
#[inline(always)]
fn tell_hooks(node: &Arc<Node>, result: Result<(), Error>) -> Option<Failed<super::Held>> {
    match result {
        Ok(()) => None,
        Err(error) => Some(tell_hooks_of(node, error)),
    }
}

#[cold]
fn tell_hooks_of(node: &Arc<Node>, error: Error) -> Failed<super::Held> {
    let aborted = matches!(error, Error::Aborted(_));
    let hooks = node.hooks();
    #[cfg(not(loom))]
    if !(hooks.is_empty() && reports::failed(node, &error, aborted)) {
        reports::handled(node, &error);
    }
    for hook in hooks {
        // A panic of a hook is only printed, by the panic hook.
        let (_, _panicked) = run_as(node.clone(), || catch(|| (hook.get())(node, &error)));
    }
    Failed { failure: Failure::new(error), aborted }
}
