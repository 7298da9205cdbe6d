//! [`About`]: what all sessions of a table have in common.

use std::time::Duration;

use postgres::Config;

use crate::names::Names;

/// What all sessions of a table have in common.
pub(crate) struct About {
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) is_poll_only: bool,
    pub(crate) statement_timeout: Duration,
}
