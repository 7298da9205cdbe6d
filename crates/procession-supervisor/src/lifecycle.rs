//! [`Lifecycle`]: the state machine of one unit. It is pure: [`Lifecycle::step`] takes an input and the time, and
//! yields the actions to perform. All decisions about starting, stopping, aborting and restarting a unit are here.
//! Nothing here waits, takes a lock, runs foreign code or sends an event.
//!
//! ```text
//!               Load, Begin        Started           Ready
//! Initial, … ───────────▶ Loading ────────▶ Starting ──────▶ Running
//!                            ▲                  │               │   Stop, or it begins to close
//!               Due          │                  └──────┬────────┘
//! Waiting ───────────────────┤                         ▼
//!    ▲                       │ Closed, then Again   Stopping ── Due: abort ── Due ──▶ Stuck
//!    │ Closed, not asked     └─────────────────────────┤                               │
//!    └─────────────────────────────────────────────────┴───────────────────────────────┘
//!                                         Closed: Stopped, Ended, GivenUp, or forgotten
//! ```
//!
//! If a run leaves stuck units behind, `Outlived` leads from any state with a run to `Stuck`, and `Freed` to the state
//! that `Closed` would have led to.
//!
//! 1. A unit keeps its key exactly in the states [with a run](crate::state::HasRun): while its run is open, or while
//!    stuck units that the run has left behind are. Argument: only `Started` enters those states, only from `Loading`,
//!    and only `Closed` and `Freed` leave them. The engine starts a run only for a unit that is `Loading`, and then does
//!    nothing else with the unit before it passes in `Started` or `NotStarted`.
//! 2. A run that was asked to stop before its end came (`Closed` or `Outlived`) has stopped, not failed (U3). Argument:
//!    only [`Lifecycle::run_ended`] decides between the two. It reads `asked`, which `Stop` and `Abort` set in every
//!    state with a run. So the real order of the end and the request does not matter.
//! 3. The grace begins when the run begins to close, for whatever reason, and it is set once (U2). Argument: `Stop`,
//!    `Abort`, `EndedUnready` and `BeganToClose` all go through [`Lifecycle::begin_closing`], which is called only in
//!    `Starting` and `Running`, and no step leads from `Stopping` back to these. After the grace there is one abort,
//!    because [`Lifecycle::abort`] is called only if `aborted` is not set, and sets it; after the abort grace, the unit
//!    is `Stuck`.
//! 4. Readers see only the state before a step or the state after it, and no state in between. Argument: each branch of
//!    `step` calls [`Lifecycle::enter`] at most once.
//! 5. `then` is [`Then::Stay`] unless the current run was asked to stop. Argument: [`Lifecycle::set_then`] and `stop`
//!    set both, only while the unit keeps its key, and [`Lifecycle::free_key`] resets both.
//! 6. A restart that readers are told of is decided, and each decided restart counts towards both intensities.
//!    Argument: only [`Lifecycle::ended_on_its_own`] decides on a restart, it asks both intensities before it tells of
//!    anything, and [`Restarts::again`] counts exactly the restarts that both allow.
//! 7. A failure that a restart must handle is kept until a run is started, or released (I17). Argument: `kept` is set
//!    only in `Waiting` and `Loading`. Only [`Lifecycle::settle`] leads from there to a state without a restart,
//!    and it releases the failure. The step in which a run starts, or fails to, passes it out as handled.
//! 8. A unit whose run has left stuck units behind keeps its key until they have ended (U1). Argument: for such a run,
//!    the engine passes in `Outlived` instead of `Closed`, and `Freed` when they have ended. The end itself takes effect
//!    at once, as any other end does, except that callers that wait for a stop are answered `Stuck`. Only the next
//!    state is postponed; entering it tells `Freed`, and passes an empty `Down` or a `Load` to the front end.
//! 9. Each waiting caller is answered once. Argument: the engine removes the callers when it answers them. A caller
//!    that waits for a start is answered when the unit is ready, cannot be loaded, becomes `Stuck`, or has no run and
//!    no further start for that caller. A caller that waits for a stop is answered when the run is Closed, when it
//!    becomes `Stuck`, or at once if there is no run. A unit has no callers in a state without a run, except in
//!    `Loading` and `Waiting`.

mod actions;
mod ends;
mod input;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::{Error, Label};

pub(crate) use self::actions::{Actions, Answer, Closes, Down, Notice};
use self::ends::Outlived;
pub(crate) use self::input::{End, Input, Request, Then};
use crate::error::{ManagerError, SharedError};
use crate::event::Happening;
use crate::policy::Policy;
use crate::restarts::{Recent, Restarts};
use crate::state::{HasRun, State};
use crate::unhandled::Unhandled;
use crate::unit::{Restart, Rules};

/// A unit: its state, its rules, and its past. Most units are running and have never failed, so everything that such a
/// unit does not need is in a box.
pub(crate) struct Lifecycle {
    since: Instant,
    pub(crate) rules: Rules,
    rare: Option<Box<Rare>>,
    state: State,
    /// What follows the current run if that was asked to stop.
    then: Then,
    /// Was the current run asked to stop?
    asked: bool,
    /// Has a step of this machine aborted the current run?
    aborted: bool,
    /// Is the strategy about to restart the unit together with others? Then an end of its run before that neither
    /// restarts the unit nor counts as a failure of its own.
    pub(crate) is_held: bool,
    /// Was its last failure final? It was if the error or the unit's rules forbid a restart.
    is_over: bool,
    /// Does the unit exist only because a call started it? Its row has not been found yet. The front end sets this.
    pub(crate) is_new: bool,
}

/// Facts that most units do not have: those about a unit that is stopping or waiting for its restart, or whose run
/// ended before it was ready or has left stuck units behind; and the past.
#[derive(Default)]
struct Rare {
    /// When its next step is due.
    due: Option<Instant>,
    /// When its run began to close.
    closing_at: Option<Instant>,
    /// How long its run was ready before it began to close.
    ready_for: Option<Duration>,
    /// The process of its run that ended without an error before the run was ready.
    unready: Option<Label>,
    /// The end of its run, if that has left stuck units behind.
    outlived: Option<Outlived>,
    /// Has an earlier run of the manager or set left this run behind? Then its end is already watched.
    was_left: bool,
    /// Its last failure, if a restart must handle it.
    kept: Option<Arc<Unhandled>>,
    /// The past, which outlives the runs.
    past: Option<Past>,
}

/// The past of a unit that has failed or was restarted.
pub(crate) struct Past {
    pub(crate) restarts: Restarts,
    pub(crate) last_error: Option<ManagerError>,
}

impl Lifecycle {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            rules: Rules::default(),
            rare: None,
            state: State::Initial,
            then: Then::default(),
            asked: false,
            aborted: false,
            is_held: false,
            is_over: false,
            is_new: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When [`Input::Due`] must be passed in next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.rare.as_ref()?.due
    }

    pub(crate) fn then(&self) -> Then {
        self.then
    }

    /// Returns whether the unit has a run, or will have one without a further call. A run that is being stopped for
    /// good does not count, as if it had ended already.
    pub(crate) fn is_open(&self) -> bool {
        match self.state_when_free() {
            State::Ended | State::GivenUp | State::Stopped => false,
            state if state.has_run() && self.asked => {
                matches!(self.then, Then::Again | Then::Hold)
            }
            _ => true,
        }
    }

    /// Decides what follows the current run. The run counts as asked to stop from now on.
    pub(crate) fn set_then(&mut self, then: Then) {
        debug_assert!(self.state.has_run());
        (self.then, self.asked) = (then, true);
    }

    /// Returns whether the current run was asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Returns whether this machine has aborted the current run.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    pub(crate) fn past(&self) -> Option<&Past> {
        self.rare.as_ref()?.past.as_ref()
    }

    fn past_if_any(&mut self) -> Option<&mut Past> {
        self.rare.as_mut()?.past.as_mut()
    }

    /// The error of the last run that failed.
    pub(crate) fn last_failure(&self) -> Option<Error> {
        match &self.past()?.last_error {
            Some(ManagerError::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Keeps the failure of the last run for its restart, if one follows. Returns whether the restart has already come.
    /// A unit that is stuck may never be restarted, so for it the answer is no.
    pub(crate) fn keep(&mut self, failure: &Arc<Unhandled>) -> bool {
        if matches!(self.state, State::Waiting | State::Loading) {
            self.rare().kept = Some(failure.clone());
        }
        self.state.has_run() && self.outlived().is_none()
    }

    /// Takes the failure that a restart was to handle, because that has come, or never will.
    pub(crate) fn release(&mut self) -> Option<Arc<Unhandled>> {
        self.rare.as_mut()?.kept.take()
    }

    /// Forgives past failures, because a call or a changed row starts the unit anew.
    pub(crate) fn forgive(&mut self, policy: &Policy) {
        if let Some(past) = self.past_if_any() {
            past.restarts.forgive(policy);
        }
    }

    /// Moves to the next state, and adds the actions to perform to `actions`, which must be empty. An input that is not
    /// possible in this state, such as `Ready` from a run that is already closing, changes nothing. `total` has the
    /// recent restarts of all units together.
    pub(crate) fn step(
        &mut self,
        input: Input,
        policy: &Policy,
        now: Instant,
        total: &mut Recent,
        actions: &mut Actions,
    ) {
        match input {
            Input::Load => self.load(now, actions),
            Input::Begin if matches!(self.state, State::Initial | State::Waiting) => {
                self.enter(State::Loading, now);
            }
            Input::NotLoaded { key, error, forget } => {
                let mut delay = None;
                if self.state == State::Loading {
                    actions.starters = Some(Answer::Load(error.clone()));
                    if forget {
                        self.settle(Then::Forget, now, actions);
                    } else {
                        delay = Some(self.load_later(key, error.clone(), policy, now, actions));
                    }
                }
                actions.tell(Happening::LoadFailed { error, delay });
            }
            Input::Started if self.state == State::Loading => {
                actions.restarted = self.release();
                self.forget_run();
                self.enter(State::Starting, now);
                actions.tell(Happening::Started);
            }
            Input::Ready if self.state == State::Starting => {
                self.enter(State::Running, now);
                actions.tell(Happening::Ready);
                actions.starters = Some(Answer::Yes);
                actions.notice = Some(Notice::Ready);
            }
            Input::NotStarted { error, request } if self.state == State::Loading => {
                actions.restarted = self.release();
                self.forget_run();
                let error = Some(error);
                let end = End { foreign_error: error.clone(), error, request, aborted: false };
                let next = self.ended_on_its_own(end, policy, now, total, actions);
                self.enter_next(next, now);
            }
            Input::EndedUnready(label) => {
                self.rare().unready = Some(label);
                if self.state == State::Starting {
                    actions.close = true;
                    self.begin_closing(policy, now);
                }
            }
            Input::BeganToClose => {
                if matches!(self.state, State::Starting | State::Running) {
                    self.begin_closing(policy, now);
                }
            }
            Input::Closed(end) if self.state.has_run() && self.outlived().is_none() => {
                let next = self.run_ended(end, policy, now, total, actions);
                self.free_key(next, now, actions);
            }
            Input::Outlived(end, below) if self.state.has_run() && self.outlived().is_none() => {
                let next = self.run_ended(end, policy, now, total, actions);
                self.keep_key(next, below, now, actions);
            }
            Input::Freed => self.left_units_ended(now, actions),
            Input::Changed => self.change(policy, now, actions),
            Input::Stop(then) => self.stop(then, policy, now, actions),
            Input::Abort(then) => {
                self.stop(then, policy, now, actions);
                if self.state == State::Stopping && !self.aborted {
                    self.abort(policy, now, actions);
                }
            }
            Input::Due => self.time_is_up(policy, now, actions),
            Input::Begin
            | Input::Started
            | Input::NotStarted { .. }
            | Input::Ready
            | Input::Closed(_)
            | Input::Outlived(..) => {}
        }
    }

    /// Marks a unit as stuck, because the manager's run is over but the unit's run is not. It keeps its key until it
    /// ends. Returns `false` if an earlier run of the manager has left the same run.
    pub(crate) fn leave_stuck(&mut self, now: Instant) -> bool {
        self.enter(State::Stuck, now);
        self.set_then(Then::Forget);
        !std::mem::replace(&mut self.rare().was_left, true)
    }

    /// Was the current run left by an earlier run of the manager or set?
    pub(crate) fn was_left(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.was_left)
    }

    fn load(&mut self, now: Instant, actions: &mut Actions) {
        if !self.state.has_run() && self.state != State::Loading {
            self.begin_load(now, actions);
        }
    }

    fn begin_load(&mut self, now: Instant, actions: &mut Actions) {
        (self.is_held, self.is_over) = (false, false);
        self.enter(State::Loading, now);
        actions.notice = Some(Notice::Load);
    }

    /// Starts the unit again from its current row, after the end of its run if it has one (U6). If a call has stopped
    /// the unit, it stays stopped. A unit that is loaded anyway needs no further start. A unit that was given up
    /// begins anew, as after a call.
    fn change(&mut self, policy: &Policy, now: Instant, actions: &mut Actions) {
        if matches!(self.state, State::Initial | State::Loading | State::Stopped) || self.asked {
            return;
        }
        if self.state.has_run() {
            return self.stop(Then::Again, policy, now, actions);
        }
        if self.state == State::GivenUp {
            self.forgive(policy);
        }
        self.begin_load(now, actions);
    }

    /// Begins a pause before the next attempt to load the row.
    fn load_later(
        &mut self,
        key: Arc<str>,
        source: SharedError,
        policy: &Policy,
        now: Instant,
        actions: &mut Actions,
    ) -> Duration {
        self.record_error(ManagerError::Load { key, source }, policy, actions);
        let delay = self.past_mut(policy).restarts.pause(policy);
        self.enter(State::Waiting, now);
        self.rare().due = now.checked_add(delay);
        delay
    }

    fn stop(&mut self, then: Then, policy: &Policy, now: Instant, actions: &mut Actions) {
        match self.state {
            State::Starting | State::Running | State::Stopping => {
                self.then = then;
                if std::mem::replace(&mut self.asked, true) {
                    return;
                }
                actions.tell(Happening::Stopping);
                actions.close = true;
                if self.state != State::Stopping {
                    self.begin_closing(policy, now);
                }
                if self.grace(policy).is_zero() && !self.aborted {
                    self.abort(policy, now, actions);
                }
            }
            State::Stuck => self.set_then(then),
            state => {
                if then != Then::Hold {
                    actions.stoppers = Some(Answer::Yes);
                    if matches!(state, State::Loading | State::Waiting) {
                        actions.tell(Happening::Stopped { error: None, forced: false });
                        if then != Then::Again {
                            actions.starters = Some(Answer::Stopped);
                        }
                    }
                }
                self.settle(then, now, actions);
            }
        }
    }

    /// A run begins to close.
    fn begin_closing(&mut self, policy: &Policy, now: Instant) {
        let ready_for = self.ready_for(now);
        let rare = self.rare();
        (rare.closing_at, rare.ready_for) = (Some(now), ready_for);
        let grace = self.grace(policy);
        self.enter(State::Stopping, now);
        self.rare().due = now.checked_add(grace);
    }

    fn abort(&mut self, policy: &Policy, now: Instant, actions: &mut Actions) {
        self.aborted = true;
        actions.abort = true;
        actions.tell(Happening::Aborted { after: self.closing_for(now) });
        self.rare().due = now.checked_add(policy.abort_grace);
    }

    fn time_is_up(&mut self, policy: &Policy, now: Instant, actions: &mut Actions) {
        self.clear_due();
        match self.state {
            State::Waiting => self.load(now, actions),
            State::Stopping if !self.aborted => self.abort(policy, now, actions),
            State::Stopping => {
                self.enter(State::Stuck, now);
                actions.tell(Happening::Stuck);
                actions.starters = Some(Answer::Stuck(Vec::new()));
                actions.stoppers = Some(Answer::Stuck(Vec::new()));
            }
            _ => {}
        }
    }

    /// Enters the state that follows for a unit that was asked to stop. Its run, if it had one, has ended.
    fn settle(&mut self, then: Then, now: Instant, actions: &mut Actions) {
        if matches!(then, Then::Stay | Then::Forget) {
            actions.released = self.release();
        }
        match then {
            Then::Stay => self.enter(State::Stopped, now),
            Then::Forget => {
                self.enter(State::Ended, now);
                actions.forget = true;
            }
            Then::Again => self.begin_load(now, actions),
            Then::Hold => {
                self.is_held = false;
                if self.may_be_held() {
                    self.enter(State::Waiting, now);
                } else if self.state.has_run() {
                    self.enter(State::Ended, now);
                }
            }
        }
    }

    /// Returns whether the unit may be restarted together with others. This is not the case for a temporary unit, and
    /// for a unit that has failed for good, was stopped by a call, or was given up.
    pub(crate) fn may_be_held(&self) -> bool {
        let is_stopped = self.asked && matches!(self.then, Then::Stay | Then::Forget);
        self.rules.restart != Restart::Temporary
            && !self.is_over
            && !is_stopped
            && !matches!(self.state_when_free(), State::Stopped | State::GivenUp)
    }

    /// Enters a state, or stays in it, and clears the due time. A new due time must be set after this call.
    fn enter(&mut self, state: State, now: Instant) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
        self.clear_due();
    }

    fn clear_due(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.due = None;
        }
    }

    /// Forgets the facts about the last run, except the past.
    fn forget_run(&mut self) {
        self.rare = self.rare.take().filter(|rare| rare.past.is_some());
        if let Some(rare) = &mut self.rare {
            **rare = Rare { past: rare.past.take(), ..Rare::default() };
        }
        (self.asked, self.aborted) = (false, false);
    }

    fn grace(&self, policy: &Policy) -> Duration {
        self.rules.grace.get().unwrap_or(policy.grace)
    }

    /// How long the run was ready, up to now or until it began to close. `None` if it was never ready.
    fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Running => Some(now.saturating_duration_since(self.since)),
            _ => self.rare.as_ref()?.ready_for,
        }
    }

    fn closing_for(&self, now: Instant) -> Duration {
        let closing_at = self.rare.as_ref().and_then(|rare| rare.closing_at);
        closing_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn record_error(&mut self, error: ManagerError, policy: &Policy, actions: &mut Actions) {
        actions.dropped = self.past_mut(policy).last_error.replace(error);
    }

    fn past_mut(&mut self, policy: &Policy) -> &mut Past {
        let new = || Past { restarts: Restarts::new(policy), last_error: None };
        self.rare().past.get_or_insert_with(new)
    }
}
