//! [`Members`]: the units of a run of a set, in order.
//!
//! 1. A unit starts for the first time only when each unit before it is running, has ended for good, or is stuck and
//!    will not be restarted. Argument: units start at `cursor`, which passes a unit only in such a state. A unit before
//!    the cursor that restarts alone has already had its turn.
//! 2. Units stop in the reverse order, one after the other. Argument: a round of restarts and the end of the set both
//!    walk down from the last position, and leave a position only when its unit has no run or is stuck. The edges of
//!    the process graph make the group close the units in the same order, even before this task notices that it closes.
//! 3. A unit is never restarted before its key is free (U1). Argument: a round restarts only units that have stopped. If
//!    one that it would restart is stuck, the set closes; one that it would not restart is passed over. A unit that
//!    restarts alone waits until its key is free.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Context;

use procession::Process;

use super::Described;
use super::strategy::AutoShutdown;
use crate::engine::{Command, Core, FrontEnd};
use crate::error::ManagerError;
use crate::lifecycle::{Down, Input, Notice, Then};
use crate::name::name_of;
use crate::state::{HasRun, State};
use crate::unit::Unit;

type Name = Arc<str>;

pub(super) struct Members {
    described: Described,
    /// The units in order; `None` for those that were removed.
    places: Vec<Option<Member>>,
    positions: HashMap<usize, usize>,
    /// The positions of units that have a run.
    live: BTreeSet<usize>,
    /// The number of places of removed units.
    empty: usize,
    /// Each unit before this position is running, has ended for good, restarts alone, or is stuck and will not be
    /// restarted.
    cursor: usize,
    /// The joint restart of several units, if one is under way.
    round: Option<Round>,
    has_started: bool,
    is_stopping: bool,
    /// While the set stops, the units from this position on have no run or are stuck.
    stop_at: usize,
    /// The position of the unit that was asked to stop last, and whether by force.
    asked: Option<(usize, bool)>,
}

struct Member {
    id: usize,
    name: Name,
    unit: Unit,
}

/// A joint restart: the units from position `from` on are stopped, and start again when the pause of the failed unit is
/// over.
struct Round {
    from: usize,
    failed: usize,
    /// The units from this position on have stopped already.
    stop_at: usize,
}

impl Members {
    /// # Errors
    ///
    /// [`ManagerError::Exists`] if two units have the same name.
    pub(super) fn new(described: Described, core: &mut Core<Name>) -> Result<Self, ManagerError> {
        let mut members = Self {
            places: Vec::with_capacity(described.units.len()),
            positions: HashMap::new(),
            live: BTreeSet::new(),
            empty: 0,
            cursor: 0,
            round: None,
            has_started: false,
            is_stopping: false,
            stop_at: 0,
            asked: None,
            described,
        };
        for (name, unit) in std::mem::take(&mut members.described.units) {
            members.add(core, name, unit)?;
        }
        Ok(members)
    }

    fn add(&mut self, core: &mut Core<Name>, name: Name, unit: Unit) -> Result<(), ManagerError> {
        let position = self.places.len();
        let mut units = core.shared.units.lock();
        let lookup = units.look_for(&name);
        let id = match lookup.known {
            // The unit is stuck since an earlier run of the set, and starts when its old run has ended.
            Some(id)
                if !self.positions.contains_key(&id)
                    && units.entry(id).lifecycle.state() == State::Stuck =>
            {
                units.set_then(id, Then::Again);
                self.live.insert(position);
                id
            }
            Some(_) => return Err(ManagerError::Exists { key: name_of(&name) }),
            None => units.insert(&lookup, name.clone(), 0, core.now()),
        };
        units.set_rules(id, unit.rules);
        drop(units);
        self.positions.insert(id, position);
        self.places.push(Some(Member { id, name, unit }));
        Ok(())
    }

    /// Starts the unit at this position, which must be [`Loading`](State::Loading).
    fn start(&mut self, core: &mut Core<Name>, position: usize) {
        let Some(Member { id, name, unit }) = &self.places[position] else { return };
        let process_at = |position: &usize| -> Option<Process> {
            let id = self.places[*position].as_ref()?.id;
            core.with(id, |units, id| {
                units.entry(id).live.as_ref().map(|live| live.process.clone())
            })?
        };
        let before = self.live.range(..position).next_back().and_then(process_at);
        let after = self.live.range(position + 1..).next().and_then(process_at);
        core.start(*id, name.clone().into(), unit, before.as_ref(), after.as_ref());
        if core.state(*id).is_some_and(State::has_run) {
            self.live.insert(position);
        }
    }

    /// Starts the next units in the order, as far as possible.
    fn go_on_starting(&mut self, core: &mut Core<Name>) -> bool {
        let mut is_busy = false;
        while self.round.is_none() && self.cursor < self.places.len() && !core.is_closing() {
            let position = self.cursor;
            let id = self.places[position].as_ref().map(|member| member.id);
            let state = id.and_then(|id| Some((id, core.state(id)?, core.due(id))));
            match state {
                Some((id, State::Initial, _) | (id, State::Waiting, None)) => core.begin(id),
                Some((_, State::Loading, _)) => self.start(core, position),
                // It is not restarted when it ends.
                Some((id, State::Stuck, _)) if !core.may_be_held(id) => self.cursor += 1,
                Some((_, State::Waiting | State::Starting | State::Stopping | State::Stuck, _)) => {
                    break;
                }
                _ => self.cursor += 1,
            }
            is_busy = true;
        }
        is_busy
    }

    /// Begins a round that restarts the units from `from` on, together with the failed one, or extends the current
    /// round. A round visits each unit once, however many units fail in it.
    fn begin_round(&mut self, core: &mut Core<Name>, from: usize, failed: usize) {
        let Some(round) = &mut self.round else {
            self.round = Some(Round { from, failed, stop_at: self.places.len() });
            return self.hold(core, from, self.places.len());
        };
        // Each failed unit has a pause of its own. The round waits for the pause that ends last.
        let is_later = core.due(failed) > core.due(round.failed);
        let other = if is_later { std::mem::replace(&mut round.failed, failed) } else { failed };
        let held_from = round.from;
        round.from = from.min(held_from);
        self.hold(core, from, held_from);
        core.step(other, Input::Stop(Then::Hold));
    }

    /// Holds the units at these positions, except the failed one whose pause the round waits for: until the round
    /// restarts them, their ends do not count as failures of their own.
    fn hold(&mut self, core: &Core<Name>, from: usize, to: usize) {
        self.cursor = self.cursor.min(from);
        let failed = self.round.as_ref().map(|round| round.failed);
        let members = self.places.get(from..to).unwrap_or_default().iter().flatten();
        for member in members.filter(|member| Some(member.id) != failed) {
            core.with(member.id, |units, id| units.entry(id).lifecycle.is_held = true);
        }
    }

    /// Stops the units of the round, in reverse order.
    fn continue_restarting(&mut self, core: &mut Core<Name>) -> bool {
        let Some(round) = &mut self.round else { return false };
        while round.stop_at > round.from {
            let member = self.places[round.stop_at - 1].as_ref();
            let member = member.filter(|member| member.id != round.failed);
            let Some((id, state)) =
                member.and_then(|member| Some((member.id, core.state(member.id)?)))
            else {
                round.stop_at -= 1;
                continue;
            };
            match state {
                // It is not restarted when it ends.
                State::Stuck if !core.may_be_held(id) => round.stop_at -= 1,
                State::Stuck => {
                    self.round = None;
                    core.fail_stuck(id);
                    return true;
                }
                State::Starting | State::Running => {
                    core.step(id, Input::Stop(Then::Hold));
                    return true;
                }
                State::Stopping => {
                    let is_asked = core.with(id, |units, id| units.entry(id).lifecycle.is_asked());
                    if is_asked == Some(false) {
                        core.step(id, Input::Stop(Then::Hold));
                    }
                    return false;
                }
                _ => {
                    core.step(id, Input::Stop(Then::Hold));
                    round.stop_at -= 1;
                }
            }
        }
        let waits =
            core.state(round.failed) == Some(State::Waiting) && core.due(round.failed).is_some();
        if !waits {
            self.cursor = self.cursor.min(round.from);
            self.round = None;
        }
        !waits
    }

    fn is_down(&mut self, core: &mut Core<Name>, position: usize, id: usize, down: &mut Down) {
        if !down.on_its_own {
            return;
        }
        if self.described.start_together && !self.has_started && down.failed {
            let error = core.with(id, |units, id| {
                let entry = units.entry(id);
                entry.lifecycle.last_failure().map(|source| (entry.key.clone(), source))
            });
            if let Some((key, source)) = error.flatten() {
                // The outcome has it.
                down.left = None;
                let kept = core.with(id, |units, id| units.entry(id).lifecycle.release());
                kept.flatten().iter().for_each(|kept| kept.mark_handled());
                return core.fail(ManagerError::ClosedFor { key, source, ends_all: false });
            }
        }
        if down.restarts {
            match self.described.strategy.restarts_from(position) {
                // Its run has ended, but has left stuck units behind.
                Some(_) if core.state(id) == Some(State::Stuck) => core.fail_stuck(id),
                Some(from) => self.begin_round(core, from, id),
                None => {}
            }
        } else if self.closes_for(core, id) {
            core.close();
        }
    }

    /// Returns whether the set closes because this unit has ended for good.
    fn closes_for(&self, core: &Core<Name>, id: usize) -> bool {
        let closes = core.with(id, |units, id| {
            let lifecycle = &units.entry(id).lifecycle;
            let has_ended =
                lifecycle.rules.significant && lifecycle.state_when_free() == State::Ended;
            has_ended
                && match self.described.auto_shutdown {
                    AutoShutdown::Never => false,
                    AutoShutdown::AnySignificant => true,
                    AutoShutdown::AllSignificant => !units.has_open_significant(),
                }
        });
        closes == Some(true)
    }

    /// Clears the place of a removed unit.
    fn clear(&mut self, position: usize) {
        if let Some(member) = self.places[position].take() {
            self.positions.remove(&member.id);
            self.live.remove(&position);
            self.empty += 1;
        }
        if self.empty > self.places.len() / 2 && self.round.is_none() && !self.is_stopping {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let cursor = self.places[..self.cursor].iter().flatten().count();
        let live: Vec<usize> =
            self.live.iter().filter_map(|at| Some(self.places[*at].as_ref()?.id)).collect();
        self.places.retain(Option::is_some);
        let ids = self.places.iter().flatten().map(|member| member.id);
        self.positions = ids.enumerate().map(|(position, id)| (id, position)).collect();
        self.live = live.into_iter().map(|id| self.positions[&id]).collect();
        (self.cursor, self.empty) = (cursor, 0);
    }
}

impl FrontEnd<Name> for Members {
    fn poll(&mut self, core: &mut Core<Name>, _: &mut Context<'_>) -> bool {
        let is_busy = self.continue_restarting(core);
        is_busy | self.go_on_starting(core)
    }

    fn moved(&mut self, core: &mut Core<Name>, id: usize, notice: Notice) {
        let Some(&position) = self.positions.get(&id) else {
            // It is stuck since an earlier run of the set, which had added it.
            if let Notice::Down(down) = notice {
                core.report(id, down.left);
            }
            return;
        };
        match notice {
            // A unit before the cursor starts at once. At the cursor or later, and in a round, it starts when its turn
            // comes.
            Notice::Load => {
                self.live.remove(&position);
                let is_in_round = self.round.as_ref().is_some_and(|round| position >= round.from);
                if position < self.cursor && !is_in_round {
                    self.start(core, position);
                }
            }
            Notice::Ready => {}
            Notice::Down(mut down) => {
                if !core.state(id).is_some_and(State::has_run) {
                    self.live.remove(&position);
                }
                if core.state(id).is_none() {
                    self.clear(position);
                } else if !core.is_closing() {
                    self.is_down(core, position, id, &mut down);
                }
                core.report(id, down.left);
            }
        }
    }

    fn command(&mut self, core: &mut Core<Name>, command: Command<Name>) {
        match command {
            Command::Start { key, reply } | Command::Restart { key, reply } => {
                reply.give(Err(ManagerError::NotFound { key }));
            }
            Command::Stop { key, reply } | Command::SetOnFailure { key, reply, .. } => {
                reply.give(Err(ManagerError::NotFound { key }));
            }
            Command::Add { key, unit, reply } => reply.give(self.add(core, key, *unit)),
            Command::Remove { key, reply } => match core.find(&key) {
                None => reply.give(Err(ManagerError::NotFound { key })),
                Some(id) => {
                    core.stop_by_call(id, reply, Then::Forget);
                    if let (None, Some(&position)) = (core.state(id), self.positions.get(&id)) {
                        self.clear(position);
                    }
                }
            },
            // A set has no table.
            Command::Scan { reply } => reply.give(Ok(())),
        }
    }

    fn is_started(&self, _: &Core<Name>) -> bool {
        self.cursor == self.places.len() && self.round.is_none()
    }

    fn body_begins(&mut self) {
        self.has_started = true;
    }

    fn has_ended(&self, core: &Core<Name>) -> bool {
        let counts = core.shared.counts();
        !self.described.keep_open && counts.ended == counts.units && self.is_started(core)
    }

    fn stop(&mut self, core: &mut Core<Name>) {
        self.round = None;
        self.is_stopping = true;
        self.stop_at = self.places.len();
        let idle = self.places.iter().flatten().map(|member| member.id);
        for id in idle {
            if core.state(id).is_some_and(|state| !state.has_run()) {
                core.step(id, Input::Stop(Then::Forget));
            }
        }
    }

    fn continue_stopping(&mut self, core: &mut Core<Name>) -> bool {
        while let Some(position) = self.stop_at.checked_sub(1) {
            let id = self.places[position].as_ref().map(|member| member.id);
            match id.and_then(|id| Some((id, core.state(id)?))) {
                Some((id, State::Starting | State::Running | State::Stopping)) => {
                    let ask = (position, core.is_aborting());
                    if self.asked.replace(ask) == Some(ask) {
                        return false;
                    }
                    core.step(
                        id,
                        if ask.1 { Input::Abort(Then::Forget) } else { Input::Stop(Then::Forget) },
                    );
                    return true;
                }
                Some((id, _)) => {
                    core.step(id, Input::Stop(Then::Forget));
                    self.stop_at = position;
                }
                None => self.stop_at = position,
            }
        }
        false
    }
}
