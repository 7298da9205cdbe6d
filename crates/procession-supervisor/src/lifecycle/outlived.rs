//! Runs that have ended, but have left stuck units of a nested set or manager behind. See rule 8 of [`Lifecycle`].

use std::time::Instant;

use procession::Error;

use super::{Actions, Answer, Closes, Down, End, Lifecycle, Notice, Request};
use crate::event::Happening;
use crate::state::State;
use crate::unit::OnFailure;

impl Lifecycle {
    /// How the current run ended, if it has left stuck units behind.
    pub(crate) fn outlived(&self) -> Option<&End> {
        self.rare.as_ref()?.outlived.as_ref()
    }

    /// Takes the error of such a run, because something handles it before the units have ended.
    pub(crate) fn take_error_of_outlived(&mut self) -> Option<Error> {
        self.rare.as_mut()?.outlived.as_mut()?.foreign_error.take()
    }

    /// The run is Closed, but has left stuck units behind.
    pub(super) fn outlived_by(&mut self, mut end: End, now: Instant, actions: &mut Actions) {
        if self.outlived().is_some() {
            return;
        }
        let ends_all = end.request == Request::EndAll;
        let closes = ends_all || self.rules.on_failure == OnFailure::CloseAll && !self.is_held;
        if let (true, false, Some(error)) = (closes, self.asked, &end.error) {
            let closes_all = Some(Closes::Failed { error: error.clone(), ends_all });
            actions.notice = Some(Notice::Down(Down { closes_all, ..Down::default() }));
            // The error of the manager or set has it.
            end.foreign_error = None;
        }
        if matches!(self.state, State::Starting | State::Running) {
            self.record_closing(now);
        }
        if self.state != State::Stuck {
            self.be_stuck(end.error.as_ref(), now, actions);
        }
        self.rare().outlived = Some(end);
    }

    /// The unit is stuck. If its run has ended and left stuck units behind, `below` is the error of the run.
    pub(super) fn be_stuck(&mut self, below: Option<&Error>, now: Instant, actions: &mut Actions) {
        self.enter(State::Stuck, now);
        actions.tell(Happening::Stuck);
        actions.starters = Some(Answer::Stuck(below.cloned()));
        actions.stoppers = Some(Answer::Stuck(below.cloned()));
    }
}
