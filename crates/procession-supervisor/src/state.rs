//! [`State`], the state of a unit, and whether the unit keeps its key in it.

pub use procession_runnable::State;

pub(crate) trait HasRun {
    /// Does a unit in this state keep its key? It does until its run, and all stuck units that the run has left behind,
    /// have ended.
    fn has_run(self) -> bool;
}

impl HasRun for State {
    fn has_run(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping | Self::Stuck)
    }
}
