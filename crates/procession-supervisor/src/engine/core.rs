//! [`Core`]: performs the actions that the lifecycles of the units decide.
//!
//! 1. Once this task has decided to close everything, it starts no further run. Argument: [`Core::start_run`] starts
//!    nothing then. Helpers start a batch without asking, but the task handles nothing else between the plan of a batch
//!    and its end. A run that is started while another thread closes the group is refused by the group.

use std::collections::VecDeque;
use std::mem::{replace, take};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use procession::support::{
    self, RunEvent, RunId, ShownWait, catch, model_has_failed, show_wait_for_children,
};
use procession::{ChildFailure, Error, Label, Process};
use procession_runnable::Run;

use super::command::{Reply, answer};
use super::outcome::{self, unreported};
use super::starts::{self, Planned, Started, Starts};
use super::units::{Entry, Live, Lookup, OpenUnit};
use super::{Shared, Units};
use crate::error::ManagerError;
use crate::event::Happening;
use crate::lifecycle::{Actions, Answer, Input, Notice, Request, Then};
use crate::name::{name_of, process_name_of};
use crate::policy::Policy;
use crate::restarts::Recent;
use crate::state::{HasRun, State};
use crate::stuck_units::StuckUnits;
use crate::table::Key;
use crate::unhandled::Unhandled;
use crate::unit::Unit;

/// The minimum number of runs to start at once for which helpers take part.
const MIN_FOR_HELPERS: usize = 128;

/// One run of a manager or a set: its units, and the means to drive them.
pub(crate) struct Core<K: Key> {
    pub(crate) shared: Arc<Shared<K>>,
    pub(super) run: Run,
    /// The parent of the units' processes.
    group: Process,
    pub(super) now: Instant,
    /// An empty buffer for the actions of the next step. `None` during a step, and after a step that panicked.
    actions: Option<Box<Actions>>,
    /// The notices that the front end has not handled yet.
    notices: VecDeque<(usize, Notice)>,
    is_stopping: bool,
    is_aborting: bool,
    /// The recent restarts of all units together.
    recent: Recent,
    /// The failure because of which everything closes.
    failure: Option<ManagerError>,
    /// The stuck unit because of which everything closes, and what the failure says about it.
    named: Option<(usize, StuckUnits)>,
    /// The units that are stuck at the end of the run.
    pub(super) stuck: StuckUnits,
    /// The runs that will be started next.
    planned: Vec<Planned>,
    /// The runs that are being started with helpers.
    starts: Option<Arc<Starts<K>>>,
    /// Makes the next run of the manager or set wait until this one is over.
    _turn: async_lock::MutexGuardArc<()>,
}

impl<K: Key> Core<K> {
    pub(super) fn new(
        shared: Arc<Shared<K>>,
        run: Run,
        turn: async_lock::MutexGuardArc<()>,
    ) -> Result<Self, Error> {
        let group = Process::builder().no_wait_parent(&run).name("units");
        // The engine handles the failures of the units.
        let group = group.on_child_failure(ChildFailure::Ignore).site(run.site()).build()?;
        let now = shared.about.policy.time().now();
        shared.inbox.open();
        Ok(Self {
            shared,
            run,
            group,
            now,
            actions: None,
            notices: VecDeque::new(),
            is_stopping: false,
            is_aborting: false,
            recent: Recent::default(),
            failure: None,
            named: None,
            stuck: StuckUnits::default(),
            planned: Vec::new(),
            starts: None,
            _turn: turn,
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.shared.about.policy
    }

    /// Shows in snapshots that the run waits for the units.
    pub(super) fn show_wait(&self) -> ShownWait {
        show_wait_for_children(&self.run, &self.group)
    }

    /// Returns whether the teardown is stopping everything.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Returns whether everything is being aborted.
    pub(crate) fn is_aborting(&self) -> bool {
        self.is_aborting
    }

    pub(super) fn observe_abort(&mut self) {
        self.is_aborting = self.run.is_aborting();
    }

    /// Returns whether the stop had already begun.
    pub(super) fn set_stopping(&mut self) -> bool {
        std::mem::replace(&mut self.is_stopping, true)
    }

    pub(crate) fn look_for(&self, key: &K) -> Lookup {
        self.shared.units.lock().look_for(key)
    }

    pub(crate) fn find(&self, key: &K) -> Option<usize> {
        self.shared.units.lock().find(key)
    }

    /// The state of a unit; `None` if it is forgotten.
    pub(crate) fn state(&self, id: usize) -> Option<State> {
        self.with(id, |units, id| units.entry(id).lifecycle.state())
    }

    /// The state of a unit when its key is free, or now if that is not decided; `None` if it is forgotten.
    #[cfg(not(loom))]
    pub(crate) fn state_when_free(&self, id: usize) -> Option<State> {
        self.with(id, |units, id| units.entry(id).lifecycle.state_when_free())
    }

    /// Returns whether a unit may be restarted together with others.
    pub(crate) fn may_be_held(&self, id: usize) -> bool {
        self.with(id, |units, id| units.entry(id).lifecycle.may_be_held()) == Some(true)
    }

    /// Reads or changes a unit, if it is not forgotten.
    pub(crate) fn with<T>(
        &self,
        id: usize,
        act: impl FnOnce(&mut Units<K>, usize) -> T,
    ) -> Option<T> {
        let mut units = self.shared.units.lock();
        units.get(id).is_some().then(|| act(&mut units, id))
    }

    pub(crate) fn tell(&self, key: Option<K>, what: Happening) {
        self.shared.events.tell(key, what);
    }

    /// Closes everything because of a failure, which becomes the error of the run. Later failures are ignored.
    pub(crate) fn fail(&mut self, error: ManagerError) {
        self.failure.get_or_insert(error);
    }

    /// Closes everything, because a unit that must be restarted has not ended (U1).
    pub(crate) fn fail_stuck(&mut self, id: usize) {
        let stuck = self.with(id, |units, id| units.entry(id).open(id)).flatten();
        if let (Some(OpenUnit { key, process, below, .. }), None) = (stuck, &self.named) {
            let mut units = StuckUnits::default();
            units.add(&name_of(&key), &process, &below);
            self.named = Some((id, units.clone()));
            self.fail(units.into());
        }
    }

    /// Closes everything without a failure.
    pub(crate) fn close(&mut self) {
        self.run.close();
    }

    /// When the next step of a unit is due.
    pub(crate) fn due(&self, id: usize) -> Option<Instant> {
        self.with(id, |units, id| units.entry(id).lifecycle.due()).flatten()
    }

    pub(super) fn take_failure(&mut self) -> Option<Error> {
        let failure = self.failure.take()?;
        Some(outcome::failure(&self.run, failure))
    }

    pub(super) fn label(&self) -> Label {
        self.run.label()
    }

    pub(super) fn next_notice(&mut self) -> Option<(usize, Notice)> {
        self.notices.pop_front()
    }

    /// Moves a unit one step, and performs the actions. The unit must exist.
    pub(crate) fn step(&mut self, id: usize, input: Input) {
        self.step_after(id, |_| (), input);
    }

    /// [`step`](Self::step), after a change of the unit under the same lock.
    fn step_after(&mut self, id: usize, change: impl FnOnce(&mut Entry<K>), input: Input) {
        let mut actions = self.actions.take().unwrap_or_default();
        let mut units = self.shared.units.lock();
        change(units.entry(id));
        let policy = &self.shared.about.policy;
        units.step(id, input, policy, self.now, &mut self.recent, &mut actions);
        let entry = units.entry(id);
        let waiting = entry.take_waiting(actions.starters.is_some(), actions.stoppers.is_some());
        let tells = actions.tell[0].is_some() && self.shared.events.has_listeners();
        let is_down = matches!(actions.notice, Some(Notice::Down(_)));
        let has_failed = is_down || actions.left.is_some();
        let key = (waiting.is_some() || tells || has_failed).then(|| entry.key.clone());
        let has_to_act = waiting.is_some() || actions.close || actions.abort;
        let live = entry.live.as_ref().filter(|_| has_to_act);
        let process = live.map(|live| live.process.clone());
        let live = if entry.lifecycle.state().has_run() { None } else { entry.live.take() };
        let removed = take(&mut actions.forget).then(|| units.remove(id));
        drop(units);
        // Before the readers are told, because one that comes later does not know of a failure.
        let is_taken = tells && self.shared.events.has_readers();
        for what in actions.tell.iter_mut().map_while(Option::take) {
            if let Some(key) = key.as_ref().filter(|_| tells) {
                self.shared.events.tell(Some(key.clone()), what);
            }
        }
        let (closes, aborts) = (take(&mut actions.close), take(&mut actions.abort));
        if let Some(process) = process.as_ref().filter(|_| closes) {
            process.close();
        }
        if let Some(process) = process.as_ref().filter(|_| aborts) {
            process.abort();
        }
        let (starters, stoppers) = (actions.starters.take(), actions.stoppers.take());
        let (released, restarted) = (actions.released.take(), actions.restarted.take());
        let dropped = actions.dropped.take();
        let (mut notice, left) = (actions.notice.take(), actions.left.take());
        self.actions = Some(actions);
        let down = if let Some(Notice::Down(down)) = &notice { Some(down) } else { None };
        let judged = match &key {
            Some(key) if has_failed => self.judge(key, left, down),
            _ => None,
        };
        let mut left = judged.filter(|_| !is_taken);
        if let (Some(waiting), Some(key)) = (waiting, &key) {
            // A failure is left to the callers whose answer has it.
            let mut unhandled = None;
            let mut leave = |given: &Answer, is_awaited: bool| {
                let has_it = is_awaited && matches!(given, Answer::Failed(_));
                if let Some(failure) = left.take_if(|_| has_it) {
                    unhandled = Some(Unhandled::new(&self.run, failure));
                }
                unhandled.clone().filter(|_| has_it)
            };
            if let Some(given) = starters {
                let unhandled = leave(&given, waiting.starters.iter().any(Reply::is_awaited));
                answer_starters(given, waiting.starters, process.as_ref(), key, unhandled.as_ref());
            }
            if let Some(given) = stoppers.filter(|_| !waiting.stoppers.is_empty()) {
                let unhandled = leave(&given, waiting.stoppers.iter().any(Reply::is_awaited));
                let result = given.result(name_of(key), process.as_ref());
                answer(waiting.stoppers, &result, unhandled.as_ref());
            }
            if let Some(unhandled) = unhandled {
                self.leave_to_restart(id, unhandled);
            }
        }
        match &mut notice {
            Some(Notice::Down(down)) => down.left = left,
            // The unit starts again at once, unless everything closes before that.
            _ => self.report(id, left),
        }
        self.notices.extend(notice.map(|notice| (id, notice)));
        released.into_iter().for_each(Unhandled::give_up);
        restarted.iter().for_each(|handled| handled.mark_handled());
        if live.is_some() || removed.is_some() || key.is_some() || dropped.is_some() {
            // These drops may run foreign code, so they come last and in a catch.
            let _dropped = catch(|| drop((live, removed, key, dropped)));
        }
    }

    /// Sets the rules of a unit from its row.
    pub(crate) fn set_rules(&mut self, id: usize, unit: &Unit) {
        self.with(id, |units, id| units.set_rules(id, unit.rules));
    }

    /// Adds a unit, and starts a run of it. The lookup must have found no unit with its key.
    pub(crate) fn start_new(&mut self, lookup: &Lookup, key: K, unit: Unit, scan: u32) {
        let Planned { run, name, unit } = self.add_loading(lookup, key, unit, scan);
        self.start_run(run, name, &unit, None, None);
    }

    /// Adds a unit, and plans a run of it, which is started [later](Self::begin_starts) together with others. The
    /// lookup must have found no unit with its key.
    pub(crate) fn plan_new(&mut self, lookup: &Lookup, key: K, unit: Unit, scan: u32) {
        let planned = self.add_loading(lookup, key, unit, scan);
        self.planned.push(planned);
    }

    /// Adds a unit whose description must still be loaded. The lookup must have found no unit with its key.
    #[cfg(not(loom))]
    pub(crate) fn add_new(&mut self, lookup: &Lookup, key: K, scan: u32) -> usize {
        let id = self.shared.units.lock().insert(lookup, key, scan, self.now);
        self.begin(id);
        id
    }

    fn add_loading(&mut self, lookup: &Lookup, key: K, unit: Unit, scan: u32) -> Planned {
        let name = process_name_of(&key);
        let mut units = self.shared.units.lock();
        let id = units.insert(lookup, key, scan, self.now);
        units.set_rules(id, unit.rules);
        // This step yields no action.
        let actions = self.actions.get_or_insert_default();
        let policy = &self.shared.about.policy;
        units.step(id, Input::Begin, policy, self.now, &mut self.recent, actions);
        Planned { run: units.next_run(id), name, unit }
    }

    /// Returns whether runs are planned, so that nothing else may happen before they are started.
    pub(crate) fn has_planned(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Begins to start the planned runs, with helpers if there are many. Returns the number of runs.
    pub(super) fn begin_starts(&mut self) -> usize {
        let count = self.planned.len();
        if count < MIN_FOR_HELPERS {
            let mut planned = take(&mut self.planned);
            for Planned { run, name, unit } in planned.drain(..) {
                self.start_run(run, name, &unit, None, None);
            }
            self.planned = planned;
        } else {
            let planned = replace(&mut self.planned, Vec::with_capacity(count));
            let (shared, group) = (self.shared.clone(), self.group.clone());
            let starts = Starts::new(shared, group, planned);
            starts.spawn_helpers(&self.run);
            self.starts = Some(starts);
        }
        count
    }

    /// Waits until all runs that have begun to start have been started. Nothing else may happen before that.
    pub(super) fn poll_starts(&mut self, context: &Context<'_>) -> Poll<()> {
        let Some(starts) = &self.starts else { return Poll::Ready(()) };
        starts.work();
        let all = ready!(starts.poll_started(context));
        self.starts = None;
        all.into_iter().for_each(|Started { run, result }| self.started(run, result));
        Poll::Ready(())
    }

    /// Starts a run of a [`Loading`](State::Loading) unit. In a set, `before` and `after` are its neighbours in the
    /// order.
    pub(crate) fn start(
        &mut self,
        id: usize,
        name: support::Name,
        unit: &Unit,
        before: Option<&Process>,
        after: Option<&Process>,
    ) {
        if let Some(run) = self.with(id, |units, id| units.next_run(id)) {
            self.start_run(run, name, unit, before, after);
        }
    }

    fn start_run(
        &mut self,
        run: RunId,
        name: support::Name,
        unit: &Unit,
        before: Option<&Process>,
        after: Option<&Process>,
    ) {
        if self.is_closing() {
            return self.step(run.unit as usize, Input::Stop(Then::Forget));
        }
        let result = starts::start(&self.shared, &self.group, run, name, unit, (before, after));
        self.started(run, result);
    }

    fn started(&mut self, run: RunId, result: Result<Process, Error>) {
        let id = run.unit as usize;
        match result {
            Ok(process) => {
                let live = Live { process, number: run.number };
                self.step_after(id, |entry| entry.live = Some(live), Input::Started);
            }
            // While everything closes, a unit that could not start has stopped, not failed (U3).
            Err(error) if self.is_closing() => {
                let key = self.with(id, |units, id| units.entry(id).key.clone());
                self.step(id, Input::Stop(Then::Forget));
                if let Some(key) = key.filter(|_| !starts::is_refusal(&error)) {
                    self.report(id, unreported(error, name_of(&key), self.label()));
                }
            }
            Err(error) => {
                let request = Request::of(&error);
                self.step(id, Input::NotStarted { error, request });
            }
        }
    }

    /// Moves a unit to [`Loading`](State::Loading). A call of [`start`](Self::start) must follow.
    pub(crate) fn begin(&mut self, id: usize) {
        self.step(id, Input::Begin);
    }

    /// Forgets a unit without a run, because its row is gone.
    pub(crate) fn forget(&mut self, id: usize) {
        let mut units = self.shared.units.lock();
        let entry = units.entry(id);
        let (key, is_known) = (entry.key.clone(), !entry.lifecycle.is_new);
        let (starters, released) = (entry.take_starters(), entry.lifecycle.release());
        let removed = units.remove(id);
        drop(units);
        released.into_iter().for_each(Unhandled::give_up);
        if !starters.is_empty() {
            answer(starters, &Err(ManagerError::NotFound { key: name_of(&key) }), None);
        }
        if is_known {
            self.tell(Some(key), Happening::Gone);
        }
        let _dropped = catch(|| drop(removed));
    }

    /// Handles a report of a run, unless its unit has another run by now, or none.
    pub(super) fn handle_report(&mut self, run: RunId, report: RunEvent) {
        let id = run.unit as usize;
        let input = match report {
            RunEvent::Ready => Input::Ready,
            RunEvent::EndedUnready(label) => Input::EndedUnready(label),
            RunEvent::Closing => Input::BeganToClose,
            // Another thread may not have reported yet that the run has begun to close. Its end is enough.
            RunEvent::Closed => return self.closed(run),
            // The inbox keeps it.
            RunEvent::Leaves(_) => return,
        };
        if self.shared.units.lock().entry_of(run).is_some() {
            self.step(id, input);
        }
    }

    /// The process of a run is Closed, or what the run has left behind has ended.
    fn closed(&mut self, run: RunId) {
        let id = run.unit as usize;
        let Some((input, open)) = self.shared.take_end(run) else { return };
        // A run that ends while everything closes counts as asked to stop, even if its turn to stop had not come.
        let is_asked = |units: &mut Units<K>, id| units.entry(id).lifecycle.is_asked();
        if self.is_closing() && self.with(id, is_asked) == Some(false) {
            self.step(id, Input::Stop(Then::Forget));
        }
        let mut ended = None;
        self.step_after(id, |entry| ended = entry.replace_process(open), input);
        self.shared.inbox.forget_left_in(run);
        let _dropped = catch(|| drop(ended));
    }

    /// Returns whether everything closes, even if the task has not noticed that yet. The units close together with the
    /// run.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_stopping || self.failure.is_some() || self.run.is_closing()
    }

    /// The error that names the stuck units, including those below, except the one that the failure already names. Keeps
    /// all of them for the run around this one.
    pub(super) fn take_stuck_error(&mut self) -> Option<Error> {
        let open = self.shared.units.lock().open_units();
        let (mut units, mut is_told) = (StuckUnits::default(), true);
        let named = self.named.take();
        let is_named = |run: &RunId| named.as_ref().is_some_and(|(id, _)| *id == run.unit as usize);
        for OpenUnit { key, run, process, below } in open.iter().filter(|it| !is_named(&it.run)) {
            let mut below = below.clone();
            if process.is_closed() {
                // Its end was not handled yet.
                below = self.shared.inbox.left_in(*run);
                below.retain(|left| left.open().is_some());
                if below.is_empty() {
                    continue;
                }
            }
            units.add(&name_of(key), process, &below);
            // The manager or set below has failed because of these.
            is_told &= !below.is_empty();
        }
        let others = (!units.is_empty()).then(|| units.clone());
        if open.iter().any(|it| is_named(&it.run)) {
            units.extend(named.map(|(_, named)| named).unwrap_or_default());
        }
        self.stuck = units;
        let _dropped = catch(|| drop(open));
        Some(outcome::stuck(&self.run, others?, is_told))
    }

    /// The time `time` from now. `None` if the clock cannot represent it.
    pub(crate) fn after(&self, time: Duration) -> Option<Instant> {
        self.now.checked_add(time)
    }
}

impl<K: Key> Drop for Core<K> {
    /// Answers waiting callers that the manager is not running, tells the run around this one what is left behind, and
    /// keeps the keys of units that still have a run.
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        // Keys may panic, here and below, and so may the wakers of callers.
        let _closed = catch(|| self.shared.inbox.close());
        // If the teardown was dropped before its end, nothing else would stop the units.
        self.group.abort();
        let _told = catch(|| self.report_left_behind());
        let ids = self.shared.units.lock().ids();
        for id in ids {
            let _left = catch(|| self.forget_or_keep(id));
        }
    }
}

/// Answers the callers that wait until the unit is ready.
fn answer_starters<K: Key>(
    given: Answer,
    replies: Vec<Reply<Process>>,
    process: Option<&Process>,
    key: &K,
    unhandled: Option<&Arc<Unhandled>>,
) {
    if replies.is_empty() {
        return;
    }
    let result = given.result(name_of(key), process);
    let started = result.and_then(|()| process.cloned().ok_or(ManagerError::NotRunning));
    answer(replies, &started, unhandled);
}
