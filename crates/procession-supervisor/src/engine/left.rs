//! What is left of units that are stuck: those whose run has ended without nested ones, and those that have a run when
//! that of their manager or set is over.
//!
//! A manager or a set ends even if units of it are stuck. The run that it is part of must count as open until these have
//! ended (U1), and everything that knows this goes through the graph of processes, and not through the errors of runs,
//! which user code may change or hide.
//!
//! 1. A unit that has not ended when the run of its manager or set is over is stuck, and keeps its key until it ends.
//!    Argument: its entry stays in [`Units`](super::Units), and only [`Shared::forget_run`] or a later run removes it,
//!    after the end of its run.
//! 2. The end of a run with everything below it is known. Argument: a manager or a set that leaves stuck units behind
//!    [says so](Core::leave_behind) to the nearest run that it is part of before its own process is Closed, and thus
//!    before that run can be. It passes on a process that is open as long as any of them is: this process waits for
//!    the runs of the units; what these have left behind before that is in the [`Inbox`](super::inbox::Inbox), and
//!    what they leave behind later is added there, again before these runs are Closed.
//! 3. The outcome of the outermost manager or set names each unit below that has not ended, however deep it is nested
//!    (U2). Argument: what is passed on has the names, each level puts the key of its own unit in front of them, and
//!    that unit is stuck as long as those below are.
//! 4. A failure of such a unit is handled as it is during a run: by a hook or a reader of the events, or else by a
//!    report (I17). Argument: one [`watch`] waits for the end of each of them. If a later run has taken the unit over
//!    by then, that run handles its end.

use std::mem::{swap, take};
use std::sync::Arc;
#[cfg(not(loom))]
use std::time::Instant;

use procession::Process;
#[cfg(not(loom))]
use procession::Threads;
use procession::support::{RunId, Supervised, catch, leave_behind, report_failure_elsewhere};

use super::Shared;
use super::core::Core;
use super::outcome::{end_of, unreported};
#[cfg(not(loom))]
use super::units::LiveRun;
use super::units::{LeftRun, Live, Stuck};
use crate::lifecycle::{Actions, Input};
use crate::name::name_of;
use crate::restarts::Recent;
use crate::state::HasRun;
use crate::stuck_units::Left;
use crate::table::Key;

impl<K: Key> Shared<K> {
    /// The process of a run is Closed, or what the run has left behind has ended: the input for its unit, and the
    /// process that is open until everything has ended. `None` if this is not the end of the unit's current run.
    ///
    /// The causes of its error are foreign code, so no lock may be held.
    pub(super) fn end_of(&self, run: RunId) -> Option<(Input, Option<Process>)> {
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
        let below = self.inbox.left_by(run);
        let open: Vec<Process> = below.iter().filter_map(|left| left.open()).collect();
        match &open[..] {
            [] => Some((Input::Closed(end), None)),
            [one, others @ ..] => {
                let mut last = one.clone();
                if !others.is_empty() {
                    last = waiting(&process);
                    open.iter().for_each(|open| drop(last.wait_for(open)));
                    last.close();
                }
                // The inbox is notified of the end of this process, too.
                let name = self.about.name.clone().into();
                Supervised::new(&last, name, self.inbox.clone(), run, None).attach(&last);
                Some((Input::Outlived(end, below), Some(last)))
            }
        }
    }

    /// Blocks until the run and everything that it has left behind has ended. Returns `false` if that is not so by the
    /// deadline.
    #[cfg(not(loom))]
    pub(crate) fn wait_for_end(&self, live: &LiveRun<K>, deadline: Option<Instant>) -> bool {
        let mut open = Some(live.process.clone());
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
            open = self.open_below(live.run);
        }
        true
    }

    /// A process that is open as long as something is that this run, which is Closed, has left behind; `None` if it has
    /// left nothing behind, or that has ended.
    #[cfg(not(loom))]
    fn open_below(&self, run: RunId) -> Option<Process> {
        // The inbox comes first, because it keeps this until the unit has it.
        let told = self.inbox.left_by(run);
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

    /// Forgets the unit of this run if that and everything below it has ended. Otherwise, returns the process whose end
    /// must be awaited. The caller holds the turn, so nothing else moves the unit meanwhile.
    fn forget_run(&self, run: RunId) -> Option<Process> {
        let Some((input, open)) = self.end_of(run) else {
            return Some(self.units.lock().entry_of(run)?.live.as_ref()?.process.clone());
        };
        let (policy, mut actions) = (&self.about.policy, Actions::default());
        let (id, now) = (run.unit as usize, policy.time().now());
        let mut live = open.clone().map(|process| Live { process, number: run.number });
        let mut units = self.units.lock();
        if live.is_some() {
            swap(&mut units.entry(id).live, &mut live);
        }
        units.step(id, input, policy, now, &mut Recent::default(), &mut actions);
        let key = units.entry(id).key.clone();
        // A unit that was left is not restarted.
        let removed = open.is_none().then(|| units.remove(id));
        drop(units);
        self.inbox.forget_left_by(run);
        let is_taken = self.events.has_readers();
        for what in actions.tell.iter_mut().filter_map(Option::take) {
            self.events.tell(Some(key.clone()), what);
        }
        let ended = live.as_ref().or_else(|| removed.as_ref()?.live.as_ref());
        let process = ended.map(|live| &live.process);
        let left = actions.left.take().filter(|_| !is_taken);
        if let (Some(error), Some(process)) = (left, process) {
            if let Some(error) = unreported(error, name_of(&key), process.label()) {
                report_failure_elsewhere(process, error);
            }
        }
        let _dropped = catch(|| drop((live, removed, key, actions)));
        open
    }
}

impl<K: Key> Core<K> {
    /// The run of the manager or set ends: tells the run that it is part of, if there is one, which units it leaves behind,
    /// if there are any.
    pub(super) fn leave_behind(&mut self) {
        let left = self.shared.units.lock().left();
        if left.is_empty() {
            return;
        }
        let leaving = self.leaving(&left);
        let mut units = take(&mut self.stuck);
        if units.is_empty() {
            // The teardown was dropped before its end.
            let stuck = catch(|| self.shared.units.lock().stuck()).unwrap_or_default();
            let add = |it: &Stuck<K>| units.add(&name_of(&it.key), &it.process, &it.below);
            let _named = catch(|| stuck.iter().for_each(add));
        }
        leave_behind(&self.run, || Arc::new(Left::new(&leaving, units)));
    }

    /// The process that is open as long as anything is that the manager or set has left behind in its runs so far,
    /// including these runs of units.
    fn leaving(&self, left: &[LeftRun]) -> Process {
        let inbox = &self.shared.inbox;
        // The others are part of it already, with all that they have left behind since.
        let mut new = left.iter().filter(|left| !left.was_left);
        let leaving = inbox.leaving().filter(|leaving| {
            !leaving.is_closed() && new.all(|it| leaving.wait_for(&it.process).is_ok())
        });
        if let Some(leaving) = leaving {
            return leaving;
        }
        let leaving = waiting(&self.run);
        // From now on, it waits for what the units leave behind. It is not closed before it also waits for the units,
        // and for what they have left behind so far. So it does not matter when one of them ends meanwhile.
        inbox.set_leaving(&leaving);
        let below = left.iter().flat_map(|it| inbox.left_by(it.run));
        let open = below.filter_map(|below| below.open());
        let all = left.iter().map(|it| it.process.clone()).chain(open);
        // It refuses nothing, because it is Running and nothing waits for it.
        all.for_each(|open| drop(leaving.wait_for(&open)));
        leaving.close();
        leaving
    }

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

/// A process without a parent that is about to wait for what `process` leaves behind. When it waits, nothing has to hold
/// it.
fn waiting(process: &Process) -> Process {
    let builder = Process::builder().name("stuck units").site(process.site());
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
