//! The units that are left when the run of a manager or a set is over.
//!
//! 1. A unit that has not ended then is stuck, and keeps its key until it ends (U1). Argument: its entry stays in
//!    [`Units`](super::Units), and only [`Shared::forget_run`] or a later run removes it, after the end of its run.
//! 2. A failure of such a unit is handled as it is during a run: by a hook or a reader of the events, or else by a
//!    report (I17). Argument: one [`watch`] waits for the end of each of them. If a later run has taken the unit over
//!    by then, that run handles its end.

use std::mem::swap;
use std::sync::Arc;

use procession::Process;
#[cfg(not(loom))]
use procession::Threads;
use procession::support::{RunId, Supervised, catch, report_failure_elsewhere};

use super::Shared;
use super::core::Core;
use super::outcome::{end_of_run, unreported};
use super::units::Live;
use crate::lifecycle::{Actions, Input};
use crate::name::name_of;
use crate::restarts::Recent;
use crate::state::HasRun;
use crate::table::Key;

impl<K: Key> Core<K> {
    /// Called when the run of the manager or set is over: forgets a unit, or keeps it as stuck if it has a run.
    pub(super) fn leave(&self, id: usize) {
        let mut units = self.shared.units.lock();
        let entry = units.entry(id);
        // Dropping the replies answers their callers.
        let waiting = (entry.take_starters(), entry.take_stoppers());
        let (mut removed, mut left) = (None, None);
        if entry.lifecycle.state().has_run() {
            left = entry.live.as_ref().map(|live| (live.run(id), live.process.clone()));
            // What an earlier run has left is watched already.
            left = left.filter(|_| units.leave_stuck(id, self.now()));
        } else {
            removed = Some(units.remove(id));
        }
        drop(units);
        drop((waiting, removed));
        if let Some((run, process)) = left {
            watch(&self.shared, run, &process);
        }
    }
}

/// Waits for the end of a run that is left, on the library's own executor.
#[cfg_attr(loom, expect(unused_variables, reason = "no model has such a run"))]
fn watch<K: Key>(shared: &Arc<Shared<K>>, run: RunId, process: &Process) {
    #[cfg(not(loom))]
    {
        let (shared, closed) = (shared.clone(), process.closed());
        let background = Process::background();
        let watching = Process::builder().parent(background).name("watch of a stuck unit");
        // The background process never closes, so it refuses nothing.
        let _spawned = watching.site(process.site()).spawner(Threads).spawn(move |_| async move {
            let mut open = Some(closed);
            while let Some(closed) = open {
                let _outcome = closed.await;
                let _turn = shared.turn.lock().await;
                open = shared.forget_run(run).map(|process| process.closed());
            }
        });
    }
}

impl<K: Key> Shared<K> {
    /// Forgets the units that were stuck at the end of the last run of the manager or set, and have ended since. During
    /// a run, it does nothing, because the run moves its units.
    pub(super) fn forget_ended(&self) {
        let Some(_turn) = self.turn.try_lock() else { return };
        let runs = self.units.lock().runs();
        for run in runs {
            self.forget_run(run);
        }
    }

    /// Forgets the unit of this run if the run has ended. Returns a process that is still open if the run has left
    /// stuck units behind. The caller holds the turn, so nothing else moves the unit meanwhile.
    fn forget_run(&self, run: RunId) -> Option<Process> {
        let (process, outlived) = {
            let mut units = self.units.lock();
            let entry = units.entry_of(run)?;
            (entry.live.as_ref()?.process.clone(), entry.lifecycle.outlived().cloned())
        };
        let (end, open) = end_of_run(&process, outlived)?;
        let (policy, mut actions) = (&self.about.policy, Actions::default());
        let (id, now) = (run.unit as usize, policy.time().now());
        let mut total = Recent::default();
        if let Some(open) = open {
            if open != process {
                self.await_end(run, &open);
            }
            let mut live = Some(Live { process: open.clone(), number: run.number });
            let mut units = self.units.lock();
            swap(&mut units.entry(id).live, &mut live);
            units.step(id, Input::Outlived(end), policy, now, &mut total, &mut actions);
            drop(units);
            let _dropped = catch(|| drop(live));
            return Some(open);
        }
        let mut units = self.units.lock();
        // A unit that was left is not restarted.
        units.step(id, Input::Closed(end), policy, now, &mut total, &mut actions);
        let removed = units.remove(id);
        drop(units);
        let is_taken = self.events.has_readers();
        for what in actions.tell.into_iter().flatten() {
            self.events.tell(Some(removed.key.clone()), what);
        }
        let left = actions.left.filter(|_| !is_taken);
        let left = left.and_then(|error| unreported(error, name_of(&removed.key), process.label()));
        if let Some(error) = left {
            report_failure_elsewhere(&process, error);
        }
        let _dropped = catch(|| drop(removed));
        None
    }

    /// Makes sure that the inbox is notified of the end of this process, on which the end of the run depends.
    pub(super) fn await_end(&self, run: RunId, process: &Process) {
        let name = self.about.name.clone().into();
        Supervised::new(process, name, self.inbox.clone(), run, None).attach(process);
    }
}
