//! Calls that concern the units of a [`Core`]: start, stop, restart, and changes of the effect of failures.

use procession::Process;

use super::command::{Command, Reply};
use super::core::Core;
use crate::error::ManagerError;
use crate::lifecycle::{Answer, Input, Then};
use crate::name::name_of;
use crate::state::{HasRun, State};
use crate::table::Key;

impl<K: Key> Core<K> {
    /// Handles a command about a known unit.
    ///
    /// # Errors
    ///
    /// Returns the command if there is no such unit, or if only the front end can handle it.
    pub(super) fn command(&mut self, command: Command<K>) -> Result<(), Command<K>> {
        let (Command::Start { key, .. }
        | Command::Stop { key, .. }
        | Command::Restart { key, .. }
        | Command::SetOnFailure { key, .. }) = &command
        else {
            return Err(command);
        };
        let Some(id) = self.find(key) else { return Err(command) };
        match command {
            Command::Start { reply, .. } => self.start_by_call(id, reply),
            Command::Stop { reply, .. } => self.stop_by_call(id, reply, Then::Stay),
            Command::Restart { reply, .. } => self.restart_by_call(id, reply),
            Command::SetOnFailure { on_failure, reply, .. } => {
                self.with(id, |units, id| units.entry(id).lifecycle.rules.on_failure = on_failure);
                reply.give(Ok(()));
            }
            other => return Err(other),
        }
        Ok(())
    }

    pub(crate) fn start_by_call(&mut self, id: usize, reply: Reply<Process>) {
        let mut units = self.shared.units.lock();
        let entry = units.entry(id);
        let state = entry.lifecycle.state();
        if state.has_run() || state == State::Loading {
            let key = entry.key.clone();
            drop(units);
            let exists = ManagerError::HasRun { key: name_of(&key) };
            return reply.give(Err(exists));
        }
        entry.lifecycle.forgive(&self.shared.about.policy);
        entry.add_starter(reply);
        drop(units);
        self.step(id, Input::Load);
    }

    fn restart_by_call(&mut self, id: usize, reply: Reply<Process>) {
        let mut units = self.shared.units.lock();
        let entry = units.entry(id);
        // A restart does not bring back a unit that is being removed.
        let is_removed = entry.lifecycle.is_asked() && entry.lifecycle.then() == Then::Forget;
        if entry.lifecycle.state() == State::Stuck || is_removed {
            let key = entry.key.clone();
            drop(units);
            return reply.give(Err(ManagerError::HasRun { key: name_of(&key) }));
        }
        entry.lifecycle.forgive(&self.shared.about.policy);
        entry.add_starter(reply);
        drop(units);
        self.restart(id);
    }

    /// Restarts a unit: stops its run, if there is one, and starts the unit again.
    pub(crate) fn restart(&mut self, id: usize) {
        match self.state(id) {
            Some(State::Loading) | None => {}
            Some(state) if state.has_run() => self.step(id, Input::Stop(Then::Again)),
            Some(_) => self.step(id, Input::Load),
        }
    }

    pub(crate) fn stop_by_call(&mut self, id: usize, reply: Reply<()>, then: Then) {
        let mut units = self.shared.units.lock();
        let entry = units.entry(id);
        let state = entry.lifecycle.state();
        let is_idle =
            matches!(state, State::Initial | State::Ended | State::GivenUp | State::Stopped);
        if is_idle && then != Then::Forget {
            let key = entry.key.clone();
            drop(units);
            let key = name_of(&key);
            return reply.give(Err(ManagerError::InvalidState { key, state, call: "stop" }));
        }
        // A unit that will be forgotten anyway stays so after this call.
        let then = match entry.lifecycle.then() {
            Then::Forget if entry.lifecycle.is_asked() => Then::Forget,
            _ => then,
        };
        if state == State::Stuck {
            let stuck = Answer::Stuck(entry.below().to_vec());
            let process = entry.live.as_ref().map(|live| live.process.clone());
            let key = entry.key.clone();
            drop(units);
            // It is not restarted when it ends.
            self.step(id, Input::Stop(then));
            return reply.give(stuck.result(name_of(&key), process.as_ref()));
        }
        entry.add_stopper(reply);
        drop(units);
        self.step(id, Input::Stop(then));
    }
}
