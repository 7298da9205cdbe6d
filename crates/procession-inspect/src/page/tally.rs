//! [`Tally`]: what only events tell, because the core forgets a process that is Closed: how many were Closed, and what
//! has failed.
//!
//! Counting begins when the root begins to close; failures are kept from the beginning, the last 100 of them.
//!
//! *No foreign code runs under the lock*, because errors are formatted before it is taken, in a catch, and are plain
//! texts afterwards.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use procession::support::{labels, with_causes};
use procession::{Error, Event, EventKind, ProcessId, Site};

use super::model::At;
use crate::texts::{UNPRINTABLE, beginning};

/// The number of failures that are kept.
pub(crate) const FAILURES: usize = 100;

/// The maximum number of bytes of an error that are kept.
pub(crate) const ERROR_LIMIT: usize = 64 << 10;

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
    /// The processes that have failed and are not Closed, and the numbers of their first failures.
    failing: HashMap<ProcessId, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) id: ProcessId,
    /// The number of the first failure of the same process.
    pub(crate) first: u64,
    pub(crate) at: At,
    /// The labels of its path, the topmost first. The last is its name or, if that is missing or empty, its site.
    pub(crate) labels: Vec<String>,
    is_named: bool,
    pub(crate) error: Arc<str>,
    pub(crate) site: Site,
}

impl Failed {
    pub(crate) fn name(&self) -> Option<&str> {
        self.labels.last().filter(|_| self.is_named).map(String::as_str)
    }
}

impl Tally {
    pub(crate) fn new(root: ProcessId) -> Self {
        Self { root, state: Mutex::default() }
    }

    pub(crate) fn observe(&self, event: &Event) {
        match event.kind() {
            EventKind::Closing(_) if event.id() == self.root => self.state.lock().is_closing = true,
            EventKind::Closed { .. } => self.state.lock().closed(event.id(), event.at()),
            EventKind::Made => self.state.lock().forget(event.id()),
            // Ends may be among the events that are missing.
            EventKind::Missed { .. } => self.state.lock().failing.clear(),
            // An abort from above is not a failure.
            EventKind::Failed(error) if !matches!(error, Error::Aborted(_)) => {
                let (error, labels) = (message(error).into(), labels(&event.label()));
                let (id, at, site) = (event.id(), At::now(), event.site());
                let is_named = event.label().name().is_some_and(|name| !name.is_empty());
                let failed = Failed { id, first: 0, at, labels, is_named, error, site };
                self.state.lock().failed(failed);
            }
            _ => {}
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }
}

impl State {
    fn closed(&mut self, id: ProcessId, at: Instant) {
        self.forget(id);
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
        let first = *self.failing.entry(failed.id).or_insert(self.failed);
        self.failures.push_front(Failed { first, ..failed });
        self.failures.truncate(FAILURES);
    }

    /// The next failure with this id is that of another process.
    fn forget(&mut self, id: ProcessId) {
        if !self.failing.is_empty() {
            self.failing.remove(&id);
        }
    }

    pub(crate) fn recently(&self, now: Instant) -> u64 {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < RECENT;
        self.recent.iter().filter(|(at, _)| is_recent(*at)).map(|(_, count)| count).sum()
    }
}

/// The message of an error, without the process, which has a place of its own.
fn message(error: &Error) -> String {
    let message: &dyn Display = match error {
        Error::Failed(failed) => &with_causes(failed.get()),
        Error::Panicked(panicked) => &panicked.message(),
        Error::TimeLimit(_) => &"its time limit was over",
        error => &error.with_causes(),
    };
    beginning(message, ERROR_LIMIT).unwrap_or_else(|| UNPRINTABLE.to_owned())
}
