//! [`World`]: a [`Lifecycle`] next to a model of it. Each step of the lifecycle is compared with what the model
//! expects.
//!
//! The model has no transitions. It keeps facts about the current run (whether it was asked to stop, when it began to
//! close, when it was aborted), from which the state follows, and it counts the callers that wait for an answer.

mod ends;

use std::mem::take;
use std::time::{Duration, Instant};

use super::super::{Actions, Input, Lifecycle, Then};
use super::{ABORT_GRACE, FIRST, Fault, GRACE, MAX, label, not_loaded, step, words};
use crate::backoff::Rate;
use crate::event::Happening;
use crate::policy::Policy;
use crate::restarts::Recent;
use crate::state::{HasRun, State};
use crate::unit::{Restart, Rules};

/// The current run, as far as the engine knows it.
#[derive(Default)]
pub(super) struct Run {
    pub(super) asked: Option<Then>,
    pub(super) is_resolved: bool,
    pub(super) ready_at: Option<Instant>,
    pub(super) unready: bool,
    pub(super) closing_at: Option<Instant>,
    pub(super) aborted_at: Option<Instant>,
    pub(super) is_stuck: bool,
    /// It has ended, and has left stuck units behind. The state that follows, and when the next step is due then.
    pub(super) outlived: Option<(State, Option<Instant>)>,
}

/// The expected results of an input.
#[derive(Default)]
struct Expected {
    events: Vec<&'static str>,
    close: bool,
    abort: bool,
    starters: Option<&'static str>,
    stoppers: Option<&'static str>,
    forget: bool,
    release: bool,
    notice: Option<String>,
}

pub(super) struct World {
    pub(super) lifecycle: Lifecycle,
    pub(super) policy: Policy,
    pub(super) rules: Rules,
    pub(super) is_set: bool,
    pub(super) now: Instant,
    /// `None` if the unit has no run. Then it is in the state `idle`.
    pub(super) run: Option<Run>,
    pub(super) idle: (State, Option<Instant>),
    pub(super) is_held: bool,
    /// Was its last failure final? A start by a call resets this.
    pub(super) is_over: bool,
    /// Must a restart handle its last failure?
    pub(super) is_kept: bool,
    /// Has a call, or its first turn, started it since its last run?
    pub(super) is_called: bool,
    pub(super) starters: usize,
    pub(super) stoppers: usize,
    pub(super) restarts: u64,
    pub(super) pauses: u32,
    pub(super) recent: Vec<Instant>,
    /// The restarts of all units together, for the lifecycle and for the model.
    pub(super) total: Recent,
    pub(super) all_recent: Vec<Instant>,
    pub(super) in_round: bool,
    pub(super) closes: bool,
}

impl Expected {
    fn words(self) -> Vec<String> {
        let mut words: Vec<String> = self.events.into_iter().map(str::to_owned).collect();
        words.extend(self.close.then(|| "CLOSE".into()));
        words.extend(self.abort.then(|| "ABORT".into()));
        words.extend(self.starters.map(|given| format!("starters:{given}")));
        words.extend(self.stoppers.map(|given| format!("stoppers:{given}")));
        words.extend(self.forget.then(|| "FORGET".into()));
        words.extend(self.release.then(|| "RELEASE".into()));
        words.extend(self.notice.map(|notice| format!("notice:{notice}")));
        words
    }
}

impl World {
    pub(super) fn new(rules: Rules, policy: Policy, is_set: bool) -> Self {
        let now = Instant::now();
        let mut world = Self {
            lifecycle: Lifecycle::new(now),
            policy,
            rules,
            is_set,
            now,
            run: None,
            idle: (State::Initial, None),
            is_held: false,
            is_over: false,
            is_called: false,
            is_kept: false,
            starters: 0,
            stoppers: 0,
            restarts: 0,
            pauses: 0,
            recent: Vec::new(),
            total: Recent::default(),
            all_recent: Vec::new(),
            in_round: false,
            closes: false,
        };
        world.lifecycle.rules = rules;
        world
    }

    /// Replaces the forgotten unit by a new one with its key.
    pub(super) fn forgotten(&mut self) {
        assert!(
            !self.lifecycle.state().has_run() && self.run.is_none(),
            "U1: the key was not free"
        );
        assert_eq!((self.starters, self.stoppers), (0, 0), "callers were forgotten with the unit");
        let new = Self::new(self.rules, self.policy.clone(), self.is_set);
        *self = Self {
            now: self.now,
            closes: self.closes,
            lifecycle: Lifecycle::new(self.now),
            total: take(&mut self.total),
            all_recent: take(&mut self.all_recent),
            ..new
        };
        self.lifecycle.rules = self.rules;
    }

    pub(super) fn grace(&self) -> Duration {
        self.rules.grace.get().unwrap_or(GRACE)
    }

    /// The state, and when the next step is due.
    fn state(&self) -> (State, Option<Instant>) {
        let Some(run) = &self.run else { return self.idle };
        match (run.is_stuck, run.closing_at, run.aborted_at) {
            (true, ..) => (State::Stuck, None),
            (_, Some(_), Some(at)) => (State::Stopping, at.checked_add(ABORT_GRACE)),
            (_, Some(at), None) => (State::Stopping, at.checked_add(self.grace())),
            (_, None, _) if run.ready_at.is_some() => (State::Running, None),
            _ => (State::Starting, None),
        }
    }

    fn step(&mut self, input: Input, expected: Expected) {
        let text = name(&input);
        let (before, since) = (self.lifecycle.state(), self.lifecycle.since());
        let actions = step(&mut self.lifecycle, input, &self.policy, self.now, &mut self.total);
        self.count(&actions);
        assert_eq!(
            (self.lifecycle.state(), self.lifecycle.due()),
            self.state(),
            "{text} in {before:?}"
        );
        assert_eq!(words(&actions), expected.words(), "{text} in {before:?}");
        let since = if self.lifecycle.state() == before { since } else { self.now };
        assert_eq!(self.lifecycle.since(), since, "{text} in {before:?}");
        self.check();
        if actions.forget {
            self.forgotten();
        } else if self.closes && words(&actions).contains(&"notice:load".into()) {
            // While everything closes, the engine starts nothing.
            self.ask(Then::Forget, false);
        }
    }

    fn count(&mut self, actions: &Actions) {
        for what in actions.tell.iter().flatten() {
            if let Happening::Restarting { restarts, .. } = what {
                self.restarts += 1;
                assert_eq!(*restarts, self.restarts);
            }
        }
        if actions.starters.is_some() {
            self.starters = 0;
        }
        if actions.stoppers.is_some() {
            self.stoppers = 0;
        }
    }

    /// Checks the invariants.
    fn check(&self) {
        let (state, lifecycle) = (self.lifecycle.state(), &self.lifecycle);
        assert_eq!(state.has_run(), self.run.is_some(), "U1");
        assert_eq!(lifecycle.past().map_or(0, |past| past.restarts.count), self.restarts);
        assert_eq!(lifecycle.is_held, self.is_held);
        let asked = self.run.as_ref().and_then(|run| run.asked);
        assert_eq!(lifecycle.is_asked(), asked.is_some());
        assert_eq!(lifecycle.then(), asked.unwrap_or_default());
        let rests = |state| matches!(state, State::Ended | State::GivenUp | State::Stopped);
        let is_open = match &self.run {
            Some(Run { asked: None, outlived: Some((next, _)), .. }) => !rests(*next),
            Some(run) => !matches!(run.asked, Some(Then::Stay | Then::Forget)),
            None => !rests(state),
        };
        assert_eq!(lifecycle.is_open(), is_open, "{state:?}, {asked:?}");
        let will_be_ready = matches!(state, State::Loading | State::Starting | State::Stopping)
            || (state == State::Waiting && lifecycle.due().is_none());
        assert!(self.starters == 0 || will_be_ready, "a start has no answer in {state:?}");
        let will_stop = state == State::Stopping && lifecycle.is_asked();
        assert!(self.stoppers == 0 || will_stop, "a stop has no answer in {state:?}");
        if state == State::Loading && self.rules.restart == Restart::Temporary {
            assert!(self.is_called, "U5: nothing but a call starts a temporary unit again");
        }
    }

    /// The unit is asked to stop.
    pub(super) fn ask(&mut self, then: Then, by_force: bool) {
        let expected = self.asked(then, by_force);
        let input = if by_force { Input::Abort(then) } else { Input::Stop(then) };
        self.step(input, expected);
    }

    /// The row of the unit has changed.
    pub(super) fn changed(&mut self) {
        let mut expected = Expected::default();
        match &self.run {
            Some(run) if run.asked.is_none() => expected = self.asked(Then::Again, false),
            None if matches!(self.idle.0, State::Waiting | State::Ended | State::GivenUp) => {
                self.is_called = true;
                if self.idle.0 == State::GivenUp {
                    self.pauses = 0;
                    self.recent.clear();
                }
                self.loads(&mut expected);
            }
            _ => {}
        }
        self.step(Input::Changed, expected);
    }

    fn asked(&mut self, then: Then, by_force: bool) -> Expected {
        let mut expected = Expected::default();
        let (now, no_grace) = (self.now, self.grace().is_zero());
        self.is_called |= then == Then::Again;
        match &mut self.run {
            Some(run) => {
                let is_first = run.asked.replace(then).is_none();
                if !run.is_stuck {
                    run.closing_at.get_or_insert(now);
                    if is_first {
                        expected.events.push("stopping");
                        expected.close = true;
                    }
                    if run.aborted_at.is_none() && (by_force || (is_first && no_grace)) {
                        run.aborted_at = Some(now);
                        expected.events.push("aborted");
                        expected.abort = true;
                    }
                }
            }
            None if then == Then::Hold => self.hold(),
            None => {
                expected.stoppers = Some("yes");
                if matches!(self.idle.0, State::Loading | State::Waiting) {
                    expected.events.push("stopped");
                    expected.starters = Some("stopped");
                }
                self.rest(then, &mut expected);
            }
        }
        expected
    }

    fn hold(&mut self) {
        self.is_held = false;
        let stays = matches!(self.idle.0, State::Stopped | State::GivenUp) || self.is_over;
        if self.rules.restart != Restart::Temporary && !stays {
            self.idle = (State::Waiting, None);
        }
    }

    fn rest(&mut self, then: Then, expected: &mut Expected) {
        if matches!(then, Then::Stay | Then::Forget) && take(&mut self.is_kept) {
            expected.release = true;
        }
        match then {
            Then::Stay => self.idle = (State::Stopped, None),
            Then::Again => self.loads(expected),
            Then::Hold => {
                self.idle = (State::Ended, None);
                self.hold();
            }
            Then::Forget => {
                self.idle = (State::Ended, None);
                expected.forget = true;
            }
        }
    }

    fn loads(&mut self, expected: &mut Expected) {
        self.idle = (State::Loading, None);
        (self.is_held, self.is_over) = (false, false);
        expected.notice = Some("load".into());
    }

    /// The unit's turn in its set comes.
    pub(super) fn begin(&mut self) {
        self.is_called |= self.idle.0 == State::Initial;
        self.is_held = false;
        self.idle = (State::Loading, None);
        self.step(Input::Begin, Expected::default());
    }

    pub(super) fn load(&mut self) {
        let mut expected = Expected::default();
        self.loads(&mut expected);
        self.step(Input::Load, expected);
    }

    /// The time until its restart.
    pub(super) fn next_pause(&self) -> Option<Duration> {
        Some(self.lifecycle.due()?.saturating_duration_since(self.now))
    }

    fn restart_at(&mut self) -> Option<Instant> {
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.pauses)).min(MAX);
        self.pauses += 1;
        self.now.checked_add(pause)
    }

    /// Returns whether one more restart would exceed the rate.
    fn is_full(&self, rate: Option<Rate>, restarts: &[Instant]) -> bool {
        let is_recent = |at: &&Instant, rate: Rate| self.now.duration_since(**at) < rate.within;
        rate.is_some_and(|rate| {
            restarts.iter().filter(|at| is_recent(at, rate)).count() >= rate.count
        })
    }

    /// Another unit is restarted.
    pub(super) fn another_restarts(&mut self) {
        let rate = self.policy.total_intensity;
        let is_full = self.is_full(rate, &self.all_recent);
        assert_eq!(self.total.add(rate, self.now), !is_full);
        if !is_full {
            self.all_recent.push(self.now);
        }
    }

    pub(super) fn begins_to_close(&mut self) {
        let Some(run) = &mut self.run else { return };
        if !run.is_stuck {
            run.closing_at.get_or_insert(self.now);
        }
        self.step(Input::BeganToClose, Expected::default());
    }

    pub(super) fn forgive(&mut self) {
        self.lifecycle.forgive(&self.policy);
        self.pauses = 0;
        self.recent.clear();
    }

    /// Corresponds to `Core::restart`.
    pub(super) fn restart(&mut self) {
        self.is_called = true;
        match self.lifecycle.state() {
            State::Loading => {}
            state if state.has_run() => self.ask(Then::Again, false),
            _ => self.load(),
        }
    }

    /// Corresponds to `Core::stop_by_call`.
    pub(super) fn stop_by_call(&mut self, then: Then) {
        let state = self.lifecycle.state();
        let is_idle =
            matches!(state, State::Initial | State::Ended | State::GivenUp | State::Stopped);
        if is_idle && then != Then::Forget {
            return;
        }
        let is_forgotten = self.lifecycle.is_asked() && self.lifecycle.then() == Then::Forget;
        if state != State::Stuck {
            self.stoppers += 1;
        }
        self.ask(if is_forgotten { Then::Forget } else { then }, false);
    }

    pub(super) fn set_then(&mut self, then: Then) {
        self.lifecycle.set_then(then);
        self.run.as_mut().expect("it has a run").asked = Some(then);
        self.is_called |= then == Then::Again;
        self.check();
    }

    pub(super) fn time_is_up(&mut self, late: Duration) {
        let Some(due) = self.lifecycle.due() else { return };
        let Some(late) = due.checked_add(late) else { return };
        self.now = self.now.max(late);
        let mut expected = Expected::default();
        match &mut self.run {
            None => self.loads(&mut expected),
            Some(run) if run.aborted_at.is_none() => {
                run.aborted_at = Some(self.now);
                expected.events.push("aborted");
                expected.abort = true;
            }
            Some(run) => {
                run.is_stuck = true;
                expected.events.push("stuck");
                (expected.starters, expected.stoppers) = (Some("stuck"), Some("stuck"));
            }
        }
        self.step(Input::Due, expected);
    }

    pub(super) fn may_start(&self) -> bool {
        self.lifecycle.state() == State::Loading && !self.closes && !self.in_round
    }

    pub(super) fn run_starts(&mut self) {
        self.is_kept = false;
        assert!(self.run.is_none(), "U1: a second run");
        self.run = Some(Run::default());
        self.step(Input::Started, Expected { events: vec!["started"], ..Expected::default() });
    }

    pub(super) fn start_fails(&mut self, fault: Fault) {
        self.is_kept = false;
        let mut expected = Expected::default();
        self.is_called = false;
        self.ends_on_its_own(fault, false, &mut expected);
        self.step(fault.not_started(), expected);
        self.keep_if_it_waits(true);
    }

    pub(super) fn load_fails(&mut self, forget: bool) {
        let mut expected = Expected { starters: Some("load-error"), ..Expected::default() };
        if forget {
            expected.events.push("load-failed");
            self.rest(Then::Forget, &mut expected);
        } else {
            expected.events.push("load-failed-again-soon");
            self.idle = (State::Waiting, self.restart_at());
        }
        self.step(not_loaded(forget), expected);
    }

    pub(super) fn is_ready(&mut self) {
        let now = self.now;
        let Some(run) = self.run.as_mut().filter(|run| !run.is_resolved) else { return };
        run.is_resolved = true;
        let mut expected = Expected::default();
        if run.closing_at.is_none() && !run.is_stuck {
            run.ready_at = Some(now);
            expected.events.push("ready");
            expected.starters = Some("yes");
            expected.notice = Some("ready".into());
        }
        self.step(Input::Ready, expected);
    }

    pub(super) fn ends_unready(&mut self) {
        let now = self.now;
        let Some(run) = self.run.as_mut().filter(|run| !run.is_resolved) else { return };
        (run.is_resolved, run.unready) = (true, true);
        let mut expected = Expected::default();
        if run.closing_at.is_none() && !run.is_stuck {
            run.closing_at = Some(now);
            expected.close = true;
        }
        self.step(Input::EndedUnready(label()), expected);
    }

    /// The manager's task has been dropped.
    pub(super) fn leave(&mut self) {
        (self.starters, self.stoppers) = (0, 0);
        (self.closes, self.in_round) = (false, false);
        (self.total, self.all_recent) = (Recent::default(), Vec::new());
        let Some(run) = &mut self.run else { return self.forgotten() };
        (run.is_stuck, run.asked) = (true, Some(Then::Forget));
        self.lifecycle.leave_stuck(self.now);
        assert_eq!((self.lifecycle.state(), self.lifecycle.due()), (State::Stuck, None));
        self.check();
    }

    /// Corresponds to `Members::continue_restarting`.
    pub(super) fn continue_restarting(&mut self) {
        match self.lifecycle.state() {
            State::Stuck => (self.in_round, self.closes) = (false, true),
            State::Stopping if self.lifecycle.is_asked() => {}
            state => {
                self.in_round = state.has_run();
                self.ask(Then::Hold, false);
            }
        }
    }
}

/// The name of an input in assertions.
fn name(input: &Input) -> &'static str {
    match input {
        Input::Load => "Load",
        Input::Begin => "Begin",
        Input::NotLoaded { .. } => "NotLoaded",
        Input::Started => "Started",
        Input::NotStarted { .. } => "NotStarted",
        Input::Ready => "Ready",
        Input::EndedUnready(_) => "EndedUnready",
        Input::BeganToClose => "BeganToClose",
        Input::Closed(_) => "Closed",
        Input::Outlived(..) => "Outlived",
        Input::Freed => "Freed",
        Input::Changed => "Changed",
        Input::Stop(_) => "Stop",
        Input::Abort(_) => "Abort",
        Input::Due => "Due",
    }
}
