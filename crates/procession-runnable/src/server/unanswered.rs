//! [`Unanswered`]: the failure of a server whose grace ended too early.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession::Process;
use procession::support::text::{Count, Span};

/// The [grace](super::Server::grace) of a server was over while handlers worked, and their requests were dropped.
///
/// It is the [source](std::error::Error::source) of the server's error. Requests whose handler was only waiting for its
/// client, and responses that their client did not take, are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grace of {} was over: {} dropped unanswered", Span(*.grace), number_of(*.requests))]
#[non_exhaustive]
pub struct Unanswered {
    /// The number of requests that were dropped.
    pub requests: usize,
    /// The grace.
    pub grace: Duration,
}

fn number_of(count: usize) -> String {
    match count {
        1 => "1 request was".into(),
        _ => format!("{} requests were", Count(count)),
    }
}

/// Counts the requests that a server has dropped, for its outcome.
///
/// The first connection that drops one sets a teardown on the server's process, which returns the error. The teardown
/// runs after all connections are Closed, and therefore knows the final number; the process accepts it, because a
/// connection of it is still open.
pub(super) struct Lost {
    server: Process,
    requests: Arc<AtomicUsize>,
    grace: Duration,
}

impl Lost {
    /// For a server that has this process.
    pub(super) fn of(server: Process, grace: Duration) -> Self {
        Self { server, requests: Arc::default(), grace }
    }

    /// A connection has dropped `count` requests.
    pub(super) fn add(&self, count: usize) {
        if count == 0 || self.requests.fetch_add(count, Ordering::Relaxed) > 0 {
            return;
        }
        let (requests, grace) = (self.requests.clone(), self.grace);
        let set = self.server.set_teardown(move || {
            Err::<(), _>(Unanswered { requests: requests.load(Ordering::Relaxed), grace })
        });
        debug_assert!(set.is_ok());
    }
}
