//! [`State`], the state of a unit, and whether it has a run.

pub use procession_runnable::State;

pub(crate) trait HasRun {
    /// Does a unit in this state have a run that is not Closed?
    fn has_run(self) -> bool;
}

impl HasRun for State {
    fn has_run(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping | Self::Stuck)
    }
}
