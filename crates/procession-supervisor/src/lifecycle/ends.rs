//! The end of a run: its effects, which come at once, and the next state of the unit, which waits until the key is
//! free. See invariant 8 in [the parent module](super).

use std::sync::Arc;
use std::time::Instant;

use procession_runnable::NotReady;

use super::{Actions, Answer, Closes, Down, End, Lifecycle, Notice, Request, Then};
use crate::error::ManagerError;
use crate::event::Happening;
use crate::policy::Policy;
use crate::restarts::{Exceeded, Recent};
use crate::state::State;
use crate::stuck_units::{LeftBehind, without_stuck};
use crate::unit::OnFailure;

/// A run that has ended, and has left stuck units behind.
pub(crate) struct Outlived {
    /// The units that it has left behind.
    pub(crate) below: Vec<Arc<LeftBehind>>,
    /// What follows when they have ended, unless something else is asked for by then. `None` if the run was asked to
    /// stop.
    next: Option<NextState>,
}

/// The state that a unit enters after the end of a run, and when its next step is due then.
pub(super) struct NextState {
    state: State,
    due: Option<Instant>,
}

impl Lifecycle {
    /// The run is Closed. Returns what follows. `None` if the run was asked to stop: another request may still change
    /// what follows, until the key is free.
    pub(super) fn run_ended(
        &mut self,
        end: End,
        policy: &Policy,
        now: Instant,
        total: &mut Recent,
        actions: &mut Actions,
    ) -> Option<NextState> {
        let forced = end.aborted || self.aborted;
        // Something other than this machine may have aborted the run, such as the deadline thread of the core.
        if end.aborted && !self.aborted {
            actions.tell(Happening::Aborted { after: self.closing_for(now) });
        }
        // A run that was ready long enough counts as steady, whatever ended it. Its ready time ends when it begins to
        // close.
        if let (Some(ready_for), Some(past)) = (self.ready_for(now), self.past_if_any()) {
            past.restarts.was_ready_for(policy, ready_for);
        }
        if !self.asked {
            return Some(self.ended_on_its_own(end, policy, now, total, actions));
        }
        let error = end.foreign_error;
        if let Some(error) = &error {
            self.record_error(ManagerError::Failed(error.clone()), policy, actions);
        }
        if self.then != Then::Again {
            actions.starters = Some(Answer::Stopped);
        }
        actions.stoppers = Some(error.clone().map_or(Answer::Yes, Answer::Failed));
        actions.tell(Happening::Stopped { error: error.clone(), forced });
        actions.left = error;
        actions.notice = Some(Notice::Down(Down::default()));
        None
    }

    /// The run and everything that it has left behind have ended. Enters the state that follows.
    pub(super) fn free_key(
        &mut self,
        next: Option<NextState>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let then = std::mem::take(&mut self.then);
        self.forget_run();
        match next {
            Some(next) => self.enter_next(next, now),
            None => self.settle(then, now, actions),
        }
    }

    pub(super) fn enter_next(&mut self, NextState { state, due }: NextState, now: Instant) {
        self.enter(state, now);
        if due.is_some() {
            self.rare().due = due;
        }
    }

    /// Handles the end of a run that was not asked to stop, or a run that could not start. Returns what follows.
    pub(super) fn ended_on_its_own(
        &mut self,
        end: End,
        policy: &Policy,
        now: Instant,
        total: &mut Recent,
        actions: &mut Actions,
    ) -> NextState {
        let End { mut error, mut foreign_error, request, .. } = end;
        let unready = self.rare.as_mut().and_then(|rare| rare.unready.take());
        if let (None, Some(unready)) = (&error, unready) {
            error = Some(NotReady::of(unready));
            foreign_error = error.clone();
        }
        if let Some(error) = &error {
            self.record_error(ManagerError::Failed(error.clone()), policy, actions);
        }
        let failed = error.is_some();
        let mut down = Down { on_its_own: true, failed, ..Down::default() };
        actions.starters = Some(error.clone().map_or(Answer::Ended, Answer::Failed));
        actions.stoppers = Some(error.clone().map_or(Answer::Yes, Answer::Failed));
        let on_failure = if failed { self.rules.on_failure } else { OnFailure::Restart };
        let restarts = self.rules.restart.after(failed)
            && on_failure == OnFailure::Restart
            && request == Request::None;
        let ends_all = request == Request::EndAll;
        self.is_over = failed && (request != Request::None || on_failure != OnFailure::Restart);
        // A failure while the unit is held closes nothing, unless the error requires it.
        let closes = ends_all || on_failure == OnFailure::CloseAll && !self.is_held;
        if let (true, Some(error)) = (closes, &error) {
            down.closes_all = Some(Closes::Failed { error: error.clone(), ends_all });
        }
        let ended = |restart_in| match &error {
            Some(error) => Happening::Failed { error: error.clone(), restart_in },
            None => Happening::Ended,
        };
        let at_rest = |state| NextState { state, due: None };
        let next = if !restarts {
            actions.tell(ended(None));
            actions.left = foreign_error.filter(|_| !closes);
            at_rest(State::Ended)
        } else if self.is_held {
            actions.tell(ended(None));
            actions.left = foreign_error;
            at_rest(State::Waiting)
        } else {
            let restarts = &mut self.past_mut(policy).restarts;
            let (again, count) = (restarts.again(total, policy, now), restarts.count);
            actions.tell(ended(again.ok()));
            match again {
                Ok(delay) => {
                    down.restarts = true;
                    actions.tell(Happening::Restarting { delay, restarts: count });
                    actions.left = foreign_error;
                    NextState { state: State::Waiting, due: now.checked_add(delay) }
                }
                Err(exceeded) => {
                    actions.tell(Happening::GaveUp { error: error.clone() });
                    let in_total = exceeded == Exceeded::Total;
                    down.closes_all = Some(Closes::GaveUp { error, in_total });
                    at_rest(State::GivenUp)
                }
            }
        };
        actions.notice = Some(Notice::Down(down));
        next
    }

    /// The end of the current run, if it has left stuck units behind.
    pub(crate) fn outlived(&self) -> Option<&Outlived> {
        self.rare.as_ref()?.outlived.as_ref()
    }

    /// The state that follows when the key is free, if that is decided already. Otherwise, the state.
    pub(crate) fn state_when_free(&self) -> State {
        let outlived = self.outlived().filter(|_| !self.asked);
        let next = outlived.and_then(|outlived| outlived.next.as_ref());
        next.map_or(self.state, |next| next.state)
    }

    /// The run has ended, but has left these units behind, so the unit keeps its key. `next` is the state that follows,
    /// if that is decided.
    pub(super) fn keep_key(
        &mut self,
        next: Option<NextState>,
        below: Vec<Arc<LeftBehind>>,
        now: Instant,
        actions: &mut Actions,
    ) {
        if self.asked {
            actions.starters = Some(Answer::Stuck(below.clone()));
            actions.stoppers = Some(Answer::Stuck(below.clone()));
            // The stuck units are named in these answers, and in the outcome of the manager or set.
            actions.left = actions.left.take().and_then(without_stuck);
        }
        if self.state != State::Stuck {
            self.enter(State::Stuck, now);
            actions.tell(Happening::Stuck);
        }
        self.rare().outlived = Some(Outlived { below, next });
    }

    /// The units that the run had left behind have ended.
    pub(super) fn left_units_ended(&mut self, now: Instant, actions: &mut Actions) {
        let outlived = self.rare.as_mut().and_then(|rare| rare.outlived.take());
        let Some(Outlived { mut next, .. }) = outlived else { return };
        actions.tell(Happening::Freed);
        if self.asked {
            // The restart that readers were told of does not come.
            if next.take().is_some_and(|next| next.state == State::Waiting) {
                actions.tell(Happening::Stopped { error: None, forced: false });
            }
        }
        // `Load` replaces it if the unit starts again at once.
        actions.notice = Some(Notice::Down(Down::default()));
        self.free_key(next, now, actions);
    }
}
