//! [`Settings`]: what a manager was told when it was built.

use std::time::Duration;

use super::stuck::OnStuck;
use super::table::{ManagerId, Registration};
use super::time::LeaseClock;

pub(super) struct Settings {
    pub(super) program: String,
    pub(super) kinds: Vec<String>,
    pub(super) capacity: usize,
    pub(super) ttl: Duration,
    pub(super) poll: Option<Duration>,
    pub(super) crash_limit: u32,
    pub(super) failure_limit: u32,
    pub(super) on_stuck: OnStuck,
    pub(super) clock: LeaseClock,
}

impl Settings {
    pub(super) fn registration(&self, previous: Option<ManagerId>) -> Registration {
        let Self { program, kinds, ttl, .. } = self;
        Registration { name: program.clone(), kinds: kinds.clone(), ttl: *ttl, previous }
    }

    /// How often the table is read without a change.
    pub(super) fn poll_every(&self, lasts: Option<Duration>) -> Duration {
        let default = if lasts.is_some() { self.ttl / 3 } else { Duration::from_millis(500) };
        self.poll.unwrap_or(default)
    }
}
