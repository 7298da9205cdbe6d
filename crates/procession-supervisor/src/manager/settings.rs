//! [`Settings`]: how a manager reads its table; and [`GiveUp`].

use std::time::Duration;

/// What happens when a unit is restarted too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// Only that unit is given up; the others continue. This is [reported](procession::ChildFailure::Report), unless a
    /// hook or a reader of the events takes it.
    #[default]
    Unit,
    /// The manager closes with all its units, and its outcome names the unit.
    Manager,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) scan_every: Duration,
    pub(super) stop_vanished: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { scan_every: Duration::from_secs(60), stop_vanished: true }
    }
}
