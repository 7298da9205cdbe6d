//! [`Facts`]: the facts that a sample needs besides the snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::support::Deadlines;

use super::model::{At, Program};
use super::tally::State as Tally;
use super::texts::Texts;
use super::units::Sources;

/// The facts that a sample needs besides the snapshot.
pub(crate) struct Facts<'a> {
    pub(crate) at: At,
    pub(crate) now: Instant,
    pub(crate) up: Duration,
    pub(crate) program: &'a Arc<Program>,
    pub(crate) deadlines: Option<Deadlines>,
    pub(crate) tally: Tally,
    pub(crate) texts: &'a Texts,
    pub(crate) sources: &'a Sources,
    /// The root's outcome, and how long it was Closing, once it is Closed.
    pub(crate) outcome: Option<(String, Duration)>,
}
