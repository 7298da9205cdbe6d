//! [`Tally`]: what only events tell, because the core forgets a process that is Closed: how many were Closed, and what has
//! failed.
//!
//! Counting begins when the root begins to close; failures are kept from the beginning, the last 100 of them.
//!
//! *No foreign code runs under the lock*, because errors are formatted before it is taken, in a catch, and are plain texts
//! afterwards.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use procession::support::{catch, with_causes};
use procession::{Error, Event, EventKind, ProcessId, Site};

use super::model::At;

/// The number of failures that are kept.
pub(crate) const FAILURES: usize = 100;

/// The maximum number of bytes of an error that are kept.
const ERROR_LIMIT: usize = 64 << 10;

/// The time that counts as recent.
const RECENT: Duration = Duration::from_secs(1);

/// The maximum number of recent times; above that, they are counted together.
const TIMES: usize = 1024;

pub(crate) struct Tally {
    root: ProcessId,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) is_closing: bool,
    pub(crate) closed: u64,
    pub(crate) last_closed: Option<Instant>,
    /// The times of the last second, with the number of processes that were Closed.
    recent: VecDeque<(Instant, u64)>,
    /// The newest first.
    pub(crate) failures: VecDeque<Failed>,
    pub(crate) failed: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) id: ProcessId,
    pub(crate) number: u64,
    pub(crate) at: At,
    pub(crate) path: String,
    pub(crate) error: String,
    pub(crate) site: Site,
}

impl Tally {
    pub(crate) fn new(root: ProcessId) -> Self {
        Self { root, state: Mutex::default() }
    }

    pub(crate) fn observe(&self, event: &Event) {
        match event.kind() {
            EventKind::Closing(_) if event.id() == self.root => self.state.lock().is_closing = true,
            EventKind::Closed { .. } => self.state.lock().closed(event.at()),
            // An abort from above is not a failure.
            EventKind::Failed(error) if !matches!(error, Error::Aborted(_)) => {
                let (error, path) = (message(error), event.path());
                let (id, site) = (event.id(), event.site());
                self.state.lock().failed(Failed {
                    id,
                    number: 0,
                    at: At::now(),
                    path,
                    error,
                    site,
                });
            }
            _ => {}
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }
}

impl State {
    fn closed(&mut self, at: Instant) {
        if !self.is_closing {
            return;
        }
        self.closed += 1;
        self.last_closed = Some(at);
        match self.recent.back_mut() {
            Some((last, count)) if *last == at || at.duration_since(*last) < RECENT / 100 => {
                *count += 1;
            }
            _ => self.recent.push_back((at, 1)),
        }
        while self.recent.len() > TIMES {
            self.recent.pop_front();
        }
    }

    fn failed(&mut self, failed: Failed) {
        self.failed += 1;
        self.failures.push_front(Failed { number: self.failed, ..failed });
        self.failures.truncate(FAILURES);
    }

    pub(crate) fn recently(&self, now: Instant) -> u64 {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < RECENT;
        self.recent.iter().filter(|(at, _)| is_recent(*at)).map(|(_, count)| count).sum()
    }
}

/// The message of an error, without the process, which has a place of its own.
fn message(error: &Error) -> String {
    let message = catch(|| match error {
        Error::Failed(failed) => with_causes(failed.get()).to_string(),
        Error::Panicked(panicked) => panicked.message().to_owned(),
        Error::TimeLimit(_) => "its time limit was over".to_owned(),
        error => error.with_causes().to_string(),
    });
    let mut message =
        message.unwrap_or_else(|_| "its error panicked when it was printed".to_owned());
    let end = (0..=ERROR_LIMIT.min(message.len())).rev().find(|&end| message.is_char_boundary(end));
    message.truncate(end.unwrap_or(0));
    message
}
