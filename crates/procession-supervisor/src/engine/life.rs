//! The life of a unit: started, ready, ended, started again; stopped, aborted, stuck.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use procession::{Error, Process};
use procession_runnable::{NotReady, Start};

use super::command::{Reply, answer};
use super::drive::Drive;
use super::inbox::{RunId, Watcher};
use super::units::{Live, Then};
use crate::error::ManagerError;
use crate::event::Event;
use crate::settings::GiveUp;
use crate::status::State;
use crate::table::Key;
use crate::unit::Unit;

impl<K: Key> Drive<K> {
    /// Starts a unit that was not known.
    pub(super) fn start_new(&mut self, key: K, unit: Unit) {
        if self.is_stopping() {
            return;
        }
        let now = self.now();
        let id = self.engine.units.lock().insert(key, self.generation, now);
        self.start(id, unit);
    }

    /// Starts a run of a unit whose row has been read.
    pub(super) fn start(&mut self, id: usize, unit: Unit) {
        let now = self.now();
        let (key, run) = {
            let mut units = self.engine.units.lock();
            let run = units.next_run(id);
            let entry = units.entry(id);
            (entry.restart, entry.grace) = (unit.restart, unit.grace);
            (entry.key.clone(), run)
        };
        let (start, readiness) = Start::under(&self.group);
        self.name.clear();
        // Writing to a string does not fail.
        let _written = write!(self.name, "{key}");
        let start = start.named(&self.name);
        let started = unit.start(start, &self.group.label());
        match started {
            Ok(process) => {
                self.engine.settings.policy.bound(&process, unit.grace);
                let watcher = Watcher::new(self.engine.inbox.clone(), run);
                let live = Live {
                    closed: process.closed(),
                    process,
                    readiness: Some(readiness),
                    unready: None,
                    is_aborted: false,
                    is_watched: false,
                    watcher,
                };
                let mut units = self.engine.units.lock();
                units.set_state(id, State::Starting, now);
                units.entry(id).live = Some(live);
                drop(units);
                self.engine.events.tell(Event::Started { key });
                self.look(run);
            }
            Err(error) => self.ended_by_itself(id, Some(error)),
        }
    }

    /// Looks at a run: is it ready, has it ended?
    pub(super) fn look(&mut self, run: RunId) {
        let now = self.now();
        let mut units = self.engine.units.lock();
        let Some(entry) = units.entry_of(run) else { return };
        let Some(live) = &mut entry.live else { return };
        live.watcher.rearm();
        let waker = Waker::from(live.watcher.clone());
        let mut context = Context::from_waker(&waker);
        let mut is_ready = false;
        let mut to_close = None;
        if let Some(readiness) = &mut live.readiness {
            if let Poll::Ready(ready) = Pin::new(readiness).poll(&mut context) {
                live.readiness = None;
                match ready {
                    Ok(()) => is_ready = entry.then == Then::Nothing,
                    Err(NotReady::Ended(label)) => {
                        live.unready = Some(Box::new(label));
                        to_close = Some(live.process.clone());
                    }
                    // Its outcome says more.
                    Err(_) => {}
                }
            }
        }
        // The waker that stands there stays.
        let is_watched = std::mem::replace(&mut live.is_watched, true);
        let closed = if !is_watched || live.process.is_closed() {
            Pin::new(&mut live.closed).poll(&mut context)
        } else {
            Poll::Pending
        };
        if is_ready {
            let process = live.process.clone();
            let starters = entry.take_starters();
            let key = entry.key.clone();
            units.set_state(run.unit, State::Running, now);
            drop(units);
            self.engine.events.tell(Event::Ready { key });
            answer(starters, &Ok(process));
        } else {
            drop(units);
        }
        if let Some(process) = to_close {
            process.close();
        }
        if let Poll::Ready(outcome) = closed {
            self.closed(run.unit, outcome);
        }
    }

    /// A run is Closed: its key is free.
    fn closed(&mut self, id: usize, outcome: Result<(), Error>) {
        self.see_closing();
        let now = self.now();
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        let Some(live) = entry.live.take() else { return };
        let then = std::mem::replace(&mut entry.then, Then::Nothing);
        let error = outcome.err();
        if then == Then::Nothing {
            drop(units);
            let unready = live.unready.map(|label| NotReady::of(*label));
            return self.ended_by_itself(id, error.or(unready));
        }
        units.set_due(id, None);
        let entry = units.entry(id);
        let key = entry.key.clone();
        let policy = &self.engine.settings.policy;
        let grace = entry.grace.unwrap_or(policy.grace);
        let before = error
            .clone()
            .and_then(|error| entry.past(policy).last_error.replace(ManagerError::Failed(error)));
        let starters = entry.take_starters();
        let stoppers = entry.take_stoppers();
        let stopped = Err(ManagerError::Stopped { key: entry.name() });
        let removed = match then {
            Then::Stay | Then::Again => {
                let state = if then == Then::Stay { State::Stopped } else { State::Loading };
                units.set_state(id, state, now);
                None
            }
            Then::Forget | Then::Nothing => Some(units.remove(id)),
        };
        drop(units);
        // The deadline may have passed while this task was held up.
        let was_aborted = live.process.is_aborting() && !self.group.is_aborting();
        if was_aborted && !live.is_aborted {
            self.engine.events.tell(Event::Aborted { key: key.clone(), grace });
        }
        // What is dropped may be the user's, who may call anything.
        drop((live, before, removed));
        self.engine.events.tell(Event::Stopped { key: key.clone(), error: error.clone() });
        answer(starters, &stopped);
        answer(stoppers, &error.map_or(Ok(()), |error| Err(ManagerError::Failed(error))));
        if then == Then::Again {
            self.load(key);
        }
    }

    /// A run has ended that nobody had asked to stop, or it could not start.
    fn ended_by_itself(&mut self, id: usize, error: Option<Error>) {
        let now = self.now();
        let policy = &self.engine.settings.policy;
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        let (was_ready, since) = (entry.state() == State::Running, entry.since());
        if let (true, Some(restarts)) = (was_ready, entry.restarts()) {
            restarts.ran(policy, since, now);
        }
        let failed = error.clone().map(ManagerError::Failed);
        let before =
            failed.clone().and_then(|failed| entry.past(policy).last_error.replace(failed));
        let (key, restart) = (entry.key.clone(), entry.restart);
        let starters = entry.take_starters();
        let ended = Err(ManagerError::Stopped { key: entry.name() });
        units.set_state(id, State::Ended, now);
        drop(units);
        drop(before);
        self.engine.events.tell(match &error {
            Some(error) => Event::Failed { key, error: error.clone() },
            None => Event::Ended { key },
        });
        answer(starters, &failed.map_or(ended, Err));
        if restart.after(error.is_some()) {
            self.start_later(id, error);
        }
    }

    /// Starts a unit again after its pause, unless that was too often.
    fn start_later(&mut self, id: usize, error: Option<Error>) {
        let now = self.now();
        let settings = &self.engine.settings;
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        let (key, name) = (entry.key.clone(), entry.name());
        let restarts = &mut entry.past(&settings.policy).restarts;
        let delay = restarts.again(&settings.policy, now);
        let count = restarts.count;
        let Some(delay) = delay else {
            units.set_state(id, State::GivenUp, now);
            drop(units);
            self.engine.events.tell(Event::GaveUp { key, error: error.clone() });
            if settings.give_up == GiveUp::Manager {
                self.failure = Some(ManagerError::GaveUp { key: name, source: error });
                self.stop_all();
            }
            return;
        };
        units.set_state(id, State::Waiting, now);
        units.set_due(id, now.checked_add(delay));
        drop(units);
        self.engine.events.tell(Event::Restarting { key, delay, restarts: count });
    }

    /// Something is due for a unit: its restart, or the end of its patience.
    pub(super) fn due(&mut self, id: usize, now: Instant) {
        let settings = &self.engine.settings;
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        let key = entry.key.clone();
        if entry.state() == State::Waiting {
            // Many that are due at once do not start in one burst.
            let pace = settings.pace;
            if now.duration_since(self.paced.0) >= pace.within {
                self.paced = (now, 0);
            }
            if self.paced.1 >= pace.count.max(1) && !pace.within.is_zero() {
                units.set_due(id, self.paced.0.checked_add(pace.within));
                return;
            }
            self.paced.1 += 1;
            units.set_state(id, State::Loading, now);
            drop(units);
            return self.load(key);
        }
        let grace = entry.grace.unwrap_or(settings.policy.grace);
        let Some(live) = &mut entry.live else { return };
        if !std::mem::replace(&mut live.is_aborted, true) {
            let process = live.process.clone();
            units.set_due(id, now.checked_add(settings.policy.abort_grace));
            drop(units);
            self.engine.events.tell(Event::Aborted { key, grace });
            process.abort();
            return;
        }
        let stoppers = entry.take_stoppers();
        let starters = entry.take_starters();
        let stuck = ManagerError::Stuck { keys: [entry.name()].into() };
        units.set_state(id, State::Stuck, now);
        drop(units);
        self.engine.events.tell(Event::Stuck { key });
        answer(stoppers, &Err(stuck.clone()));
        answer(starters, &Err(stuck));
    }

    /// Stops a unit, whatever it does.
    pub(super) fn stop(&mut self, id: usize, then: Then) {
        let now = self.now();
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        match entry.state() {
            State::Starting | State::Running => {
                entry.then = then;
                let key = entry.key.clone();
                let grace = entry.grace.unwrap_or(self.engine.settings.policy.grace);
                let process = entry.live.as_ref().map(|live| live.process.clone());
                units.set_state(id, State::Stopping, now);
                units.set_due(id, now.checked_add(grace));
                drop(units);
                self.engine.events.tell(Event::Stopping { key });
                process.iter().for_each(|process| drop(process.close()));
            }
            State::Stopping | State::Stuck => entry.then = then,
            state => {
                let key = entry.key.clone();
                let starters = entry.take_starters();
                let stopped = Err(ManagerError::Stopped { key: entry.name() });
                let mut removed = None;
                if then == Then::Stay {
                    units.set_due(id, None);
                    units.set_state(id, State::Stopped, now);
                } else {
                    removed = Some(units.remove(id));
                }
                drop(units);
                drop(removed);
                if matches!(state, State::Loading | State::Waiting) {
                    self.engine.events.tell(Event::Stopped { key, error: None });
                }
                answer(starters, &stopped);
            }
        }
    }

    /// A row was seen.
    pub(super) fn row_is_there(&mut self, id: usize) {
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        entry.seen = self.generation;
        entry.is_new = false;
        if entry.then == Then::Forget {
            entry.then = Then::Again;
        }
    }

    /// A row is gone.
    pub(super) fn row_is_gone(&mut self, id: usize) {
        let mut units = self.engine.units.lock();
        let entry = units.entry(id);
        if entry.state().has_run() {
            drop(units);
            if self.engine.settings.stop_vanished {
                self.stop(id, Then::Forget);
            }
            return;
        }
        let starters = entry.take_starters();
        let not_found = Err(ManagerError::NotFound { key: entry.name() });
        let (key, is_known) = (entry.key.clone(), !entry.is_new);
        let removed = units.remove(id);
        drop(units);
        drop(removed);
        if is_known {
            self.engine.events.tell(Event::Gone { key });
        }
        answer(starters, &not_found);
    }

    pub(super) fn start_by_call(&mut self, key: K, reply: Reply<Process>) {
        let now = self.now();
        let generation = self.generation;
        let mut units = self.engine.units.lock();
        let id = match units.find(&key) {
            Some(id) => {
                let entry = units.entry(id);
                if entry.state().has_run() || entry.state() == State::Loading {
                    let exists = ManagerError::Exists { key: entry.name() };
                    drop(units);
                    return answer(vec![reply], &Err(exists));
                }
                if let Some(restarts) = entry.restarts() {
                    restarts.forgive(&self.engine.settings.policy);
                }
                id
            }
            None => {
                let id = units.insert(key.clone(), generation, now);
                units.entry(id).is_new = true;
                id
            }
        };
        units.set_due(id, None);
        units.set_state(id, State::Loading, now);
        units.entry(id).add_starter(reply);
        drop(units);
        self.load(key);
    }

    pub(super) fn stop_by_call(&mut self, key: &K, reply: Reply<()>) {
        let mut units = self.engine.units.lock();
        let Some(id) = units.find(key) else {
            drop(units);
            let not_found = ManagerError::NotFound { key: key.to_string().into() };
            return answer(vec![reply], &Err(not_found));
        };
        let entry = units.entry(id);
        let (state, name) = (entry.state(), entry.name());
        let refused = match state {
            State::Starting | State::Running => {
                entry.add_stopper(reply);
                drop(units);
                return self.stop(id, Then::Stay);
            }
            State::Stopping => {
                if entry.then == Then::Again {
                    entry.then = Then::Stay;
                }
                return entry.add_stopper(reply);
            }
            State::Loading | State::Waiting => {
                drop(units);
                self.stop(id, Then::Stay);
                return answer(vec![reply], &Ok(()));
            }
            State::Stuck => ManagerError::Stuck { keys: [name].into() },
            State::Ended | State::GivenUp | State::Stopped => {
                ManagerError::InvalidState { key: name, state, call: "stop" }
            }
        };
        drop(units);
        answer(vec![reply], &Err(refused));
    }
}
