//! [`Fault`]: the ways in which a sweep makes the code of a process fail.

use std::fmt;
use std::sync::Arc;

use procession::support::{Fault as Injected, FaultPlace, Gate};

/// A way in which the body, the teardown or the spawner of one process fails.
///
/// Its `Display` is a short sentence: `its teardown hangs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The body panics instead of running.
    BodyPanics,
    /// The body runs. If its process is already closing when the body ends, the end is delayed until an abort.
    BodyIgnoresClosing,
    /// The body returns `Ok` instead of running.
    BodyEndsEarly,
    /// The teardown panics instead of running.
    TeardownPanics,
    /// The teardown returns an error instead of running.
    TeardownFails,
    /// The teardown hangs before it runs, until the sweep has checked that [`blockers`](procession::Process::blockers)
    /// names it.
    TeardownHangs,
    /// The spawner that the process was given or has inherited drops the jobs of the process: its async body and its
    /// teardown. The default spawner never drops jobs, so processes that use it have no such case.
    SpawnerDropsJobs,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 7] = [
        Self::BodyPanics,
        Self::BodyIgnoresClosing,
        Self::BodyEndsEarly,
        Self::TeardownPanics,
        Self::TeardownFails,
        Self::TeardownHangs,
        Self::SpawnerDropsJobs,
    ];

    /// The place where the fault strikes.
    pub(super) fn place(self) -> FaultPlace {
        match self {
            Self::BodyPanics | Self::BodyIgnoresClosing | Self::BodyEndsEarly => FaultPlace::Body,
            Self::TeardownPanics | Self::TeardownFails | Self::TeardownHangs => {
                FaultPlace::Teardown
            }
            Self::SpawnerDropsJobs => FaultPlace::Spawner,
        }
    }

    /// The fault as the library injects it.
    pub(super) fn injected(self, gate: &Arc<Gate>) -> Injected {
        match self {
            Self::BodyPanics | Self::TeardownPanics => Injected::Panic(self.message()),
            Self::BodyIgnoresClosing => Injected::IgnoreClosing,
            Self::BodyEndsEarly => Injected::EndEarly,
            Self::TeardownFails => Injected::Fail(self.message()),
            Self::TeardownHangs => Injected::Hang(gate.clone()),
            Self::SpawnerDropsJobs => Injected::DropJob,
        }
    }

    /// The text that the outcome of the process must contain.
    pub(super) fn in_outcome(self) -> Option<String> {
        let is_error =
            matches!(self, Self::BodyPanics | Self::TeardownPanics | Self::TeardownFails);
        is_error.then(|| self.message())
    }

    fn message(self) -> String {
        format!("a fault of the sweep: {self}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BodyPanics => "its body panics",
            Self::BodyIgnoresClosing => "its body ignores closing",
            Self::BodyEndsEarly => "its body ends early",
            Self::TeardownPanics => "its teardown panics",
            Self::TeardownFails => "its teardown fails",
            Self::TeardownHangs => "its teardown hangs",
            Self::SpawnerDropsJobs => "its spawner drops its jobs",
        })
    }
}
