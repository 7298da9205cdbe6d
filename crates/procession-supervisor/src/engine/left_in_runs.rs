//! [`LeftInRuns`]: what nested managers and sets have left behind in the runs of units.

use std::collections::HashMap;
use std::sync::Arc;

use procession::WeakProcess;

use crate::stuck_units::LeftBehind;

/// What was left behind, by the number of the run, and by the [stand-in](super::left).
///
/// A long run may leave much behind, and something may be added for a run whose end was already handled. So everything
/// that has ended is removed each time the number of entries has doubled (I12).
#[derive(Default)]
pub(super) struct LeftInRuns {
    runs: HashMap<u64, HashMap<WeakProcess, Arc<LeftBehind>>>,
    count: usize,
    /// The count at which everything that has ended is removed next, but never below [`SMALL`].
    sweep_at: usize,
}

/// Smaller lists are not swept.
const SMALL: usize = 8;

impl LeftInRuns {
    /// Adds something. Replaces what was said about the same stand-in before. Returns the values to drop, outside the
    /// lock.
    pub(super) fn add(&mut self, run: u64, left: Arc<LeftBehind>) -> Vec<Arc<LeftBehind>> {
        let mut ended = Vec::new();
        if self.count >= self.sweep_at.max(SMALL) {
            self.runs.retain(|_, of_run| {
                of_run.retain(|_, left| {
                    let is_open = left.open().is_some();
                    ended.extend((!is_open).then(|| left.clone()));
                    is_open
                });
                !of_run.is_empty()
            });
            self.count = self.runs.values().map(HashMap::len).sum();
            self.sweep_at = 2 * self.count;
        }
        // A manager with several runs inside one run of a unit says the same more than once.
        let replaced = self.runs.entry(run).or_default().insert(left.process().clone(), left);
        self.count += usize::from(replaced.is_none());
        ended.extend(replaced);
        ended
    }

    /// What was left behind in this run.
    pub(super) fn of(&self, run: u64) -> Vec<Arc<LeftBehind>> {
        self.runs.get(&run).into_iter().flat_map(HashMap::values).cloned().collect()
    }

    /// Removes what was left behind in this run.
    pub(super) fn remove(&mut self, run: u64) -> Vec<Arc<LeftBehind>> {
        let left = self.runs.remove(&run).unwrap_or_default();
        self.count -= left.len();
        left.into_values().collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use procession::Process;

    use super::*;
    use crate::stuck_units::StuckUnits;

    fn left(process: &Process) -> Arc<LeftBehind> {
        Arc::new(LeftBehind::new(process, StuckUnits::default()))
    }

    #[test]
    fn the_same_is_kept_once() {
        let mut all = LeftInRuns::default();
        let (one, other) = (Process::new(), Process::new());
        for process in [&one, &other, &one] {
            all.add(1, left(process));
        }
        all.add(2, left(&one));
        assert_eq!((all.of(1).len(), all.of(2).len(), all.of(3).len()), (2, 1, 0));
        assert_eq!((all.remove(1).len(), all.of(1).len(), all.count), (2, 0, 1));
    }

    #[test]
    fn what_has_ended_is_removed() {
        let mut all = LeftInRuns::default();
        let open = Process::new();
        all.add(0, left(&open));
        for run in 0..1000 {
            let process = Process::new();
            all.add(run % 3, left(&process));
            process.close_blocking().unwrap();
            assert!(all.count <= 2 * SMALL, "{}", all.count);
        }
        assert!(all.of(0).iter().any(|left| left.open() == Some(open.clone())));
        // A run of which nothing is left takes no space.
        for _ in 0..20 {
            all.add(3, left(&Process::new()));
        }
        assert!(all.runs.len() <= 2, "{}", all.runs.len());
    }
}
