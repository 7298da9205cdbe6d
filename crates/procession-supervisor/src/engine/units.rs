//! The units of a manager: the state of each, and when its next step is due. Nothing here waits, runs units or sends
//! events.
//!
//! What always holds:
//!
//! - There is one entry for each key, and it has a run exactly while its state says so ([`State::has_run`]):
//!   from its start until it is Closed, no matter why it ends. So there is never a second run of a key.
//! - An entry is due at most at one time, and stands in `due` exactly then.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::{Closed, Label, Process};
use procession_runnable::Readiness;
use slab::Slab;

use super::command::{Command, Reply};
use super::inbox::{RunId, Watcher};
use crate::error::ManagerError;
use crate::policy::{Policy, Restarts};
use crate::status::{State, Status};
use crate::table::Key;
use crate::unit::Restart;

pub(crate) struct Units<K> {
    by_key: HashMap<K, usize>,
    entries: Slab<Entry<K>>,
    due: BTreeSet<(Instant, usize)>,
    /// How many are on their way to be ready.
    starting: usize,
    /// How many have a run that may still stop in time.
    open: usize,
    next_run: u64,
}

pub(crate) struct Entry<K> {
    pub(crate) key: K,
    state: State,
    since: Instant,
    due: Option<Instant>,
    /// The scan that has seen its row last.
    pub(crate) seen: u64,
    /// Made by a call, and no row has been seen.
    pub(crate) is_new: bool,
    pub(crate) restart: Restart,
    pub(crate) grace: Option<Duration>,
    pub(crate) live: Option<Live<K>>,
    /// What comes after it has stopped.
    pub(crate) then: Then,
    past: Option<Box<Past>>,
    waiting: Option<Box<Waiting>>,
}

/// The callers that wait for a unit to be ready, and to stop.
#[derive(Default)]
struct Waiting {
    starters: Vec<Reply<Process>>,
    stoppers: Vec<Reply<()>>,
}

/// A run that is not Closed.
pub(crate) struct Live<K> {
    pub(crate) process: Process,
    pub(crate) closed: Closed,
    /// `None` once it has told.
    pub(crate) readiness: Option<Readiness>,
    /// It ended without having been ready: this process.
    pub(crate) unready: Option<Box<Label>>,
    pub(crate) is_aborted: bool,
    /// Its waker stands where its end will be told.
    pub(crate) is_watched: bool,
    pub(crate) watcher: Arc<Watcher<Command<K>>>,
}

/// What comes after a unit has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It was not asked to stop.
    Nothing,
    /// It stays, and is started by a call.
    Stay,
    /// It is forgotten: its row is gone, or the manager stops.
    Forget,
    /// Its row has come back.
    Again,
}

/// What a unit went through that failed, ended, or could not be loaded.
pub(crate) struct Past {
    pub(crate) restarts: Restarts,
    pub(crate) last_error: Option<ManagerError>,
}

impl<K: Key> Units<K> {
    pub(crate) fn new() -> Self {
        Self {
            by_key: HashMap::new(),
            entries: Slab::new(),
            due: BTreeSet::new(),
            starting: 0,
            open: 0,
            next_run: 0,
        }
    }

    /// So many more are about to come.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.by_key.reserve(count);
        self.entries.reserve(count);
    }

    pub(crate) fn find(&self, key: &K) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn entry(&mut self, id: usize) -> &mut Entry<K> {
        &mut self.entries[id]
    }

    /// The entry of a run, if it is that unit's last.
    pub(crate) fn entry_of(&mut self, run: RunId) -> Option<&mut Entry<K>> {
        let entry = self.entries.get_mut(run.unit)?;
        entry.live.as_ref().is_some_and(|live| live.watcher.run() == run).then_some(entry)
    }

    pub(crate) fn ids(&self) -> Vec<usize> {
        self.entries.iter().map(|(id, _)| id).collect()
    }

    /// Those whose row the scan `seen` has not seen.
    pub(crate) fn unseen(&self, seen: u64) -> Vec<usize> {
        let unseen = self.entries.iter().filter(|(_, entry)| entry.seen < seen);
        unseen.map(|(id, _)| id).collect()
    }

    /// A unit that is being loaded.
    pub(crate) fn insert(&mut self, key: K, seen: u64, now: Instant) -> usize {
        let id = self.entries.insert(Entry {
            key: key.clone(),
            state: State::Loading,
            since: now,
            due: None,
            seen,
            is_new: false,
            restart: Restart::default(),
            grace: None,
            live: None,
            then: Then::Nothing,
            past: None,
            waiting: None,
        });
        self.starting += 1;
        self.by_key.insert(key, id);
        id
    }

    pub(crate) fn remove(&mut self, id: usize) -> Entry<K> {
        self.set_due(id, None);
        self.count(id, |count| *count -= 1);
        let entry = self.entries.remove(id);
        self.by_key.remove(&entry.key);
        entry
    }

    pub(crate) fn set_state(&mut self, id: usize, state: State, now: Instant) {
        self.count(id, |count| *count -= 1);
        let entry = &mut self.entries[id];
        (entry.state, entry.since) = (state, now);
        self.count(id, |count| *count += 1);
    }

    fn count(&mut self, id: usize, change: impl Fn(&mut usize)) {
        let state = self.entries[id].state;
        if state.is_starting() {
            change(&mut self.starting);
        }
        if state.has_run() && state != State::Stuck {
            change(&mut self.open);
        }
    }

    pub(crate) fn set_due(&mut self, id: usize, due: Option<Instant>) {
        let entry = &mut self.entries[id];
        if let Some(before) = std::mem::replace(&mut entry.due, due) {
            self.due.remove(&(before, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
    }

    /// Takes the first that is due by now.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let (due, id) = *self.due.first()?;
        if due > now {
            return None;
        }
        self.set_due(id, None);
        Some(id)
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.starting > 0
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open > 0
    }

    pub(crate) fn next_run(&mut self, unit: usize) -> RunId {
        self.next_run += 1;
        RunId { unit, number: self.next_run }
    }

    pub(crate) fn list(&self) -> Vec<Status<K>> {
        self.entries.iter().map(|(_, entry)| entry.status()).collect()
    }

    pub(crate) fn stuck(&self) -> Vec<Arc<str>> {
        let stuck = self.entries.iter().filter(|(_, entry)| entry.state == State::Stuck);
        stuck.map(|(_, entry)| entry.name()).collect()
    }
}

impl<K: Key> Entry<K> {
    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.key.to_string().into()
    }

    pub(crate) fn past(&mut self, policy: &Policy) -> &mut Past {
        self.past.get_or_insert_with(|| {
            Box::new(Past { restarts: Restarts::new(policy), last_error: None })
        })
    }

    /// Its restarts, if there were any.
    pub(crate) fn restarts(&mut self) -> Option<&mut Restarts> {
        self.past.as_mut().map(|past| &mut past.restarts)
    }

    /// Adds a caller that waits for it to be ready.
    pub(crate) fn add_starter(&mut self, reply: Reply<Process>) {
        self.waiting.get_or_insert_default().starters.push(reply);
    }

    /// Adds a caller that waits for it to stop.
    pub(crate) fn add_stopper(&mut self, reply: Reply<()>) {
        self.waiting.get_or_insert_default().stoppers.push(reply);
    }

    pub(crate) fn take_starters(&mut self) -> Vec<Reply<Process>> {
        self.waiting.as_mut().map_or_else(Vec::new, |waiting| std::mem::take(&mut waiting.starters))
    }

    pub(crate) fn take_stoppers(&mut self) -> Vec<Reply<()>> {
        self.waiting.as_mut().map_or_else(Vec::new, |waiting| std::mem::take(&mut waiting.stoppers))
    }

    fn status(&self) -> Status<K> {
        let past = self.past.as_deref();
        Status {
            key: self.key.clone(),
            state: self.state,
            since: self.since,
            restarts: past.map_or(0, |past| past.restarts.count),
            last_error: past.and_then(|past| past.last_error.clone()),
            next_restart: self.due.filter(|_| self.state == State::Waiting),
        }
    }
}
