//! The units of a manager or a set, and the due times of their next steps. Nothing here waits, runs units or sends
//! events.
//!
//! 1. There is one entry for each key, and it has a run exactly while it is in a state [with a
//!    run](crate::state::HasRun). So no key ever has a second run (U1). Argument: [`Lifecycle`] enters a state with a
//!    run only from `Loading`. [`Core`](super::Core) sets [`Entry::live`] in the same locked section as that step, and
//!    takes it in the same locked section as the step that leaves such a state.
//! 2. A unit that waits for its restart is in `restarts` exactly while it has a due time. Any other unit is in
//!    `deadlines` exactly while it has one. Argument: only [`Units::change`] and [`Units::remove`] change or remove a
//!    due time, and each updates the sets.
//! 3. `counts` has the number of units in each state, and `open_significant` that of the significant units that are
//!    [open](Lifecycle::is_open). Argument: the same functions and [`Units::insert`] are the only ones that change a
//!    state, the rules, or what follows a run, and each updates both. A new unit is not significant before it has its
//!    rules.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashTable;
use procession::Process;
use procession::support::RunId;
use slab::Slab;

use super::command::Reply;
use crate::lifecycle::{Actions, Input, Lifecycle, Then};
use crate::policy::Policy;
use crate::restarts::Recent;
use crate::state::State;
use crate::status::{Counts, Status};
use crate::stuck_units::LeftBehind;
use crate::table::Key;
use crate::unit::Rules;

pub(crate) struct Units<K> {
    /// The ids of the units, by the hashes of their keys. The keys themselves are in the entries.
    by_key: HashTable<u32>,
    hasher: RandomState,
    entries: Slab<Entry<K>>,
    restarts: BTreeSet<(Instant, usize)>,
    deadlines: BTreeSet<(Instant, usize)>,
    pub(crate) counts: Counts,
    open_significant: usize,
    next_run: u64,
}

pub(crate) struct Entry<K> {
    pub(crate) key: K,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) live: Option<Live>,
    waiting: Option<Box<Waiting>>,
    /// The number of the last scan that delivered the unit's row.
    pub(crate) last_scan: u32,
}

/// The callers that wait for a unit to become ready, or to stop.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) starters: Vec<Reply<Process>>,
    pub(crate) stoppers: Vec<Reply<()>>,
}

/// The result of looking for a key.
pub(crate) struct Lookup {
    hash: u64,
    /// The unit with the key, if there is one.
    pub(crate) known: Option<usize>,
}

/// A run that is not Closed, or has left stuck units behind.
pub(crate) struct Live {
    /// The process of the run. If that is Closed, it is a process that is open until stuck units have ended.
    pub(crate) process: Process,
    /// The number of the run.
    pub(crate) number: u64,
}

/// A unit that keeps its key because of a run.
#[derive(Clone)]
pub(crate) struct OpenUnit<K> {
    pub(crate) key: K,
    pub(crate) run: RunId,
    /// The process of the run or, if that has left units behind, the one that is open until they have ended. It is open,
    /// unless its end was not handled yet.
    pub(crate) process: Process,
    /// The units that the run has left behind.
    pub(crate) below: Vec<Arc<LeftBehind>>,
}

/// A run that is left at the end of that of its manager or set.
pub(crate) struct OpenRun {
    pub(crate) run: RunId,
    /// As in [`OpenUnit`].
    pub(crate) process: Process,
    /// Has an earlier run of the manager or set left it behind?
    pub(crate) was_left: bool,
}

impl Live {
    /// Identifies the run of the unit `id`.
    pub(crate) fn run(&self, id: usize) -> RunId {
        RunId { unit: to_u32(id), number: self.number }
    }
}

impl<K: Key> Units<K> {
    pub(crate) fn new() -> Self {
        Self {
            by_key: HashTable::new(),
            hasher: RandomState::new(),
            entries: Slab::new(),
            restarts: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            counts: Counts::default(),
            open_significant: 0,
            next_run: 0,
        }
    }

    /// Reserves room for `count` more units.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.by_key.reserve(count, |id| self.hasher.hash_one(&self.entries[*id as usize].key));
        self.entries.reserve_exact(count);
    }

    pub(crate) fn find(&self, key: &K) -> Option<usize> {
        self.look_for(key).known
    }

    /// Looks for a key. The result may be passed to [`insert`](Self::insert) if no unit was inserted or removed since.
    pub(crate) fn look_for(&self, key: &K) -> Lookup {
        let hash = self.hasher.hash_one(key);
        let found = self.by_key.find(hash, |id| self.entries[*id as usize].key == *key);
        Lookup { hash, known: found.map(|id| *id as usize) }
    }

    pub(crate) fn entry(&mut self, id: usize) -> &mut Entry<K> {
        &mut self.entries[id]
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Entry<K>> {
        self.entries.get(id)
    }

    /// The entry of a run, if it is the unit's current run.
    pub(crate) fn entry_of(&mut self, run: RunId) -> Option<&mut Entry<K>> {
        let entry = self.entries.get_mut(run.unit as usize)?;
        entry.live.as_ref().is_some_and(|live| live.number == run.number).then_some(entry)
    }

    pub(crate) fn ids(&self) -> Vec<usize> {
        self.entries.iter().map(|(id, _)| id).collect()
    }

    /// The runs that are not Closed, or whose end was not handled yet.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        let run = |(id, entry): (usize, &Entry<K>)| Some(entry.live.as_ref()?.run(id));
        self.entries.iter().filter_map(run).collect()
    }

    /// The units whose rows neither the scan with this number nor a later one delivered.
    pub(crate) fn unseen(&self, scan: u32) -> Vec<usize> {
        let unseen = self.entries.iter().filter(|(_, entry)| entry.last_scan < scan);
        unseen.map(|(id, _)| id).collect()
    }

    /// Adds a unit that has not been started. There must be no unit with its key.
    pub(crate) fn insert(&mut self, lookup: &Lookup, key: K, scan: u32, now: Instant) -> usize {
        let lifecycle = Lifecycle::new(now);
        let entry = Entry { key, lifecycle, live: None, waiting: None, last_scan: scan };
        let id = self.entries.vacant_key();
        // This may hash other keys again, which may panic, so it comes before any other change.
        let hash_of = |id: &u32| self.hasher.hash_one(&self.entries[*id as usize].key);
        self.by_key.insert_unique(lookup.hash, to_u32(id), hash_of);
        self.entries.insert(entry);
        self.counts.units += 1;
        *self.counts.of(State::Initial) += 1;
        id
    }

    pub(crate) fn remove(&mut self, id: usize) -> Entry<K> {
        // Hashing the key may panic, so it comes before any change.
        let hash = self.hasher.hash_one(&self.entries[id].key);
        self.forget_due(id);
        if let Ok(found) = self.by_key.find_entry(hash, |other| *other as usize == id) {
            found.remove();
        }
        let entry = self.entries.remove(id);
        self.counts.units -= 1;
        *self.counts.of(entry.lifecycle.state()) -= 1;
        self.open_significant -= usize::from(is_open_significant(&entry.lifecycle));
        entry
    }

    /// Moves a unit one step, and adds the actions to perform to `actions`.
    pub(crate) fn step(
        &mut self,
        id: usize,
        input: Input,
        policy: &Policy,
        now: Instant,
        total: &mut Recent,
        actions: &mut Actions,
    ) {
        self.change(id, |lifecycle| lifecycle.step(input, policy, now, total, actions));
    }

    /// Marks a unit as stuck, because it has not ended when the run of its manager or set is over. Returns `false` if
    /// an earlier run of the manager or set has left the same run.
    pub(crate) fn leave_stuck(&mut self, id: usize, now: Instant) -> bool {
        let mut is_new = false;
        self.change(id, |lifecycle| is_new = lifecycle.leave_stuck(now));
        is_new
    }

    /// Sets the rules of a unit.
    pub(crate) fn set_rules(&mut self, id: usize, rules: Rules) {
        self.change(id, |lifecycle| lifecycle.rules = rules);
    }

    /// Decides what follows the current run of a unit, which counts as asked to stop from now on.
    pub(crate) fn set_then(&mut self, id: usize, then: Then) {
        self.change(id, |lifecycle| lifecycle.set_then(then));
    }

    /// Changes a unit, and updates the counts and due times.
    fn change(&mut self, id: usize, change: impl FnOnce(&mut Lifecycle)) {
        let lifecycle = &mut self.entries[id].lifecycle;
        let (state, due, was_open) =
            (lifecycle.state(), lifecycle.due(), is_open_significant(lifecycle));
        change(lifecycle);
        let (new_state, new_due) = (lifecycle.state(), lifecycle.due());
        let is_open = is_open_significant(lifecycle);
        self.open_significant += usize::from(is_open);
        self.open_significant -= usize::from(was_open);
        if new_state != state {
            *self.counts.of(state) -= 1;
            *self.counts.of(new_state) += 1;
        }
        if due.is_some() || new_due.is_some() {
            if let Some(due) = due {
                self.due_set(state).remove(&(due, id));
            }
            if let Some(due) = new_due {
                self.due_set(new_state).insert((due, id));
            }
        }
    }

    fn forget_due(&mut self, id: usize) {
        let lifecycle = &self.entries[id].lifecycle;
        let (state, due) = (lifecycle.state(), lifecycle.due());
        if let Some(due) = due {
            self.due_set(state).remove(&(due, id));
        }
    }

    fn due_set(&mut self, state: State) -> &mut BTreeSet<(Instant, usize)> {
        if state == State::Waiting { &mut self.restarts } else { &mut self.deadlines }
    }

    /// The unit with the earliest deadline, if that has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Option<usize> {
        self.deadlines.first().filter(|(due, _)| *due <= now).map(|(_, id)| *id)
    }

    /// The unit with the earliest restart, if that is due.
    pub(crate) fn due_restart(&self, now: Instant) -> Option<usize> {
        self.restarts.first().filter(|(due, _)| *due <= now).map(|(_, id)| *id)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    pub(crate) fn next_restart(&self) -> Option<Instant> {
        self.restarts.first().map(|(due, _)| *due)
    }

    /// Returns whether any unit has a run that may still stop in time.
    pub(crate) fn is_open(&self) -> bool {
        // A Loading unit has no run, and is forgotten when everything stops.
        self.counts.starting + self.counts.running + self.counts.stopping > 0
    }

    /// Returns whether any significant unit is [open](Lifecycle::is_open).
    pub(crate) fn has_open_significant(&self) -> bool {
        self.open_significant > 0
    }

    pub(crate) fn next_run(&mut self, unit: usize) -> RunId {
        self.next_run += 1;
        RunId { unit: to_u32(unit), number: self.next_run }
    }

    pub(crate) fn list(&self, now: Instant) -> Vec<Status<K>> {
        self.entries.iter().map(|(_, entry)| entry.status(now)).collect()
    }

    /// Calls `look` with the ids and states of at most `count` places from the one `from`. Returns the next place, if
    /// there is one.
    pub(crate) fn page(
        &self,
        from: usize,
        count: usize,
        mut look: impl FnMut(usize, State),
    ) -> Option<usize> {
        let end = self.entries.capacity().min(from + count);
        for id in from..end {
            if let Some(entry) = self.entries.get(id) {
                look(id, entry.lifecycle.state());
            }
        }
        (end < self.entries.capacity()).then_some(end)
    }

    /// The status of a unit, if it still exists.
    pub(crate) fn status(&self, id: usize, now: Instant) -> Option<Status<K>> {
        Some(self.entries.get(id)?.status(now))
    }

    /// The units that keep their keys because of a run.
    pub(crate) fn open_units(&self) -> Vec<OpenUnit<K>> {
        self.entries.iter().filter_map(|(id, entry)| entry.open(id)).collect()
    }

    /// [`open_units`](Self::open_units) without the keys, whose `Clone` is foreign code.
    pub(crate) fn open_runs(&self) -> Vec<OpenRun> {
        let open = |(id, entry): (usize, &Entry<K>)| {
            let (live, was_left) = (entry.live.as_ref()?, entry.lifecycle.was_left());
            Some(OpenRun { run: live.run(id), process: live.process.clone(), was_left })
        };
        self.entries.iter().filter_map(open).collect()
    }
}

fn is_open_significant(lifecycle: &Lifecycle) -> bool {
    lifecycle.rules.significant && lifecycle.is_open()
}

fn to_u32(id: usize) -> u32 {
    u32::try_from(id).expect("fewer units than 2^32")
}

impl<K: Key> Entry<K> {
    /// Adds a caller that waits for the unit to become ready.
    pub(crate) fn add_starter(&mut self, reply: Reply<Process>) {
        self.waiting.get_or_insert_default().starters.push(reply);
    }

    /// Adds a caller that waits for the unit to stop.
    pub(crate) fn add_stopper(&mut self, reply: Reply<()>) {
        self.waiting.get_or_insert_default().stoppers.push(reply);
    }

    /// Takes the callers that will be answered: the starters, the stoppers, or both.
    pub(crate) fn take_waiting(&mut self, starters: bool, stoppers: bool) -> Option<Box<Waiting>> {
        let mut taken = self.waiting.take_if(|_| starters || stoppers)?;
        if starters != stoppers {
            let waiting = self.waiting.get_or_insert_default();
            if starters {
                std::mem::swap(&mut waiting.stoppers, &mut taken.stoppers);
            } else {
                std::mem::swap(&mut waiting.starters, &mut taken.starters);
            }
        }
        Some(taken)
    }

    pub(crate) fn take_starters(&mut self) -> Vec<Reply<Process>> {
        self.waiting.as_mut().map_or_else(Vec::new, |waiting| std::mem::take(&mut waiting.starters))
    }

    pub(crate) fn take_stoppers(&mut self) -> Vec<Reply<()>> {
        self.waiting.as_mut().map_or_else(Vec::new, |waiting| std::mem::take(&mut waiting.stoppers))
    }

    /// This unit, if it keeps its key.
    pub(crate) fn open(&self, id: usize) -> Option<OpenUnit<K>> {
        let live = self.live.as_ref()?;
        let (key, below) = (self.key.clone(), self.below().to_vec());
        Some(OpenUnit { key, run: live.run(id), process: live.process.clone(), below })
    }

    /// From now on, the unit keeps its key until `open`, if there is such a process, is Closed. Returns the process of
    /// the run in this case.
    pub(crate) fn replace_process(&mut self, open: Option<Process>) -> Option<Process> {
        Some(std::mem::replace(&mut self.live.as_mut()?.process, open?))
    }

    /// The units that its run has left behind, if that is Closed.
    pub(crate) fn below(&self) -> &[Arc<LeftBehind>] {
        self.lifecycle.outlived().map_or(&[], |outlived| &outlived.below)
    }

    fn status(&self, now: Instant) -> Status<K> {
        let past = self.lifecycle.past();
        let state = self.lifecycle.state();
        Status {
            key: self.key.clone(),
            state,
            since: self.lifecycle.since(),
            restarts: past.map_or(0, |past| past.restarts.count),
            last_error: past.and_then(|past| past.last_error.clone()),
            next_restart: self.lifecycle.due().filter(|_| state == State::Waiting),
            deadline: self.lifecycle.due().filter(|_| state == State::Stopping),
            aborted: self.lifecycle.is_aborted(),
            token: None,
            now,
        }
    }
}

#[cfg(all(test, target_pointer_width = "64", not(loom)))]
mod tests {
    use super::*;

    /// A manager may have very many units, and each of them has an entry.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry<u32>>() <= 88, "{}", size_of::<Entry<u32>>());
    }
}
