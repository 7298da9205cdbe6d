//! [`Rows`]: the units and managers of a table in memory, and their indices.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::shared::table::{
    Claimed, Desired, ManagerId, Ordered, PROBATION_CRASHES, Record, TableError, Token, UnitRow,
    Wanted,
};

#[derive(Default)]
pub(super) struct Rows {
    pub(super) units: BTreeMap<Arc<str>, Row>,
    pub(super) managers: BTreeMap<ManagerId, Manager>,
    pub(super) kinds: HashMap<String, Kind>,
    /// The last number that was given to a manager or a request.
    pub(super) numbers: u64,
    /// The greatest token of the rows that were deleted.
    pub(super) floor: u64,
    /// The number of changes that other managers should know of.
    pub(super) changes: u64,
}

pub(super) struct Row {
    pub(super) kind: String,
    pub(super) spec: String,
    pub(super) generation: u64,
    /// The generation that the owner runs.
    pub(super) running: u64,
    pub(super) desired: Desired,
    pub(super) is_done: bool,
    pub(super) is_quarantined: bool,
    pub(super) owner: Option<ManagerId>,
    pub(super) token: u64,
    /// The greatest number of a record of the current claim.
    pub(super) recorded: u64,
    pub(super) is_ready: bool,
    pub(super) is_steady: bool,
    pub(super) starts: u64,
    pub(super) failures: u32,
    pub(super) crashes: u32,
    /// The manager whose end was its last crash.
    pub(super) crashed_with: Option<ManagerId>,
    pub(super) last_error: Option<String>,
}

pub(super) struct Manager {
    pub(super) name: String,
    pub(super) kinds: Vec<String>,
    pub(super) ttl: Duration,
    /// When its lease ends. `None` if that is later than the clock can express.
    pub(super) deadline: Option<Instant>,
    pub(super) owned: BTreeSet<Arc<str>>,
    /// Those of `owned` that are on probation.
    pub(super) probation: BTreeSet<Arc<str>>,
    /// Those of `owned` that there is an order for.
    pub(super) ordered: BTreeSet<Arc<str>>,
    pub(super) is_draining: bool,
    /// The number of its last request.
    pub(super) request: u64,
    pub(super) wanted: Wanted,
}

/// The units of one kind.
#[derive(Default)]
pub(super) struct Kind {
    /// The number of units that should run.
    pub(super) wanted: usize,
    /// Units that can be claimed and have not crashed.
    pub(super) free: BTreeSet<Arc<str>>,
    /// Units that can be claimed and have crashed.
    pub(super) crashed: BTreeSet<Arc<str>>,
}

/// Adds an element to a set, or removes it.
pub(super) fn place(set: &mut BTreeSet<Arc<str>>, key: &Arc<str>, is_in: bool) {
    if is_in {
        set.insert(key.clone());
    } else {
        set.remove(key);
    }
}

impl Row {
    pub(super) fn new(kind: &str, spec: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            spec: spec.to_owned(),
            generation: 1,
            running: 0,
            desired: Desired::Run,
            is_done: false,
            is_quarantined: false,
            owner: None,
            token: 0,
            recorded: 0,
            is_ready: false,
            is_steady: false,
            starts: 0,
            failures: 0,
            crashes: 0,
            crashed_with: None,
            last_error: None,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.desired == Desired::Run && !self.is_quarantined && !self.is_done
    }

    pub(super) fn is_on_probation(&self) -> bool {
        self.crashes >= PROBATION_CRASHES && !self.is_steady
    }

    /// What its owner must do. `runs_kind` says whether the owner can run its kind.
    pub(super) fn order(&self, runs_kind: bool) -> Option<Ordered> {
        if self.desired != Desired::Run || self.is_quarantined || !runs_kind {
            return Some(Ordered::Stop);
        }
        (self.generation != self.running).then(|| Ordered::Restart {
            kind: self.kind.clone(),
            spec: self.spec.clone(),
            generation: self.generation,
        })
    }

    pub(super) fn has_order(&self) -> bool {
        self.desired != Desired::Run || self.is_quarantined || self.generation != self.running
    }

    pub(super) fn crash(&mut self, owner: ManagerId, limit: u32) {
        self.crashes = self.crashes.saturating_add(1);
        self.crashed_with = Some(owner);
        if self.crashes >= limit {
            self.is_quarantined = true;
            let times = if self.crashes == 1 { "time" } else { "times" };
            let crashes = self.crashes;
            self.last_error = Some(format!("the program that ran it has died {crashes} {times}"));
        }
    }

    pub(super) fn forget_failures(&mut self) {
        self.failures = 0;
        self.crashes = 0;
        self.crashed_with = None;
    }

    pub(super) fn free(&mut self) {
        self.owner = None;
        self.begin();
    }

    /// No run of the unit is ready.
    pub(super) fn begin(&mut self) {
        self.is_ready = false;
        self.is_steady = false;
    }

    pub(super) fn record(&mut self, number: Option<u64>, record: &Record) {
        if number.is_some_and(|number| number <= self.recorded) {
            return;
        }
        self.recorded = number.unwrap_or(self.recorded);
        match record {
            Record::Ready => self.is_ready = true,
            Record::Steady => {
                self.is_ready = true;
                self.is_steady = true;
                self.forget_failures();
            }
            Record::Failed { error, limit } => {
                self.begin();
                self.failures = self.failures.saturating_add(1);
                self.is_quarantined |= self.failures >= *limit;
                self.last_error = Some(error.clone());
            }
            Record::Restarted { generation } => {
                self.begin();
                self.running = *generation;
            }
            Record::Done => {
                self.is_ready = false;
                self.is_done = self.generation == self.running;
            }
        }
    }

    pub(super) fn show(&self, key: &str) -> UnitRow {
        UnitRow {
            key: key.to_owned(),
            kind: self.kind.clone(),
            spec: self.spec.clone(),
            generation: self.generation,
            desired: self.desired,
            is_done: self.is_done,
            is_quarantined: self.is_quarantined,
            owner: self.owner,
            token: Token::new(self.token),
            is_ready: self.is_ready,
            is_steady: self.is_steady,
            starts: self.starts,
            failures: self.failures,
            crashes: self.crashes,
            last_error: self.last_error.clone(),
        }
    }
}

impl Manager {
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.deadline.is_none_or(|deadline| now < deadline)
    }
}

impl Rows {
    /// Puts a row into the indices, or takes it out of them.
    pub(super) fn index(&mut self, key: &Arc<str>, is_in: bool) {
        let row = &self.units[key];
        if row.is_wanted() {
            let kind = match self.kinds.get_mut(&row.kind) {
                Some(kind) => kind,
                None => self.kinds.entry(row.kind.clone()).or_default(),
            };
            kind.wanted = if is_in { kind.wanted + 1 } else { kind.wanted - 1 };
            if row.owner.is_none() {
                let set = if row.crashes >= PROBATION_CRASHES {
                    &mut kind.crashed
                } else {
                    &mut kind.free
                };
                place(set, key, is_in);
            }
            if kind.wanted == 0 {
                self.kinds.remove(&row.kind);
            }
        }
        if let Some(owner) = row.owner {
            let manager = self.managers.get_mut(&owner).expect("each owner is registered (2)");
            place(&mut manager.owned, key, is_in);
            place(&mut manager.probation, key, is_in && row.is_on_probation());
            place(&mut manager.ordered, key, is_in && row.has_order());
        }
    }

    /// Changes a row, and returns what `change` does; `None` if there is no such row.
    pub(super) fn change<R>(&mut self, key: &str, change: impl FnOnce(&mut Row) -> R) -> Option<R> {
        let key = self.units.get_key_value(key)?.0.clone();
        self.index(&key, false);
        let result = self.units.get_mut(&key).map(change);
        self.index(&key, true);
        result
    }

    pub(super) fn insert(&mut self, key: &str, row: Row) {
        let key: Arc<str> = key.into();
        self.units.insert(key.clone(), row);
        self.index(&key, true);
    }

    pub(super) fn delete(&mut self, key: &Arc<str>) {
        self.index(key, false);
        if let Some(row) = self.units.remove(key) {
            self.floor = self.floor.max(row.token);
        }
    }

    /// Frees a unit; removes it if it should be removed.
    pub(super) fn free(&mut self, key: &Arc<str>) {
        let desired = self.change(key, |row| {
            row.free();
            row.desired
        });
        if desired == Some(Desired::Remove) {
            self.delete(key);
        }
    }

    /// Frees all units of a manager, and forgets it.
    pub(super) fn end(&mut self, manager: ManagerId) {
        let owned = self.managers.get(&manager).map(|entry| entry.owned.clone());
        for key in owned.iter().flatten() {
            self.free(key);
        }
        self.managers.remove(&manager);
        self.changes += 1;
    }

    /// The units that are to blame for the death of a manager.
    pub(super) fn suspects(&self, manager: ManagerId) -> BTreeSet<Arc<str>> {
        match self.managers.get(&manager) {
            Some(entry) if !entry.probation.is_empty() => entry.probation.clone(),
            entry => entry.map(|entry| entry.owned.clone()).unwrap_or_default(),
        }
    }

    /// The program of a manager lives on without its lease, so the units have not crashed.
    pub(super) fn replace(&mut self, manager: ManagerId) {
        self.end(manager);
        let crashed = self.units.iter().filter(|(_, row)| row.crashed_with == Some(manager));
        let crashed: Vec<_> = crashed.map(|(key, _)| key.clone()).collect();
        for key in crashed {
            self.change(&key, |row| {
                row.crashes -= 1;
                row.crashed_with = None;
            });
        }
    }

    /// The entry of a manager whose lease has not ended.
    pub(super) fn alive(
        &mut self,
        manager: ManagerId,
        now: Instant,
    ) -> Result<&mut Manager, TableError> {
        let entry = self.managers.get_mut(&manager).filter(|entry| entry.is_alive(now));
        entry.ok_or(TableError::Refused)
    }

    /// The key of a unit whose current claim has this token.
    pub(super) fn claimed(
        &self,
        key: &str,
        token: Token,
        now: Instant,
    ) -> Result<Arc<str>, TableError> {
        let (key, row) = self.units.get_key_value(key).ok_or(TableError::Refused)?;
        let owner = row.owner.and_then(|owner| self.managers.get(&owner));
        let is_current = row.token == token.get() && owner.is_some_and(|owner| owner.is_alive(now));
        is_current.then(|| key.clone()).ok_or(TableError::Refused)
    }

    /// Chooses the units that a manager claims.
    pub(super) fn choose(&self, manager: &Manager, max: usize) -> Vec<Arc<str>> {
        let kinds = || manager.kinds.iter().filter_map(|kind| self.kinds.get(kind));
        let crashed = usize::from(manager.probation.is_empty());
        let crashed = kinds().flat_map(|kind| &kind.crashed).take(crashed);
        kinds().flat_map(|kind| &kind.free).chain(crashed).take(max).cloned().collect()
    }

    /// The managers that share the units of these kinds: those that are not draining.
    pub(super) fn peers(
        &self,
        kinds: &[String],
        now: Instant,
    ) -> impl DoubleEndedIterator<Item = ManagerId> {
        let is_peer = move |(_, other): &(&ManagerId, &Manager)| {
            let shares = || other.kinds.iter().any(|kind| kinds.binary_search(kind).is_ok());
            other.is_alive(now) && !other.is_draining && shares()
        };
        self.managers.iter().filter(is_peer).map(|(id, _)| *id)
    }

    /// The fair share of a manager.
    pub(super) fn fair(&self, manager: ManagerId, now: Instant) -> usize {
        let entry = &self.managers[&manager];
        if entry.is_draining {
            return 0;
        }
        let share = |kind: &String| {
            let wanted = self.kinds.get(kind).map_or(0, |kind| kind.wanted);
            let peers = || self.peers(std::slice::from_ref(kind), now);
            let (managers, older) = (peers().count(), peers().filter(|id| *id < manager).count());
            wanted / managers + usize::from(older < wanted % managers)
        };
        entry.kinds.iter().map(share).sum()
    }

    /// The other managers with at least one of the same kinds.
    pub(super) fn others(
        &self,
        manager: ManagerId,
        now: Instant,
    ) -> impl Iterator<Item = (ManagerId, &Manager)> {
        let others = self.peers(&self.managers[&manager].kinds, now);
        others.filter(move |other| *other != manager).map(|other| (other, &self.managers[&other]))
    }

    pub(super) fn claim(&mut self, key: &Arc<str>, manager: ManagerId) -> Option<Claimed> {
        let floor = self.floor;
        self.change(key, |row| {
            row.owner = Some(manager);
            row.token = row.token.max(floor) + 1;
            row.recorded = 0;
            row.starts += 1;
            row.running = row.generation;
            row.begin();
            Claimed {
                key: key.as_ref().to_owned(),
                kind: row.kind.clone(),
                spec: row.spec.clone(),
                generation: row.generation,
                token: Token::new(row.token),
                starts: row.starts,
            }
        })
    }
}
