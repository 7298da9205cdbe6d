//! Stands in for the deadline thread under loom: a model has no clock, so no deadline comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::run::{Node, perform};
use crate::value::Reason;
use crate::value::time::now;

/// A future that is ready if `deadline` has passed, and otherwise never.
pub(crate) async fn sleep_until(deadline: Instant) {
    if deadline > now() {
        std::future::pending::<()>().await;
    }
}

/// A grace is over at once if it is zero, and otherwise never.
pub(crate) fn abort_after(node: &Arc<Node>, grace: Duration) {
    if grace.is_zero() {
        perform(node.close(&Reason::Asked, true));
    }
}

pub(crate) fn abort_past_grace(_node: &Arc<Node>, _grace: Duration) {}
