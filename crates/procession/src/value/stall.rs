//! [`Stall`]: the report of a slow closing.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::value::text::{Elapsed, Processes};
use crate::value::{Blockers, Label};

/// A process that is still Closing, as hooks set with [`Process::on_stall`](crate::Process::on_stall) see it.
///
/// Its `Display` is one line, followed by one line for each blocker:
///
/// ```text
/// process `app` is still closing after 5.0 s, 44 processes open. Waiting for:
///   app › db › cache: thread body `cache-refresh` (src/cache.rs:41), asked to close 5.0 s ago
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The process.
    pub process: Label,
    /// How long it has been Closing.
    pub closing_for: Duration,
    /// The number of processes that are not Closed: this one, those that it closes, and those that it waits for.
    pub open: usize,
    /// The items that it waits for: the first 16, and the total number.
    pub blockers: Blockers,
    /// The time until the next call of the hook, unless the process is Closed by then.
    pub next: Duration,
}

impl Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, closing_for, open, blockers, .. } = self;
        let (closing_for, open) = (Elapsed(*closing_for), Processes(*open));
        write!(f, "{process} is still closing after {closing_for}, {open} open")?;
        if blockers.total == 0 {
            return Ok(());
        }
        f.write_str(". Waiting for:")?;
        blockers.to_string().lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
