//! [`LeftByRuns`]: what nested managers and sets have left behind in the runs of units.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

use procession::WeakProcess;

use crate::stuck_units::Left;

/// What was left behind, by the number of the run, and by the process that is open until it has ended.
///
/// A run may be long, and a process may be part of a run that has ended. So everything that has ended is removed each
/// time the number of entries has doubled (I12).
#[derive(Default)]
pub(super) struct LeftByRuns {
    runs: HashMap<u64, HashMap<WeakProcess, Arc<Left>>>,
    count: usize,
    sweep_at: usize,
}

/// Smaller lists are not swept.
const SMALL: usize = 8;

impl LeftByRuns {
    /// Adds something, unless it is there already. Returns what can be dropped.
    pub(super) fn add(&mut self, run: u64, left: Arc<Left>) -> Vec<Arc<Left>> {
        let mut ended = Vec::new();
        if self.count >= self.sweep_at.max(SMALL) {
            for (run, of_run) in take(&mut self.runs) {
                let (open, over) = of_run.into_iter().partition(|(_, left)| left.open().is_some());
                let (open, over): (HashMap<_, _>, HashMap<_, _>) = (open, over);
                ended.extend(over.into_values());
                if !open.is_empty() {
                    self.runs.insert(run, open);
                }
            }
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
    pub(super) fn of(&self, run: u64) -> Vec<Arc<Left>> {
        self.runs.get(&run).into_iter().flat_map(HashMap::values).cloned().collect()
    }

    /// Removes what was left behind in this run.
    pub(super) fn remove(&mut self, run: u64) -> Vec<Arc<Left>> {
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

    fn left(process: &Process) -> Arc<Left> {
        Arc::new(Left::new(process, StuckUnits::default()))
    }

    #[test]
    fn the_same_is_kept_once() {
        let mut all = LeftByRuns::default();
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
        let mut all = LeftByRuns::default();
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
