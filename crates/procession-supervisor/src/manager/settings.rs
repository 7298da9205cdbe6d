//! [`Settings`]: what a manager is told about its table.

use std::time::Duration;

/// What happens when a unit is started again too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// That unit is given up, and the others go on.
    #[default]
    Unit,
    /// The manager closes, and with it all units; its outcome has the reason.
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
