//! [`Claims`]: the units that a manager has claimed, as the [`FrontEnd`] of the engine.
//!
//! 1. A unit is released once for each claim, and only when it has no run (U1). Argument: an entry of `held` is made
//!    for each claim. It is removed only by [`Claims::forget`], for a release after the engine has reported that the
//!    unit is down for good, or because another claim takes its place. When this value is dropped, after the last run
//!    of this lease has ended or is stuck, it releases the units that the engine has forgotten. A unit that is stuck
//!    stays held, and its lease runs out.
//! 2. Each start has the current token. Argument: a start takes it from `held`, and a claim or an order changes it
//!    there first.
//! 3. The numbers of a claim's records grow. Argument: its entry of `held` counts them, and only [`Claims::record`]
//!    makes records.
//! 4. A unit has at most one run in this program, whatever the table says (U1). Argument: the engine has one entry for
//!    each key, and a claim of a unit that still has a run only says that this entry starts again after that run.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::error::Error as StdError;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::Instant;

use procession::BoxError;
use procession::support::{catch, with_causes};

use super::balance::Surplus;
use super::claim::{Claim, Factory};
use super::held::{Held, HeldClaims, Tokens};
use super::lease::{Lease, Term};
use super::settings::Settings;
use super::table::{Claimed, ManagerId, Order, Ordered, Record, Request, Token, Write};
use super::worker::{FromTable, ToTable};
use crate::engine::inbox::Inbox;
use crate::engine::{Command, Core, FrontEnd, Shared, stop_all};
use crate::error::ManagerError;
use crate::event::Happening;
use crate::lifecycle::{Closes, Down, Input, Notice, Then};
use crate::name::{name_of, process_name_of};
use crate::state::{HasRun, State};
use crate::unit::Unit;

/// The maximum number of bytes of an error that the table keeps.
const ERROR_LIMIT: usize = 4096;

pub(super) struct Claims {
    settings: Arc<Settings>,
    factory: Arc<Factory>,
    term: Arc<Term>,
    shared: Arc<Shared<String>>,
    from: Arc<Inbox<FromTable>>,
    /// What was taken from there, and is next.
    told: VecDeque<FromTable>,
    to: mpsc::Sender<ToTable>,
    held: HeldClaims,
    /// When running units become steady.
    steady: BTreeSet<(Instant, usize)>,
    has_looked: bool,
    has_aborted: bool,
}

impl Claims {
    pub(super) fn new(
        settings: Arc<Settings>,
        factory: Arc<Factory>,
        term: Arc<Term>,
        shared: Arc<Shared<String>>,
        from: Arc<Inbox<FromTable>>,
        to: mpsc::Sender<ToTable>,
        tokens: Arc<Tokens>,
    ) -> Self {
        term.runs.begin();
        Self {
            settings,
            factory,
            term,
            shared,
            from,
            told: VecDeque::new(),
            to,
            held: HeldClaims::new(tokens),
            steady: BTreeSet::new(),
            has_looked: false,
            has_aborted: false,
        }
    }

    fn take(&mut self, core: &mut Core<String>, told: FromTable) {
        match told {
            FromTable::Claimed(rows) => rows.into_iter().for_each(|row| self.claimed(core, row)),
            FromTable::Orders(orders) => {
                orders.into_iter().for_each(|order| self.ordered(core, order));
            }
            FromTable::Lost(key, token) => self.lost(core, &key, token),
            FromTable::Owned(owned) => {
                owned.into_iter().for_each(|(key, token)| self.owned(core, key, token));
            }
            FromTable::Surplus(surplus) => self.shed(core, &surplus),
            FromTable::Looked => self.has_looked = true,
        }
    }

    fn claimed(&mut self, core: &mut Core<String>, row: Claimed) {
        // The program may have been paused since the claim.
        if !self.term.is_valid() {
            return;
        }
        let lease = Lease::new(&self.term, row.key.as_str().into(), row.token);
        let claim = Claim::new(row, lease);
        let key = claim.key().to_owned();
        core.tell(Some(key.clone()), Happening::Claimed { token: claim.lease().token().get() });
        let held = Held {
            claim,
            records: 0,
            steady_at: None,
            is_stopping: false,
            is_surplus: false,
            leaves_for: None,
        };
        if let Some(id) = core.find(&key) {
            return self.claimed_again(core, id, held);
        }
        let described = self.describe(&held.claim);
        let lookup = core.look_for(&key);
        match described {
            Ok(unit) => {
                core.plan_new(&lookup, key.clone(), unit, 0);
                if let Some(id) = core.find(&key) {
                    self.held.insert(id, held);
                }
            }
            Err(error) => {
                let id = core.add_new(&lookup, key, 0);
                self.held.insert(id, held);
                self.not_described(core, id, error);
            }
        }
    }

    /// A unit was claimed that this program has lost, and whose run has not ended here yet: it starts after that run.
    fn claimed_again(&mut self, core: &mut Core<String>, id: usize, held: Held) {
        if let Some(lost) = self.forget(id) {
            lost.claim.lease().end();
        }
        self.held.insert(id, held);
        self.restart(core, id);
    }

    /// Starts a unit anew: earlier restarts do not count.
    fn restart(&self, core: &mut Core<String>, id: usize) {
        let policy = &self.shared.about.policy;
        core.with(id, |units, id| units.entry(id).lifecycle.forgive(policy));
        core.restart(id);
    }

    /// Makes the unit of a claim, in the user's code.
    fn describe(&self, claim: &Claim) -> Result<Unit, BoxError> {
        catch(|| (self.factory)(claim))
            .unwrap_or_else(|message| Err(format!("the factory panicked: {message}").into()))
    }

    /// A unit cannot be started. Its claim is kept, and there are pauses before the next attempts.
    fn not_described(&mut self, core: &mut Core<String>, id: usize, error: BoxError) {
        let Some(held) = self.held.get(id) else { return };
        let key = name_of(&held.claim.key().to_owned());
        self.record(id, self.failure(&*error));
        core.step(id, Input::NotLoaded { key, error: error.into(), forget: false });
    }

    fn ordered(&mut self, core: &mut Core<String>, Order { key, token, what }: Order) {
        let Some(id) = self.id_of(core, &key, token) else { return };
        match what {
            Ordered::Stop => self.stop_one(core, id),
            Ordered::Restart { kind, spec, generation } => {
                let Some(held) = self.held.get_mut(id) else { return };
                // A unit that other managers should run starts there.
                if held.claim.generation() == generation || held.is_surplus {
                    return;
                }
                held.claim.set_spec(kind, spec, generation);
                self.forget_steady(id);
                core.tell(Some(key), Happening::Changed);
                self.record(id, Record::Restarted { generation });
                self.restart(core, id);
            }
        }
    }

    fn id_of(&self, core: &Core<String>, key: &String, token: Token) -> Option<usize> {
        let id = core.find(key)?;
        let held = self.held.get(id)?;
        (held.claim.lease().token() == token).then_some(id)
    }

    /// Stops a unit and releases it.
    fn stop_one(&mut self, core: &mut Core<String>, id: usize) {
        self.forget_steady(id);
        if let Some(held) = self.held.get_mut(id) {
            held.is_stopping = true;
        }
        core.step(id, Input::Stop(Then::Forget));
        if core.state(id).is_none() {
            self.release(id);
        }
    }

    /// Another manager owns the unit, or the table does not know the claim.
    fn lost(&mut self, core: &mut Core<String>, key: &String, token: Token) {
        if let Some(id) = self.id_of(core, key, token) {
            if let Some(held) = self.held.get_mut(id) {
                held.is_stopping = true;
                held.claim.lease().end();
            }
            core.step(id, Input::Abort(Then::Forget));
            if core.state(id).is_none() {
                self.release(id);
            }
        }
    }

    /// This manager owns the unit. If it was not told of the claim, the answer was lost, and there is no run.
    fn owned(&self, core: &Core<String>, key: String, token: Token) {
        if self.id_of(core, &key, token).is_none() {
            self.tell(ToTable::Write(Write::release(key, token)));
        }
    }

    /// Stops units because other managers should run them.
    fn shed(&mut self, core: &mut Core<String>, surplus: &Surplus) {
        let running = self.held.iter().filter(|(_, held)| !held.is_stopping).count();
        let mut exceeding = running.saturating_sub(surplus.keep);
        let Some(requests) = &surplus.requests else {
            self.hand_to(core, exceeding, None, |_| true);
            return;
        };
        // Each manager has one request, so what leaves for it now does not count for another one.
        let mut leaving: HashMap<ManagerId, usize> = HashMap::new();
        for manager in self.held.iter().filter_map(|(_, held)| held.leaves_for) {
            *leaving.entry(manager).or_default() += 1;
        }
        let mut all: usize = leaving.values().sum();
        for Request { manager, wanted, kinds, .. } in requests {
            let own = leaving.get(manager).copied().unwrap_or(0);
            let most = exceeding.min(surplus.most(*wanted, own, all));
            if most == 0 {
                continue;
            }
            let is_meant = |kind: &str| kinds.iter().any(|one| one == kind);
            let count = self.hand_to(core, most, Some(*manager), is_meant);
            (exceeding, all) = (exceeding - count, all + count);
        }
    }

    /// Stops at most `most` units of the kinds that are meant, so that another manager can claim them. Returns how many.
    fn hand_to(
        &mut self,
        core: &mut Core<String>,
        most: usize,
        manager: Option<ManagerId>,
        is_meant: impl Fn(&str) -> bool,
    ) -> usize {
        let may_leave = |held: &Held| !held.is_stopping && is_meant(held.claim.kind());
        let ids = self.held.iter().filter(|(_, held)| may_leave(held)).map(|(id, _)| id);
        let ids: Vec<usize> = ids.take(most).collect();
        for id in &ids {
            if let Some(held) = self.held.get_mut(*id) {
                (held.is_surplus, held.leaves_for) = (true, manager);
            }
            self.stop_one(core, *id);
        }
        ids.len()
    }

    /// Starts a unit again.
    fn start(&mut self, core: &mut Core<String>, id: usize) {
        let Some(held) = self.held.get(id) else { return };
        // The watch aborts everything at this moment.
        if !self.term.is_valid() {
            return core.step(id, Input::Stop(Then::Forget));
        }
        let key = held.claim.key().to_owned();
        match self.describe(&held.claim) {
            Ok(unit) => {
                core.set_rules(id, &unit);
                core.start(id, process_name_of(&key), &unit, None, None);
            }
            Err(error) => self.not_described(core, id, error),
        }
    }

    fn down(&mut self, core: &mut Core<String>, id: usize, down: &Down) {
        self.forget_steady(id);
        let is_final = core.state_when_free(id) != Some(State::Waiting);
        if down.failed {
            let error =
                core.with(id, |units, id| units.entry(id).lifecycle.last_failure()).flatten();
            if let Some(error) = error {
                let mut failure = self.failure(&error);
                // A unit that is not restarted here must not start elsewhere. Not so if all units together failed too
                // often: then any of them may be the cause.
                let in_total =
                    matches!(down.closes_all, Some(Closes::GaveUp { in_total: true, .. }));
                let is_over = is_final && !in_total;
                if let (true, Record::Failed { limit, .. }) = (is_over, &mut failure) {
                    *limit = 0;
                }
                self.record(id, failure);
            }
        } else if down.on_its_own && is_final {
            self.record(id, Record::Done);
        }
        match core.state(id) {
            Some(state) if state == State::Waiting || state.has_run() => {}
            Some(_) => {
                core.step(id, Input::Stop(Then::Forget));
                self.release(id);
            }
            None => self.release(id),
        }
    }

    fn is_ready(&mut self, core: &Core<String>, id: usize) {
        self.forget_steady(id);
        self.record(id, Record::Ready);
        let Some(at) = core.after(core.policy().steady_after) else { return };
        if let Some(held) = self.held.get_mut(id) {
            held.steady_at = Some(at);
            self.steady.insert((at, id));
        }
    }

    fn forget_steady(&mut self, id: usize) {
        let at = self.held.get_mut(id).and_then(|held| held.steady_at.take());
        if let Some(at) = at {
            self.steady.remove(&(at, id));
        }
    }

    fn poll_steady(&mut self, core: &Core<String>) {
        while let Some(&(at, id)) = self.steady.first().filter(|(at, _)| *at <= core.now()) {
            self.steady.remove(&(at, id));
            if let Some(held) = self.held.get_mut(id) {
                held.steady_at = None;
                self.record(id, Record::Steady);
            }
        }
    }

    fn record(&mut self, id: usize, record: Record) {
        if let Some(Held { claim, records, .. }) = self.held.get_mut(id) {
            *records += 1;
            let write = Write::record(claim.key(), claim.lease().token(), record);
            let write = write.numbered(*records);
            self.tell(ToTable::Write(write));
        }
    }

    /// The record of a failure. The error's text is foreign code.
    fn failure(&self, error: &(dyn StdError + 'static)) -> Record {
        let text = catch(|| with_causes(error).to_string());
        let mut error = text.unwrap_or_else(|_| "(the text of the error panicked)".to_owned());
        // A text that the store cannot keep would hold up all writes behind it.
        let end = (0..=ERROR_LIMIT.min(error.len())).rev().find(|end| error.is_char_boundary(*end));
        error.truncate(end.unwrap_or(0));
        Record::Failed { error, limit: self.settings.failure_limit }
    }

    /// Gives a claim back. Its unit has no run.
    fn release(&mut self, id: usize) {
        if let Some(Held { claim, .. }) = self.forget(id) {
            claim.lease().end();
            self.tell(ToTable::Write(Write::release(claim.key(), claim.lease().token())));
        }
    }

    fn forget(&mut self, id: usize) -> Option<Held> {
        self.forget_steady(id);
        self.held.remove(id)
    }

    /// Releases the units that the engine has forgotten without a run, for example while they waited for their restart.
    fn release_forgotten(&mut self) {
        let is_forgotten = |held: &Held| {
            let key = held.claim.key().to_owned();
            self.shared.units.lock().find(&key).is_none()
        };
        let ids = self.held.iter().filter(|(_, held)| is_forgotten(held)).map(|(id, _)| id);
        let ids: Vec<usize> = ids.collect();
        ids.into_iter().for_each(|id| self.release(id));
    }

    fn tell(&self, what: ToTable) {
        // The thread ends early only if the lease has ended.
        let _sent = self.to.send(what);
    }
}

impl FrontEnd<String> for Claims {
    fn poll(&mut self, core: &mut Core<String>, context: &mut Context<'_>) -> bool {
        self.poll_steady(core);
        let (told, _) = self.from.take(context.waker());
        self.told.extend(told);
        let mut is_busy = false;
        // An order could concern a unit whose run is planned.
        while !core.has_planned() {
            let Some(told) = self.told.pop_front() else { return is_busy };
            self.take(core, told);
            is_busy = true;
        }
        true
    }

    fn next_due(&self) -> Option<Instant> {
        self.steady.first().map(|(at, _)| *at)
    }

    fn moved(&mut self, core: &mut Core<String>, id: usize, notice: Notice) {
        match notice {
            Notice::Load => self.start(core, id),
            Notice::Ready => self.is_ready(core, id),
            Notice::Down(down) => self.down(core, id, &down),
        }
    }

    /// Units are started and stopped through the table.
    fn command(&mut self, _: &mut Core<String>, command: Command<String>) {
        let not_found = |key: &String| ManagerError::NotFound { key: name_of(key) };
        match command {
            Command::Start { key, reply } | Command::Restart { key, reply } => {
                reply.give(Err(not_found(&key)));
            }
            Command::Stop { key, reply }
            | Command::SetOnFailure { key, reply, .. }
            | Command::Add { key, reply, .. }
            | Command::Remove { key, reply } => reply.give(Err(not_found(&key))),
            Command::Scan { reply } => reply.give(Ok(())),
        }
    }

    fn is_started(&self, core: &Core<String>) -> bool {
        self.has_looked && core.shared.counts().starting == 0
    }

    fn stop(&mut self, core: &mut Core<String>) {
        let (told, _) = self.from.take(Waker::noop());
        self.from.close();
        for told in std::mem::take(&mut self.told).into_iter().chain(told) {
            if let FromTable::Claimed(rows) = told {
                for row in rows {
                    self.tell(ToTable::Write(Write::release(row.key, row.token)));
                }
            }
        }
        self.has_aborted = core.is_aborting();
        stop_all(core, self.has_aborted);
        self.release_forgotten();
    }

    fn continue_stopping(&mut self, core: &mut Core<String>) -> bool {
        if self.has_aborted || !core.is_aborting() {
            return false;
        }
        self.has_aborted = true;
        stop_all(core, true);
        self.release_forgotten();
        true
    }
}

impl Drop for Claims {
    /// What is still held then is stuck.
    fn drop(&mut self) {
        self.release_forgotten();
        self.term.runs.end(&self.shared);
        self.tell(ToTable::Finish { leaves: self.held.is_empty() });
    }
}
