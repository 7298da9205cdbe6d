//! Random sequences of inputs for a unit, passed to a [`World`] as the engine would pass them.

use std::iter;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::Then;
use super::model::World;
use super::{ABORT_GRACE, FIRST, Fault, STEADY, policy};
use crate::backoff::Rate;
use crate::policy::Policy;
use crate::state::State;
use crate::unit::{Grace, OnFailure, Restart, Rules};

const MILLISECOND: Duration = Duration::from_millis(1);

/// An operation, which does nothing if it is not possible now.
#[derive(Clone, Copy, Debug)]
enum Op {
    CallStart,
    CallStop,
    CallRestart,
    /// A set removes the unit.
    CallRemove,
    RowIsThere,
    RowIsGone,
    RowHasChanged,
    /// The unit's turn in its set comes.
    Begin,
    RunStarts,
    StartFails(Fault),
    LoadFails {
        forget: bool,
    },
    IsReady,
    EndsUnready,
    BeginsToClose,
    Ends(Fault),
    /// Its run ends, and leaves stuck units behind.
    Leaves(Fault),
    /// They have ended.
    Freed,
    /// Another unit is restarted alone.
    AnotherRestarts,
    /// Another unit has failed, and this one is restarted with it.
    RoundBegins,
    RoundGoesOn,
    /// The manager or set begins to close, and its task has not noticed that yet.
    EverythingCloses,
    StopAll {
        by_force: bool,
    },
    /// The manager's task is dropped, before or after it has stopped the unit.
    Leave,
    /// The next run of a set finds the unit stuck.
    Adopt,
    TimePasses(Duration),
    /// The time of the next due step comes, but the step itself is late.
    TimeIsUp {
        late: Duration,
    },
}

impl World {
    fn perform(&mut self, op: Op) {
        let (state, has_run) = (self.lifecycle.state(), self.run.is_some());
        let has_left = self.run.as_ref().is_some_and(|run| run.outlived.is_some());
        let (is_open, is_set) = (!self.closes, self.is_set);
        match op {
            Op::CallStart if is_open && !has_run && state != State::Loading => {
                self.is_called = true;
                self.forgive();
                self.starters += 1;
                self.load();
            }
            Op::CallRestart if is_open && state != State::Stuck => {
                self.forgive();
                self.starters += 1;
                self.restart();
            }
            Op::CallStop if is_open => self.stop_by_call(Then::Stay),
            Op::CallRemove if is_open && is_set => self.stop_by_call(Then::Forget),
            Op::RowIsThere
                if is_open && !is_set && has_run && self.lifecycle.then() == Then::Forget =>
            {
                self.set_then(Then::Again);
            }
            Op::RowIsGone if is_open && !is_set => match has_run {
                true => self.ask(Then::Forget, false),
                false => {
                    // Corresponds to `Core::forget`, which answers the callers that wait for a start.
                    self.starters = 0;
                    self.forgotten();
                }
            },
            Op::RowHasChanged if is_open && !is_set => self.changed(),
            Op::Begin if is_open && !self.in_round => {
                let is_held = is_set && state == State::Waiting && self.lifecycle.due().is_none();
                if state == State::Initial || is_held {
                    self.begin();
                }
            }
            Op::RunStarts if self.may_start() => self.run_starts(),
            Op::StartFails(fault) if self.may_start() && fault.is_foreign() => {
                self.start_fails(fault);
            }
            Op::LoadFails { forget } if !is_set && self.may_start() => self.load_fails(forget),
            Op::IsReady => self.is_ready(),
            Op::EndsUnready => self.ends_unready(),
            Op::BeginsToClose => self.begins_to_close(),
            Op::Ends(fault) if has_run && !has_left => self.ends(fault, false),
            Op::Leaves(fault) if has_run && !has_left => self.ends(fault, true),
            Op::Freed if has_left => self.is_freed(),
            Op::AnotherRestarts if is_open => self.another_restarts(),
            Op::RoundBegins if is_open && is_set => {
                (self.lifecycle.is_held, self.is_held, self.in_round) = (true, true, true);
            }
            Op::RoundGoesOn if is_open && self.in_round => self.continue_restarting(),
            Op::EverythingCloses => self.closes = true,
            Op::StopAll { by_force } => {
                (self.closes, self.in_round) = (true, false);
                self.ask(Then::Forget, by_force);
            }
            Op::Leave => self.leave(),
            Op::Adopt if is_open && is_set && state == State::Stuck => self.set_then(Then::Again),
            Op::TimePasses(time) => self.now += time,
            Op::TimeIsUp { late } => self.time_is_up(late),
            _ => {}
        }
    }

    /// Everything stops, and each caller has its answer.
    fn end(&mut self) {
        self.perform(Op::StopAll { by_force: false });
        let is_stopping = self.run.as_ref().is_some_and(|run| !run.is_stuck);
        if is_stopping && self.lifecycle.due().is_some() {
            let asked_at = self.now;
            let closing_at = self.run.as_ref().and_then(|run| run.closing_at).expect("it closes");
            (0..2).for_each(|_| self.perform(Op::TimeIsUp { late: Duration::ZERO }));
            let end = self.now.saturating_duration_since(closing_at.max(asked_at));
            assert!(end <= self.grace().saturating_add(ABORT_GRACE), "U2: its stop took {end:?}");
            assert_eq!(
                self.run.as_ref().map(|run| run.is_stuck),
                Some(self.lifecycle.due().is_none())
            );
        }
        self.perform(Op::Ends(Fault::None));
        self.perform(Op::Freed);
        assert_eq!(self.lifecycle.state(), State::Initial, "it is forgotten");
        assert_eq!((self.starters, self.stoppers), (0, 0));
    }
}

/// The operations and their weights.
const OPS: [(usize, Op); 44] = [
    (6, Op::CallStart),
    (6, Op::CallStop),
    (6, Op::CallRestart),
    (4, Op::CallRemove),
    (2, Op::RowIsThere),
    (2, Op::RowIsGone),
    (2, Op::RowHasChanged),
    (12, Op::Begin),
    (28, Op::RunStarts),
    (1, Op::StartFails(Fault::Error)),
    (1, Op::StartFails(Fault::EndAll)),
    (1, Op::LoadFails { forget: false }),
    (1, Op::LoadFails { forget: true }),
    (16, Op::IsReady),
    (4, Op::EndsUnready),
    (6, Op::BeginsToClose),
    (5, Op::Ends(Fault::None)),
    (7, Op::Ends(Fault::Error)),
    (3, Op::Ends(Fault::Aborted)),
    (2, Op::Ends(Fault::AbortedAndError)),
    (2, Op::Ends(Fault::DoNotRestart)),
    (2, Op::Ends(Fault::EndAll)),
    (2, Op::Leaves(Fault::None)),
    (3, Op::Leaves(Fault::Error)),
    (1, Op::Leaves(Fault::Aborted)),
    (1, Op::Leaves(Fault::DoNotRestart)),
    (1, Op::Leaves(Fault::EndAll)),
    (6, Op::Freed),
    (2, Op::AnotherRestarts),
    (4, Op::RoundBegins),
    (8, Op::RoundGoesOn),
    (1, Op::EverythingCloses),
    (1, Op::StopAll { by_force: false }),
    (1, Op::StopAll { by_force: true }),
    (2, Op::Leave),
    (4, Op::Adopt),
    (2, Op::TimePasses(MILLISECOND)),
    (2, Op::TimePasses(Duration::from_secs(9))),
    (1, Op::TimePasses(Duration::from_millis(59_999))),
    (2, Op::TimePasses(STEADY)),
    (16, Op::TimeIsUp { late: Duration::ZERO }),
    (2, Op::TimeIsUp { late: MILLISECOND }),
    (1, Op::TimeIsUp { late: Duration::from_secs(5) }),
    (1, Op::TimeIsUp { late: Duration::from_secs(20) }),
];

fn any_op() -> impl Strategy<Value = Op> {
    let ops = OPS.into_iter().flat_map(|(weight, op)| iter::repeat_n(op, weight));
    prop::sample::select(ops.collect::<Vec<_>>())
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let restart = prop_oneof![
        1 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ];
    let on_failure = prop_oneof![
        4 => Just(OnFailure::Restart),
        1 => Just(OnFailure::End),
        1 => Just(OnFailure::CloseAll),
    ];
    let grace = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Duration::ZERO)),
        1 => Just(Some(Duration::MAX)),
    ];
    (restart, on_failure, grace).prop_map(|(restart, on_failure, grace)| {
        let mut rules = Rules::default();
        (rules.restart, rules.on_failure) = (restart, on_failure);
        rules.grace = grace.map(Grace::of).unwrap_or_default();
        rules
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let rate = || {
        let rate = (0..4_usize, prop::sample::select(vec![0, 1, 9, 60, 3600]));
        prop::option::of(rate.prop_map(|(count, s)| Rate::new(count, Duration::from_secs(s))))
    };
    (rate(), rate()).prop_map(|(own, total)| {
        let mut policy = policy();
        (policy.intensity, policy.total_intensity) = (own, total);
        policy
    })
}

/// The pause before the restart of a unit that has failed twice: once at once, and once after its run was ready and
/// then got these inputs.
fn pause_after(ops: &[Op]) -> Option<Duration> {
    let mut world = World::new(Rules::default(), policy(), false);
    let first = [Op::CallStart, Op::RunStarts, Op::Ends(Fault::Error)];
    let second = [Op::TimeIsUp { late: Duration::ZERO }, Op::RunStarts, Op::IsReady];
    let last = [Op::Ends(Fault::Error)];
    let ops = first.iter().chain(&second).chain(ops).chain(&last);
    ops.for_each(|op| world.perform(*op));
    world.next_pause()
}

#[test]
fn the_pauses_begin_again_after_a_steady_run_whatever_ends_it() {
    let (steady, nearly) = (Op::TimePasses(STEADY), Op::TimePasses(STEADY - MILLISECOND));
    assert_eq!(pause_after(&[nearly]), Some(2 * FIRST));
    assert_eq!(pause_after(&[steady]), Some(FIRST));
    let restart = [Op::RowHasChanged, Op::Ends(Fault::None), Op::RunStarts];
    assert_eq!(pause_after(&[&[nearly], &restart[..]].concat()), Some(2 * FIRST));
    assert_eq!(pause_after(&[&[steady], &restart[..]].concat()), Some(FIRST));
}

#[test]
fn time_spent_closing_does_not_count_as_steady() {
    let steady = Op::TimePasses(STEADY);
    assert_eq!(pause_after(&[Op::BeginsToClose, steady]), Some(2 * FIRST));
    assert_eq!(pause_after(&[steady, Op::BeginsToClose]), Some(FIRST));
}

proptest! {
    #![proptest_config(Config { cases: 10_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_lifecycle_agrees_with_its_model(
        rules in any_rules(),
        policy in any_policy(),
        is_set in any::<bool>(),
        ops in prop::collection::vec(any_op(), 1..80),
    ) {
        let mut world = World::new(rules, policy, is_set);
        ops.into_iter().for_each(|op| world.perform(op));
        world.end();
    }
}
