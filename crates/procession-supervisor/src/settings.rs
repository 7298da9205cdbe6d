//! What a manager is told when it is made.

use std::sync::Arc;
use std::time::Duration;

use procession::Site;

use crate::pace::Rate;
use crate::policy::Policy;

/// What happens when a unit is started again too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GiveUp {
    /// That unit is given up, and the others go on.
    #[default]
    Unit,
    /// The manager closes, and with it all units; its outcome says why.
    Manager,
}

pub(crate) struct Settings {
    /// Where the manager was described.
    pub(crate) site: Site,
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    /// How long the body waits for what is starting.
    pub(crate) start_limit: Duration,
    pub(crate) scan_every: Duration,
    pub(crate) stop_vanished: bool,
    pub(crate) give_up: GiveUp,
    pub(crate) pace: Rate,
    /// The number of unread events that are kept for each reader.
    pub(crate) events: usize,
}

impl Settings {
    pub(crate) fn at(site: Site) -> Self {
        Self {
            site,
            name: "manager".into(),
            policy: Policy::new(),
            start_limit: Duration::from_secs(1),
            scan_every: Duration::from_secs(60),
            stop_vanished: true,
            give_up: GiveUp::default(),
            pace: Rate::new(100, Duration::from_millis(100)),
            events: 1024,
        }
    }
}
