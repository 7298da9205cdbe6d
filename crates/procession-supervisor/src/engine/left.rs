//! Units that are stuck: those whose run is over but has left stuck units of nested sets behind, and those that still
//! have a run when the run of their manager or set is over.
//!
//! A manager or a set ends even if units of it are stuck. The run that it is part of counts as open until they have
//! ended (U1). This is recorded in the graph of processes and in the inbox, and not in the errors of runs, because user
//! code may change or hide those. A **stand-in** is a process without code that stays open until everything that a
//! manager or a set has left behind has ended.
//!
//! 1. A unit that has not ended when the run of its manager or set is over is stuck, and keeps its key until it ends.
//!    Argument: its entry stays in [`Units`](super::Units), and only [`Shared::forget_run`] or a later run removes it,
//!    after the end of its run.
//! 2. The engine learns when a run, and everything that the run has left behind, has ended. Argument: the [`Core`] of a
//!    manager or a set that leaves stuck units behind is dropped before its process is Closed, and thus before the run
//!    around it can be. The drop [tells that run](Core::report_left_behind) of its stand-in. The stand-in waits for the
//!    runs of the units, and for what they have left behind so far. What they leave behind later reaches the
//!    [`Inbox`](super::inbox::Inbox), which makes the stand-in wait for it too, again before those runs are Closed.
//! 3. The outcome of the outermost manager or set counts each unit below that has not ended, however deep it is nested,
//!    and names the first ones (U2). Argument: what the run around is told has the names. Each level puts the key of its
//!    own unit in front of them, and that unit is stuck as long as those below are.
//! 4. A failure of such a unit is handled as it is during a run: by a hook or a reader of the events, or else by a
//!    report (I17). Argument: one [`watch`] waits for the end of each of them. If a later run has taken the unit over
//!    by then, that run handles its end.

use std::mem::take;
use std::sync::Arc;
#[cfg(not(loom))]
use std::time::Instant;

#[cfg(not(loom))]
use procession::Threads;
use procession::support::{RunId, Supervised, catch, report_failure_elsewhere, report_left_behind};
use procession::{Process, Site};

use super::Shared;
use super::core::Core;
use super::outcome::{end_of, unreported};
use super::units::OpenRun;
#[cfg(not(loom))]
use super::units::OpenUnit;
use crate::lifecycle::{Actions, Input};
use crate::name::name_of;
use crate::restarts::Recent;
use crate::state::HasRun;
use crate::stuck_units::LeftBehind;
use crate::table::Key;

impl<K: Key> Shared<K> {
    /// Handles the end of a run's process: returns the input for its unit. If the run has left units behind that have
    /// not ended, also returns a process that is open until they have; the inbox is notified of the end of that process
    /// as if it were the one of the run. `None` if this is not the unit's current run, or its process is not Closed.
    ///
    /// The causes of its error are foreign code, so no lock may be held.
    pub(super) fn take_end(&self, run: RunId) -> Option<(Input, Option<Process>)> {
        let (process, is_outlived) = {
            let mut units = self.units.lock();
            let entry = units.entry_of(run)?;
            (entry.live.as_ref()?.process.clone(), entry.lifecycle.outlived().is_some())
        };
        let outcome = process.outcome()?;
        if is_outlived {
            return Some((Input::Freed, None));
        }
        let end = end_of(&process, outcome);
        let below = self.inbox.left_in(run);
        let open: Vec<Process> = below.iter().filter_map(|left| left.open()).collect();
        let all = match &open[..] {
            [] => return Some((Input::Closed(end), None)),
            [one] => one.clone(),
            several => {
                let all = new_stand_in(process.site());
                several.iter().for_each(|open| drop(all.wait_for(open)));
                all.close();
                all
            }
        };
        let name = self.about.name.clone().into();
        Supervised::new(&all, name, self.inbox.clone(), run, None).attach(&all);
        Some((Input::Outlived(end, below), Some(all)))
    }

    /// Blocks until the run of the unit and everything that it has left behind have ended. Returns `false` if the
    /// deadline passes first; without a deadline, there is no limit.
    #[cfg(not(loom))]
    pub(crate) fn wait_for_end(&self, unit: &OpenUnit<K>, deadline: Option<Instant>) -> bool {
        let mut open = Some(unit.process.clone());
        while let Some(process) = open {
            let ended = match deadline {
                Some(deadline) => process.closed().wait_deadline(deadline).is_some(),
                None => {
                    let _outcome = process.closed().wait();
                    true
                }
            };
            if !ended {
                return false;
            }
            open = self.open_below(unit.run);
        }
        true
    }

    /// A process that this run, which is Closed, has left behind and that is still open, if there is one.
    #[cfg(not(loom))]
    fn open_below(&self, run: RunId) -> Option<Process> {
        // First in the inbox, which forgets this only after the unit has it.
        let told = self.inbox.left_in(run);
        let of_unit = self.units.lock().entry_of(run).map(|entry| entry.below().to_vec());
        told.iter().chain(of_unit.iter().flatten()).find_map(|left| left.open())
    }

    /// Forgets the units that were stuck at the end of the last run of the manager or set, and have ended since. During
    /// a run, it does nothing, because the run moves its units.
    pub(super) fn forget_ended(&self) {
        let Some(_turn) = self.turn.try_lock() else { return };
        let runs = self.units.lock().runs();
        for run in runs {
            self.forget_run(run);
        }
    }

    /// Forgets the unit of this run if that and everything that it has left behind have ended. Otherwise, returns the
    /// process whose end must be awaited. The caller holds the turn, so nothing else moves the unit meanwhile.
    fn forget_run(&self, run: RunId) -> Option<Process> {
        let Some((input, open)) = self.take_end(run) else {
            return Some(self.units.lock().entry_of(run)?.live.as_ref()?.process.clone());
        };
        let (policy, mut actions) = (&self.about.policy, Actions::default());
        let (id, now) = (run.unit as usize, policy.time().now());
        let mut units = self.units.lock();
        units.step(id, input, policy, now, &mut Recent::default(), &mut actions);
        let entry = units.entry(id);
        let (key, mut ended) = (entry.key.clone(), entry.replace_process(open.clone()));
        // A unit that was left is not restarted.
        let removed = open.is_none().then(|| units.remove(id));
        drop(units);
        self.inbox.forget_left_in(run);
        let is_taken = self.events.has_readers();
        for what in actions.tell.iter_mut().filter_map(Option::take) {
            self.events.tell(Some(key.clone()), what);
        }
        if let Some(live) = removed.as_ref().and_then(|removed| removed.live.as_ref()) {
            ended = Some(live.process.clone());
        }
        let error = actions.left.take().filter(|_| !is_taken);
        if let (Some(error), Some(process)) = (error, &ended) {
            if let Some(error) = unreported(error, name_of(&key), process.label()) {
                report_failure_elsewhere(process, error);
            }
        }
        let _dropped = catch(|| drop((ended, removed, key, actions)));
        open
    }
}

impl<K: Key> Core<K> {
    /// The run of the manager or set ends. If it leaves units behind, tells the run around it, if there is one.
    pub(super) fn report_left_behind(&mut self) {
        let left = self.shared.units.lock().open_runs();
        if left.is_empty() {
            return;
        }
        let stand_in = self.stand_in(&left);
        let mut units = take(&mut self.stuck);
        if units.is_empty() {
            // The teardown was dropped before its end, or the units have just ended. Keys are foreign code.
            let open = catch(|| self.shared.units.lock().open_units()).unwrap_or_default();
            let mut add =
                || open.iter().for_each(|it| units.add(&name_of(&it.key), &it.process, &it.below));
            let _named = catch(&mut add);
            let _dropped = catch(|| drop(open));
        }
        report_left_behind(&self.run, || Arc::new(LeftBehind::new(&stand_in, units)));
    }

    /// The stand-in for everything that the manager or set has left behind in its runs so far, including these runs.
    fn stand_in(&self, left: &[OpenRun]) -> Process {
        let inbox = &self.shared.inbox;
        // It already waits for the runs that were left before. What any of them leaves behind, the inbox adds.
        let mut new = left.iter().filter(|left| !left.was_left);
        let stand_in = inbox.stand_in().filter(|stand_in| {
            !stand_in.is_closed() && new.all(|it| stand_in.wait_for(&it.process).is_ok())
        });
        if let Some(stand_in) = stand_in {
            return stand_in;
        }
        let stand_in = new_stand_in(self.run.site());
        // From now on, it waits for what the units leave behind. It is not closed before it also waits for the units,
        // and for what they have left behind so far. So it does not matter when one of them ends meanwhile.
        inbox.set_stand_in(&stand_in);
        let below = left.iter().flat_map(|it| inbox.left_in(it.run));
        let open = below.filter_map(|below| below.open());
        let all = left.iter().map(|it| it.process.clone()).chain(open);
        // No edge is refused, because the stand-in is Running and nothing waits for it.
        all.for_each(|open| drop(stand_in.wait_for(&open)));
        stand_in.close();
        stand_in
    }

    /// Called when the run of the manager or set is over: forgets a unit, or keeps it as stuck if it has a run.
    pub(super) fn forget_or_keep(&self, id: usize) {
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

/// A stand-in that does not wait for anything yet. Once it waits and is closed, it stays open without a handle.
fn new_stand_in(site: Site) -> Process {
    let builder = Process::builder().name("stuck units").site(site);
    // Without a parent, nothing refuses it.
    builder.build().unwrap_or_default()
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
