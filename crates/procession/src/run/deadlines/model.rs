//! The stand-in for deadlines under loom. A model has no clock, so a deadline has either passed already or never comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::run::abort::{ReportedBy, abort};
use crate::run::hooks::time_limit_over;
use crate::run::{Failure, Node, look_at, perform};
use crate::value::time::now;
use crate::value::{Error, Forced, Reason};

/// A future that is ready at a deadline that has passed, and otherwise never.
pub(crate) struct Sleep {
    has_come: bool,
}

pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { has_come: deadline <= now() }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        if self.has_come { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A grace of zero ends at once; any other grace never ends.
pub(crate) fn abort_after(node: &Arc<Node>, grace: Duration) {
    if grace.is_zero() {
        let forced = Forced::new(node.label(), grace, &look_at(node));
        let failure = Failure::new(Error::Forced(forced));
        if let Some(effects) = abort(node, &Reason::Asked, Some(failure), ReportedBy::Event) {
            perform(effects);
        }
    }
}

pub(crate) fn begin_grace(_node: &Arc<Node>, _grace: Duration) {}

/// A time limit of zero ends at once; any other time limit never ends.
pub(crate) fn limit_time(node: &Arc<Node>, limit: Duration) {
    if !limit.is_zero() {
        return;
    }
    let error = Error::TimeLimit(node.label());
    if let Some((effects, waits)) = node.end_time(Failure::new(error.clone())) {
        perform(effects);
        perform(time_limit_over(node, error, waits));
    }
}
