//! [`StuckUnits`]: what errors say about units that have not ended, and [`LeftBehind`]: what a manager or a set leaves
//! behind.
//!
//! The cost of each level does not depend on how deep a unit is nested, because it keeps at most [`NAMED`] units, and
//! at most [`NAMED`] keys and blockers for each (I16).

use std::sync::Arc;

use procession::support::labels;
use procession::support::text::Escaped;
use procession::{Error, Process, WeakProcess};

use crate::causes::without;
use crate::error::ManagerError;

/// The maximum number of units that are named, of keys down to each of them, and of blockers of each of them.
const NAMED: usize = 16;

/// Units that have not ended within their abort grace, here and in nested sets and managers.
#[derive(Clone, Debug, Default)]
pub(crate) struct StuckUnits {
    named: Vec<Named>,
    count: usize,
}

/// One of them.
#[derive(Clone, Debug)]
struct Named {
    /// Its own key, and those of the sets and managers around it, if there are any: `set/unit`.
    path: Arc<str>,
    /// The number of keys down to it. If there are more than [`NAMED`], the path begins with `…/`.
    keys: usize,
    /// Its blockers, one on each line.
    report: Arc<str>,
}

/// What a manager or a set leaves behind when it ends.
#[derive(Debug)]
pub(crate) struct LeftBehind {
    /// The stand-in, which is open until the units have ended. This does not hold it.
    process: WeakProcess,
    units: StuckUnits,
}

impl StuckUnits {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a unit. If it has ended, but has left other units behind, adds these instead.
    pub(crate) fn add(&mut self, key: &Arc<str>, process: &Process, below: &[Arc<LeftBehind>]) {
        let before = self.count;
        for left in below.iter().filter(|left| left.open().is_some()) {
            self.add_below(key, &left.units);
        }
        if self.count == before {
            self.add_one(key, process);
        }
    }

    /// Adds all of these.
    pub(crate) fn extend(&mut self, others: Self) {
        let free = NAMED - self.named.len();
        self.named.extend(others.named.into_iter().take(free));
        self.count += others.count;
    }

    fn add_one(&mut self, key: &Arc<str>, process: &Process) {
        if self.named.len() < NAMED {
            let report = report(process).into();
            self.named.push(Named { path: key.clone(), keys: 1, report });
        }
        self.count += 1;
    }

    /// Adds those that the unit `key`, a set or a manager, has left behind.
    fn add_below(&mut self, key: &str, below: &Self) {
        let free = NAMED - self.named.len();
        self.named.extend(below.named.iter().take(free).map(|named| named.below(key)));
        self.count += below.count;
    }
}

impl Named {
    /// The same unit, seen from the set or manager with a unit `key` that it is nested in.
    fn below(&self, key: &str) -> Self {
        let Self { path, keys, report } = self.clone();
        let path = match keys {
            ..NAMED => format!("{key}/{path}").into(),
            NAMED => format!("…/{path}").into(),
            _ => path,
        };
        Self { path, keys: keys + 1, report }
    }
}

impl LeftBehind {
    pub(crate) fn new(process: &Process, units: StuckUnits) -> Self {
        Self { process: process.downgrade(), units }
    }

    pub(crate) fn process(&self) -> &WeakProcess {
        &self.process
    }

    /// The process that is open until the units have ended; `None` if they have. A process that no longer exists is
    /// Closed.
    pub(crate) fn open(&self) -> Option<Process> {
        self.process.upgrade().filter(|process| !process.is_closed())
    }
}

/// The rest of the error of a nested manager or set, without the part that only names its stuck units.
pub(crate) fn without_stuck(error: Error) -> Option<Error> {
    without(error, |error| match error {
        Error::Failed(failed) => {
            matches!(failed.get().downcast_ref(), Some(ManagerError::Stuck { .. }))
        }
        _ => false,
    })
}

impl From<StuckUnits> for ManagerError {
    fn from(StuckUnits { named, count }: StuckUnits) -> Self {
        let reports: Vec<&str> = named.iter().map(|named| &*named.report).collect();
        let report = reports.join("\n").into();
        Self::Stuck { keys: named.into_iter().map(|named| named.path).collect(), count, report }
    }
}

/// The blockers of a process, one on each line, with the path from the top. Call it while the processes above are open,
/// because a Closed process has nothing above it.
fn report(process: &Process) -> String {
    let mut above = labels(&process.label());
    above.pop();
    let above: String = above.iter().map(|label| format!("{} › ", Escaped::name(label))).collect();
    let blockers = process.blockers(NAMED).to_string();
    let lines: Vec<String> = blockers.lines().map(|line| format!("{above}{line}")).collect();
    lines.join("\n")
}
