//! Hooks: who is told of failures; and how bodies and teardowns report their ends.

use std::sync::Arc;

use super::call_stack::run_as;
use super::catch::catch;
use super::foreign::Foreign;
use super::{Effects, Failure, Node};
use crate::state::{Failed, Place};
use crate::value::sleeper::Sleeper;
use crate::value::{BoxError, Error, Label};

/// Whoever is told of failures.
pub(crate) type Hook = Arc<Foreign<Box<dyn Fn(&Arc<Node>, &Error) + Send + Sync>>>;

/// A hook that calls `tell`.
pub(crate) fn hook(tell: impl Fn(&Arc<Node>, &Error) + Send + Sync + 'static) -> Hook {
    Arc::new(Foreign::new(Box::new(tell)))
}

/// What code of a process returned, or how it panicked, as a part of the outcome.
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
pub(super) fn body_ended(
    node: &Arc<Node>,
    result: Result<(), Error>,
    place: Option<Place>,
) -> (Effects, Option<Sleeper>) {
    let failed = told(node, result);
    node.body_ended(failed, place)
}

/// The teardown has ended: tells the hooks of a failure, then reports the end.
pub(super) fn torn_down(node: &Arc<Node>, result: Result<(), Error>) -> Effects {
    let failed = told(node, result);
    node.torn_down(failed)
}

#[inline]
fn told(node: &Arc<Node>, result: Result<(), Error>) -> Option<Failed<super::Held>> {
    let error = result.err()?;
    for hook in node.hooks() {
        // The panic hook has printed a panic of this one, and nobody else has to hear of it.
        let (_, _panicked) = run_as(node.clone(), || catch(|| (hook.get())(node, &error)));
    }
    let aborted = matches!(error, Error::Aborted(_));
    Some(Failed { failure: Failure::new(error), aborted })
}
