//! The ends of runs, with and without stuck units below.

use std::mem::take;

use super::super::super::{Input, Then};
use super::super::{Fault, STEADY, unhandled};
use super::{Expected, Run, World};
use crate::state::State;
use crate::unit::{OnFailure, Restart};

impl World {
    /// The run is Closed. It may leave stuck units behind.
    pub(in crate::lifecycle::tests) fn ends(&mut self, fault: Fault, leaves: bool) {
        self.begins_to_close();
        if self.closes && !self.lifecycle.is_asked() {
            self.ask(Then::Forget, false);
        }
        let Some(run) = self.run.take() else { return };
        let mut expected = Expected::default();
        if fault.is_abort() && run.aborted_at.is_none() {
            expected.events.push("aborted");
        }
        // The run may have begun to close after the run of its manager was over.
        let ready_until = run.closing_at.unwrap_or(self.now);
        if run.ready_at.is_some_and(|at| ready_until.saturating_duration_since(at) >= STEADY) {
            self.pauses = 0;
        }
        self.is_called = run.asked == Some(Then::Again);
        match run.asked {
            Some(then) => {
                let is_forced = fault.is_abort() || run.aborted_at.is_some();
                expected.events.push(match (is_forced, fault.is_foreign()) {
                    (false, false) => "stopped",
                    (true, false) => "stopped-by-force",
                    (false, true) => "stopped-with-error",
                    (true, true) => "stopped-by-force-with-error",
                });
                expected.starters = (then != Then::Again).then_some("stopped");
                expected.stoppers = Some(if fault.is_foreign() { "error" } else { "yes" });
                expected.notice = Some("down".into());
                if leaves {
                    (expected.starters, expected.stoppers) = (Some("stuck"), Some("stuck"));
                } else {
                    self.rest(then, &mut expected);
                }
            }
            None => self.ends_on_its_own(fault, run.unready, &mut expected),
        }
        if leaves {
            return self.leaves(run, fault, expected);
        }
        let is_error = if run.asked.is_some() { fault.is_foreign() } else { fault.is_error() };
        self.step(Input::Closed(fault.end()), expected);
        self.keep_if_it_waits(is_error || run.asked.is_none() && run.unready);
    }

    /// The run has left stuck units behind, so the key is not free.
    fn leaves(&mut self, mut run: Run, fault: Fault, mut expected: Expected) {
        if !take(&mut run.is_stuck) {
            expected.events.push("stuck");
        }
        let next = if run.asked.is_some() { (State::Stopped, None) } else { self.idle };
        (run.is_stuck, run.outlived) = (true, Some(next));
        self.run = Some(run);
        self.step(Input::Outlived(fault.end(), Vec::new()), expected);
        assert!(!self.lifecycle.keep(&unhandled()), "no restart handles its failure");
    }

    /// The units that the run had left behind have ended.
    pub(in crate::lifecycle::tests) fn is_freed(&mut self) {
        if self.closes && !self.lifecycle.is_asked() {
            self.ask(Then::Forget, false);
        }
        let Some(Run { asked, outlived: Some(next), .. }) = self.run.take() else { return };
        let mut expected = Expected { events: vec!["freed"], ..Expected::default() };
        expected.notice = Some("down".into());
        match asked {
            Some(then) => {
                // The restart that was told does not come.
                if next.0 == State::Waiting {
                    expected.events.push("stopped");
                }
                self.is_called = then == Then::Again;
                self.rest(then, &mut expected);
            }
            None => self.idle = next,
        }
        self.step(Input::Freed, expected);
    }

    /// Corresponds to the end of `Core::step`, if nothing else has handled the failure. A unit that was asked to start
    /// again is loading already.
    pub(super) fn keep_if_it_waits(&mut self, has_failed: bool) {
        if has_failed && matches!(self.lifecycle.state(), State::Waiting | State::Loading) {
            self.is_kept = true;
            assert!(!self.lifecycle.keep(&unhandled()));
        }
    }

    pub(super) fn ends_on_its_own(&mut self, fault: Fault, unready: bool, expected: &mut Expected) {
        let failed = fault.is_error() || unready;
        let (starters, stoppers) = if failed { ("error", "error") } else { ("ended", "yes") };
        (expected.starters, expected.stoppers) = (Some(starters), Some(stoppers));
        let events = if failed { "failed" } else { "ended" };
        let is_final = matches!(fault, Fault::DoNotRestart | Fault::EndAll);
        let wanted = match self.rules.restart {
            Restart::Permanent => true,
            Restart::Transient => failed,
            Restart::Temporary => false,
        };
        let on_failure = self.rules.on_failure;
        let restarts = wanted && !is_final && !(failed && on_failure != OnFailure::Restart);
        let closes_all =
            fault == Fault::EndAll || failed && on_failure == OnFailure::CloseAll && !self.is_held;
        self.is_over = is_final || failed && on_failure != OnFailure::Restart;
        let is_full = self.is_full(self.policy.intensity, &self.recent);
        let is_full_in_total = self.is_full(self.policy.total_intensity, &self.all_recent);
        let notice = if !restarts {
            expected.events.push(events);
            self.idle = (State::Ended, None);
            if closes_all { "down-on-its-own-closes-all" } else { "down-on-its-own" }
        } else if self.is_held {
            expected.events.push(events);
            self.idle = (State::Waiting, None);
            "down-on-its-own"
        } else if is_full || is_full_in_total {
            expected.events.extend([events, "gave-up"]);
            self.idle = (State::GivenUp, None);
            if is_full { "down-on-its-own-gave-up" } else { "down-on-its-own-gave-up-in-total" }
        } else {
            self.recent.push(self.now);
            self.all_recent.push(self.now);
            let ended = if failed { "failed-again-soon" } else { events };
            expected.events.extend([ended, "restarting"]);
            self.idle = (State::Waiting, self.restart_at());
            "down-on-its-own-restarts"
        };
        expected.notice = Some(notice.into());
    }
}
