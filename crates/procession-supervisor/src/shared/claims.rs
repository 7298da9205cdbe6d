//! [`Claims`]: the units that a manager has claimed, as the [`Face`] of the engine.
//!
//! 1. A unit is released once for each claim, and only when it has no run (U1). Argument: an entry of `held` is made
//!    for each claim. It is removed only by [`Claims::release`], which is called when the engine reports that the unit
//!    is down for good, or, for the rest, when this value is dropped; then only units that the engine has forgotten
//!    are released. A unit that is stuck stays held, and its lease runs out.
//! 2. Each start has the current token. Argument: a start takes it from `held`, and an order changes it there first.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::Stream;
use procession::BoxError;
use procession::support::catch;

use super::claim::{Claim, Factory};
use super::lease::{Lease, Term};
use super::manager::Settings;
use super::table::{Claimed, Order, Ordered, Record, Token};
use super::worker::{FromTable, ToTable};
use crate::engine::{Command, Core, Face, Shared, stop_all};
use crate::error::ManagerError;
use crate::event::Happening;
use crate::life::{Down, Input, News, Then};
use crate::name::{name_of, process_name_of};
use crate::state::{HasRun, State};
use crate::unit::Unit;

pub(super) struct Claims {
    settings: Arc<Settings>,
    factory: Arc<Factory>,
    term: Arc<Term>,
    shared: Arc<Shared<String>>,
    from: Pin<Box<async_channel::Receiver<FromTable>>>,
    to: mpsc::Sender<ToTable>,
    /// The claims, by the ids of their units.
    held: HashMap<usize, Held>,
    /// When running units become steady.
    steady: BTreeSet<(Instant, usize)>,
    /// Units that were stopped because another manager should run them.
    surplus: usize,
    has_looked: bool,
    has_aborted: bool,
}

struct Held {
    claim: Claim,
    steady_at: Option<Instant>,
    /// It was stopped because the manager owned too many.
    is_surplus: bool,
}

impl Claims {
    pub(super) fn new(
        settings: Arc<Settings>,
        factory: Arc<Factory>,
        term: Arc<Term>,
        shared: Arc<Shared<String>>,
        from: async_channel::Receiver<FromTable>,
        to: mpsc::Sender<ToTable>,
    ) -> Self {
        Self {
            settings,
            factory,
            term,
            shared,
            from: Box::pin(from),
            to,
            held: HashMap::new(),
            steady: BTreeSet::new(),
            surplus: 0,
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
            FromTable::Surplus(count) => self.shed(core, count),
            FromTable::Looked => self.has_looked = true,
        }
    }

    fn claimed(&mut self, core: &mut Core<String>, row: Claimed) {
        let lease = Lease::new(&self.term, row.key.as_str().into(), row.token);
        let claim = Claim::new(row, lease);
        let key = claim.key().to_owned();
        core.tell(Some(key.clone()), Happening::Claimed { token: claim.lease().token().get() });
        let looked = core.look_for(&key);
        if looked.known.is_some() {
            let error = "an earlier run in this program has not ended";
            return self.refuse(core, &claim, error.into());
        }
        match self.describe(&claim) {
            Ok(unit) => {
                core.plan_new(&looked, key.clone(), unit, 0);
                if let Some(id) = core.find(&key) {
                    let held = Held { claim, steady_at: None, is_surplus: false };
                    self.held.insert(id, held);
                }
            }
            Err(error) => self.refuse(core, &claim, error),
        }
    }

    /// Makes the unit of a claim, in the user's code.
    fn describe(&self, claim: &Claim) -> Result<Unit, BoxError> {
        catch(|| (self.factory)(claim))
            .unwrap_or_else(|message| Err(format!("the factory panicked: {message}").into()))
    }

    /// Gives back a claim that cannot be started.
    fn refuse(&self, core: &Core<String>, claim: &Claim, error: BoxError) {
        let (key, token) = (claim.key().to_owned(), claim.lease().token());
        let text = procession::support::with_causes(&*error).to_string();
        let limit = self.settings.failure_limit;
        self.tell(ToTable::Record(key.clone(), token, Record::Failed { error: text, limit }));
        core.tell(Some(key.clone()), Happening::LoadFailed { error: error.into(), delay: None });
        claim.lease().end();
        self.tell(ToTable::Release(key, token));
    }

    fn ordered(&mut self, core: &mut Core<String>, Order { key, token, what }: Order) {
        let Some(id) = self.id_of(core, &key, token) else { return };
        match what {
            Ordered::Stop => self.stop_one(core, id),
            Ordered::Restart { kind, spec, generation } => {
                let Some(held) = self.held.get_mut(&id) else { return };
                if held.claim.generation() == generation {
                    return;
                }
                held.claim.set_spec(kind, spec, generation);
                core.tell(Some(key.clone()), Happening::Changed);
                self.tell(ToTable::Record(key, token, Record::Restarted { generation }));
                core.restart(id);
            }
        }
    }

    fn id_of(&self, core: &Core<String>, key: &String, token: Token) -> Option<usize> {
        let id = core.find(key)?;
        let held = self.held.get(&id)?;
        (held.claim.lease().token() == token).then_some(id)
    }

    /// Stops a unit and releases it.
    fn stop_one(&mut self, core: &mut Core<String>, id: usize) {
        core.step(id, Input::Stop(Then::Forget));
        if core.state(id).is_none() {
            self.release(id);
        }
    }

    /// Another manager owns the unit, or the table does not know the claim.
    fn lost(&mut self, core: &mut Core<String>, key: &String, token: Token) {
        if let Some(id) = self.id_of(core, key, token) {
            if let Some(held) = self.held.get(&id) {
                held.claim.lease().end();
            }
            core.step(id, Input::Abort(Then::Forget));
            if core.state(id).is_none() {
                self.release(id);
            }
        }
    }

    /// Stops units because other managers should run them.
    fn shed(&mut self, core: &mut Core<String>, count: usize) {
        let more = count.saturating_sub(self.surplus);
        let ids = self.held.iter().filter(|(_, held)| !held.is_surplus).map(|(id, _)| *id);
        let ids: Vec<usize> = ids.take(more).collect();
        for id in ids {
            if let Some(held) = self.held.get_mut(&id) {
                held.is_surplus = true;
                self.surplus += 1;
            }
            self.stop_one(core, id);
        }
    }

    /// Starts a unit again.
    fn start(&mut self, core: &mut Core<String>, id: usize) {
        let Some(held) = self.held.get(&id) else { return };
        let key = held.claim.key().to_owned();
        match self.describe(&held.claim) {
            Ok(unit) => {
                core.set_rules(id, &unit);
                core.start(id, process_name_of(&key), &unit, None, None);
            }
            Err(error) => {
                let limit = self.settings.failure_limit;
                let text = procession::support::with_causes(&*error).to_string();
                self.record(id, Record::Failed { error: text, limit });
                let (key, error) = (name_of(&key), error.into());
                core.step(id, Input::NotLoaded { key, error, forget: false });
            }
        }
    }

    fn down(&mut self, core: &mut Core<String>, id: usize, down: &Down) {
        self.forget_steady(id);
        let state = core.state(id);
        if down.failed {
            let error = core.with(id, |units, id| units.entry(id).life.last_failure()).flatten();
            let error = error.map_or_else(String::new, |error| {
                procession::support::with_causes(&error).to_string()
            });
            // A unit that is given up must not start elsewhere.
            let is_final = state != Some(State::Waiting);
            let limit = if is_final { 0 } else { self.settings.failure_limit };
            self.record(id, Record::Failed { error, limit });
        }
        match state {
            Some(state) if state == State::Waiting || state.has_run() => {}
            Some(_) => {
                if down.by_itself && !down.failed {
                    self.record(id, Record::Done);
                }
                core.step(id, Input::Stop(Then::Forget));
                self.release(id);
            }
            None => self.release(id),
        }
    }

    fn is_ready(&mut self, core: &Core<String>, id: usize) {
        self.record(id, Record::Ready);
        let Some(at) = core.after(self.settings.policy.steady_after) else { return };
        if let Some(held) = self.held.get_mut(&id) {
            held.steady_at = Some(at);
            self.steady.insert((at, id));
        }
    }

    fn forget_steady(&mut self, id: usize) {
        let at = self.held.get_mut(&id).and_then(|held| held.steady_at.take());
        if let Some(at) = at {
            self.steady.remove(&(at, id));
        }
    }

    fn poll_steady(&mut self, core: &Core<String>) {
        while let Some(&(at, id)) = self.steady.first().filter(|(at, _)| *at <= core.now()) {
            self.steady.remove(&(at, id));
            if let Some(held) = self.held.get_mut(&id) {
                held.steady_at = None;
                self.record(id, Record::Steady);
            }
        }
    }

    fn record(&self, id: usize, record: Record) {
        if let Some(Held { claim, .. }) = self.held.get(&id) {
            self.tell(ToTable::Record(claim.key().to_owned(), claim.lease().token(), record));
        }
    }

    /// Gives a claim back. Its unit has no run.
    fn release(&mut self, id: usize) {
        self.forget_steady(id);
        if let Some(Held { claim, is_surplus, .. }) = self.held.remove(&id) {
            self.surplus -= usize::from(is_surplus);
            claim.lease().end();
            self.tell(ToTable::Release(claim.key().to_owned(), claim.lease().token()));
        }
    }

    fn tell(&self, what: ToTable) {
        // The thread ends early only if the lease has ended.
        let _sent = self.to.send(what);
    }
}

impl Face<String> for Claims {
    fn poll(&mut self, core: &mut Core<String>, context: &mut Context<'_>) -> bool {
        self.poll_steady(core);
        // An order could concern a unit whose run is planned.
        if core.has_planned() {
            return true;
        }
        match self.from.as_mut().poll_next(context) {
            Poll::Ready(Some(told)) => {
                self.take(core, told);
                true
            }
            Poll::Ready(None) | Poll::Pending => false,
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.steady.first().map(|(at, _)| *at)
    }

    fn moved(&mut self, core: &mut Core<String>, id: usize, news: News) {
        match news {
            News::Load => self.start(core, id),
            News::Ready => self.is_ready(core, id),
            News::Down(down) => self.down(core, id, &down),
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
        self.from.close();
        self.has_aborted = core.is_aborting();
        stop_all(core, self.has_aborted);
    }

    fn go_on_stopping(&mut self, core: &mut Core<String>) -> bool {
        if self.has_aborted || !core.is_aborting() {
            return false;
        }
        self.has_aborted = true;
        stop_all(core, true);
        true
    }
}

impl Drop for Claims {
    /// Releases the units that were forgotten without a run, for example while they waited for their restart.
    fn drop(&mut self) {
        let ids: Vec<usize> = self.held.keys().copied().collect();
        for id in ids {
            let key = self.held[&id].claim.key().to_owned();
            if self.shared.units.lock().find(&key).is_none() {
                self.release(id);
            }
        }
    }
}
