//! [`Forced`]: a grace ended before a process was Closed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::value::text::{Count, Span};
use crate::value::{Blocker, BlockerKind, Label, Link, Snapshot};

/// The maximum number of names that are kept.
const NAMES: usize = 16;

/// A process was not Closed when its grace ended, so it was aborted.
///
/// It is part of the outcome of the one process on which the grace was set, with
/// [`close_within`](crate::Process::close_within) or `Main::grace`. An explicit
/// [`abort`](crate::Process::abort) adds nothing to the outcome.
///
/// ```
/// use procession::{Error, Process};
/// use std::time::Duration;
///
/// let app = Process::builder().name("app").build()?;
/// let stubborn = Process::builder().name("stubborn").parent(&app);
/// let _stubborn = stubborn.spawn(|_| std::future::pending::<()>())?;
/// let outcome = app.close_within(Duration::from_millis(10)).wait();
/// let Err(Error::Forced(forced)) = outcome else { panic!() };
/// assert_eq!(forced.total(), 1);
/// assert_eq!(forced.names().collect::<Vec<_>>(), ["app › stubborn"]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forced(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    label: Label,
    grace: Duration,
    names: Vec<String>,
    total: usize,
}

impl Forced {
    /// Names the items that keep the process open in the snapshot and that the abort will reach.
    pub(crate) fn new(label: Label, grace: Duration, snapshot: &Snapshot) -> Self {
        let blockers = snapshot.blockers(usize::MAX).first;
        // An abort goes only to processes that their parents close.
        let aborted = |blocker: &&Blocker| {
            blocker.kind != BlockerKind::NotAsked
                && blocker.chain.iter().all(|step| step.link.is_none_or(Link::closes))
        };
        let aborted: Vec<_> = blockers.iter().filter(aborted).collect();
        // If only processes elsewhere kept it open, those are the ones that did not end in time.
        let late = if aborted.is_empty() { blockers.iter().collect() } else { aborted };
        let total = late.iter().map(|blocker| 1 + blocker.more).sum();
        let names = late.iter().take(NAMES).map(|blocker| blocker.name().to_string()).collect();
        Self(Arc::new(Parts { label, grace, names, total }))
    }

    /// The process on which the grace was set.
    pub fn process(&self) -> &Label {
        &self.0.label
    }

    /// The grace that ended.
    pub fn grace(&self) -> Duration {
        self.0.grace
    }

    /// The names of the first 16 items that did not end in time, each with its chain of processes: `app › db › cache`.
    /// A family of processes has a single name: `app › http › session-42 and 37 more`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(String::as_str)
    }

    /// The number of bodies, teardowns and other items that did not end in time.
    pub fn total(&self) -> usize {
        self.0.total
    }
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { label, grace, names, total } = &*self.0;
        write!(f, "{label} was closed by force after {}: ", Span(*grace))?;
        let verb = if *total == 1 { "process was" } else { "processes were" };
        write!(f, "{} {verb} aborted", Count(*total))?;
        if names.is_empty() { Ok(()) } else { write!(f, " ({})", names.join(", ")) }
    }
}

impl std::error::Error for Forced {}
