//! The end of a run: its effects, which come at once, and the next state of the unit, which waits until the key is free.
//! See rule 8 of [`Lifecycle`].

use std::sync::Arc;
use std::time::Instant;

use procession_runnable::NotReady;

use super::{Actions, Answer, Closes, Down, End, Lifecycle, Notice, Request, Then};
use crate::error::ManagerError;
use crate::event::Happening;
use crate::policy::Policy;
use crate::restarts::{Exceeded, Recent};
use crate::state::State;
use crate::stuck_units::{Left, without_stuck};
use crate::unit::OnFailure;

/// The end of a run that has left stuck units behind.
pub(crate) struct Outlived {
    /// The units.
    pub(crate) below: Vec<Arc<Left>>,
    /// What follows when they have ended, unless the run was asked to stop, or something else is asked for by then.
    next: Next,
}

/// The state that a unit enters after the end of a run, and when its next step is due then.
pub(super) struct Next {
    state: State,
    due: Option<Instant>,
}

impl Lifecycle {
    /// The run is Closed. Returns what follows; `None` if it was asked to stop, because that depends on what else is asked
    /// for until the key is free.
    pub(super) fn run_ended(
        &mut self,
        end: End,
        policy: &Policy,
        now: Instant,
        total: &mut Recent,
        actions: &mut Actions,
    ) -> Option<Next> {
        let forced = end.aborted || self.aborted;
        // Something other than this machine may have aborted the run, such as the deadline thread of the core.
        if end.aborted && !self.aborted {
            actions.tell(Happening::Aborted { after: self.closing_for(now) });
        }
        // A run that was ready for long counts as steady, whatever ended it. Its ready time ends when it begins to
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

    /// The run and everything below it has ended, so the key is free.
    pub(super) fn is_free(&mut self, next: Option<Next>, now: Instant, actions: &mut Actions) {
        let then = std::mem::take(&mut self.then);
        self.forget_run();
        match next {
            Some(next) => self.rest(next, now),
            None => self.settle(then, now, actions),
        }
    }

    pub(super) fn rest(&mut self, Next { state, due }: Next, now: Instant) {
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
    ) -> Next {
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
        let closes = request == Request::EndAll || on_failure == OnFailure::CloseAll;
        self.is_over = failed && (request != Request::None || on_failure != OnFailure::Restart);
        // A failure while the unit is held closes nothing, unless the error requires it.
        let closes = request == Request::EndAll || closes && !self.is_held;
        if let (true, Some(error)) = (closes, &error) {
            let ends_all = request == Request::EndAll;
            down.closes_all = Some(Closes::Failed { error: error.clone(), ends_all });
        }
        let ended = |restart_in| match &error {
            Some(error) => Happening::Failed { error: error.clone(), restart_in },
            None => Happening::Ended,
        };
        let next = |state| Next { state, due: None };
        let next = if !restarts {
            actions.tell(ended(None));
            actions.left = foreign_error.filter(|_| !closes);
            next(State::Ended)
        } else if self.is_held {
            actions.tell(ended(None));
            actions.left = foreign_error;
            next(State::Waiting)
        } else {
            let restarts = &mut self.past_mut(policy).restarts;
            let (again, count) = (restarts.again(total, policy, now), restarts.count);
            actions.tell(ended(again.ok()));
            match again {
                Ok(delay) => {
                    down.restarts = true;
                    actions.tell(Happening::Restarting { delay, restarts: count });
                    actions.left = foreign_error;
                    Next { state: State::Waiting, due: now.checked_add(delay) }
                }
                Err(exceeded) => {
                    actions.tell(Happening::GaveUp { error: error.clone() });
                    let in_total = exceeded == Exceeded::Total;
                    down.closes_all = Some(Closes::GaveUp { error, in_total });
                    next(State::GivenUp)
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

    /// The state that the unit will have when its key is free, as far as that is decided. If its key is free, or its
    /// run has not ended, that is its state.
    pub(crate) fn decided_state(&self) -> State {
        self.outlived().filter(|_| !self.asked).map_or(self.state, |outlived| outlived.next.state)
    }

    /// The run has ended and has left these units behind. What follows is decided.
    pub(super) fn is_outlived(
        &mut self,
        next: Option<Next>,
        below: Vec<Arc<Left>>,
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
        let next = next.unwrap_or(Next { state: State::Stopped, due: None });
        self.rare().outlived = Some(Outlived { below, next });
    }

    /// The units that the run had left behind have ended.
    pub(super) fn is_freed(&mut self, now: Instant, actions: &mut Actions) {
        let outlived = self.rare.as_mut().and_then(|rare| rare.outlived.take());
        let Some(Outlived { next, .. }) = outlived else { return };
        actions.tell(Happening::Freed);
        self.is_free(if self.asked { None } else { Some(next) }, now, actions);
        if self.state != State::Loading {
            actions.notice = Some(Notice::Down(Down::default()));
        }
    }
}
