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

/// An error of code of a process.
pub(super) struct Fault {
    error: Error,
    news: News,
}

/// The part of an error that the hooks have not been told of.
enum News {
    All,
    /// The process passes failures of its children on, and this is what failed besides.
    Only(Option<Error>),
}

/// The error of a body that passes failures of its children on: see [`pass_on`].
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct PassedOn {
    error: Error,
    own: Option<Error>,
}

/// The result of a body that reads the outcomes of its children, and has told the process that it
/// [passes their failures on](crate::support::pass_failures_on). `error` is all that the body has to report, and `own`
/// is the part of it that is not a failure of a child.
pub(crate) fn pass_on(error: Error, own: Option<Error>) -> BoxError {
    Box::new(PassedOn { error, own })
}

/// Turns the result of code of a process, or its panic, into a part of the outcome.
#[inline(always)]
pub(super) fn outcome(
    caught: Result<Result<(), BoxError>, Arc<str>>,
    label: impl FnOnce() -> Label,
) -> Result<(), Fault> {
    match caught {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match error.downcast::<PassedOn>() {
            Ok(passed_on) => {
                let PassedOn { error, own } = *passed_on;
                Fault { error, news: News::Only(own) }
            }
            Err(error) => Error::failed(label(), error).into(),
        }),
        Err(message) => Err(Error::panicked(label(), message).into()),
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { error, news: News::All }
    }
}

/// The body has ended: tells the hooks of a failure, then reports the end.
#[inline]
pub(super) fn body_ended(
    node: &Arc<Node>,
    result: Result<(), Fault>,
    place: Option<Place>,
) -> (Effects, Option<Sleeper>) {
    let failed = tell_hooks(node, result);
    node.body_ended(failed, place)
}

/// The teardown has ended: tells the hooks of a failure, then reports the end.
#[inline]
pub(super) fn torn_down(node: &Arc<Node>, result: Result<(), Fault>) -> Effects {
    let failed = tell_hooks(node, result);
    node.torn_down(failed)
}

/// The time limit is over, and the process is aborted: tells the hooks, then reports the failure.
pub(super) fn time_limit_over(node: &Arc<Node>, error: Error, waits: Waits) -> Effects {
    let failed = tell_hooks(node, Err(error.into()));
    node.time_limit_reported(failed, waits)
}

/// Calls the hooks if the result is an error.
#[inline(always)]
fn tell_hooks(node: &Arc<Node>, result: Result<(), Fault>) -> Option<Failed<super::Held>> {
    match result {
        Ok(()) => None,
        Err(fault) => Some(tell_hooks_of(node, fault)),
    }
}

/// Hooks have been told of a failure that is only passed on.
#[cold]
fn tell_hooks_of(node: &Arc<Node>, fault: Fault) -> Failed<super::Held> {
    let Fault { error, news } = fault;
    let aborted = matches!(error, Error::Aborted(_));
    let news = match news {
        News::All => &error,
        News::Only(Some(ref own)) => own,
        News::Only(None) => return Failed { failure: Failure::new(error), aborted },
    };
    let hooks = node.hooks();
    #[cfg(not(loom))]
    if !(hooks.is_empty() && reports::failed(node, news, aborted)) {
        reports::handled(node, news);
    }
    for hook in hooks {
        // A panic of a hook is only printed, by the panic hook.
        let (_, _panicked) = run_as(node.clone(), || catch(|| (hook.get())(node, news)));
    }
    Failed { failure: Failure::new(error), aborted }
}
