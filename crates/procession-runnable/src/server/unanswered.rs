//! [`Unanswered`]: the failure of a server whose grace was too short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession::Process;
use procession::support::text::{Count, Span};

/// The [grace](super::Server::grace) of a server ended before its work was done. Either handlers were still working,
/// and their requests were dropped; or, one second after the end of the grace, processes below the server had to be
/// aborted, such as those that handlers start below their [`RequestProcess`](super::RequestProcess).
///
/// It is the [source](std::error::Error::source) of the server's error. Requests whose handlers were only waiting for
/// their clients, and responses that clients did not take, are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grace of {} was over: {}", Span(*.grace), what_was_lost(*.requests))]
#[non_exhaustive]
pub struct Unanswered {
    /// The number of requests that were dropped; 0 if only processes that handlers had started were aborted.
    pub requests: usize,
    /// The grace.
    pub grace: Duration,
}

fn what_was_lost(requests: usize) -> String {
    match requests {
        0 => "processes below the server were aborted".into(),
        1 => "1 request was dropped unanswered".into(),
        _ => format!("{} requests were dropped unanswered", Count(requests)),
    }
}

/// Counts the requests that a server has dropped, for its outcome.
///
/// The teardown of the server's process returns the error. It runs after all connections are Closed, so the number is
/// final, and it is known whether the server had to be aborted.
#[derive(Clone)]
pub(super) struct LostRequests(Arc<AtomicUsize>);

impl LostRequests {
    /// For the server of this process, which is aborted `margin` after its grace.
    pub(super) fn of(server: &Process, grace: Duration, margin: Duration) -> Self {
        let (requests, process) = (Arc::new(AtomicUsize::new(0)), server.clone());
        let count = requests.clone();
        let set = server.set_teardown(move || {
            let requests = count.load(Ordering::Relaxed);
            let is_late = || {
                // An abort that comes earlier is not the server's own.
                let end = grace.saturating_add(margin / 2);
                let closing_for = process.snapshot().root().closing_for();
                process.is_aborting() && closing_for.is_some_and(|closing_for| closing_for >= end)
            };
            if requests > 0 || is_late() { Err(Unanswered { requests, grace }) } else { Ok(()) }
        });
        debug_assert!(set.is_ok());
        Self(requests)
    }

    /// A connection has dropped `count` requests.
    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}
