//! [`MemorySharedTable`]: a shared table in memory.
//!
//! Invariants:
//!
//! 1. **The indices agree with the rows.** Each row is in exactly those indices that [`Rows::index`] names. Rows are
//!    changed only in [`Rows::change`], [`Rows::insert`] and [`Rows::delete`], which take the row out of the indices
//!    before the change and put it back after it.
//! 2. **Each owner is registered.** The entry of a manager is removed only in [`Rows::end`], which frees all units of
//!    the manager first. By 1, the manager's index names all of them.
//! 3. **An ended lease stays ended.** A lease is prolonged only in [`Rows::alive`]'s caller `renew`, which refuses a
//!    lease that has ended by the clock, and an entry that was removed is never added again, because ids only grow.
//! 4. **Tokens grow.** A claim takes a token above both the row's and `floor`, and `floor` is at least the token of
//!    each row that was deleted.
//! 5. **At most one unit on probation per manager.** Only `claim` adds one, and only to a manager that has none. The
//!    crashes of a unit that is owned grow only when its owner ends, which frees the unit.
//! 6. **Foreign code runs without the lock.** The clock is read before the table is locked. So the time may be older
//!    than the state of the table, which is harmless: a lease that another session has ended meanwhile is no longer
//!    there, and a lease is never prolonged beyond what the clock showed.

mod rows;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Condvar;
use procession::{Clock, SystemClock};

use self::rows::{Manager, Row, Rows};
use super::table::{
    Claimed, Desired, ManagerId, ManagerRow, Order, Registered, Registration, Request, Session,
    Share, SharedTable, TableError, Token, UnitRow, Wanted, Write, WriteResult, Written,
};
use crate::sync::Mutex;

/// A shared table in memory, for tests and for managers of one program. Clones share its rows.
///
/// The leases of its managers end by its [clock](Self::with_clock).
///
/// ```
/// use procession_supervisor::shared::{MemorySharedTable, Record, Registration, SharedTable};
/// use std::time::Duration;
///
/// let table = MemorySharedTable::new();
/// let mut session = table.open()?;
/// session.put("orders", "poller", "queue = 1")?;
///
/// let registration = Registration::new("host-1", ["poller"], Duration::from_secs(15));
/// let manager = session.register(&registration)?.manager;
/// let claimed = session.claim(manager, 10)?;
/// assert_eq!(claimed[0].key, "orders");
/// session.record("orders", claimed[0].token, &Record::Ready)?;
/// session.release("orders", claimed[0].token)?;
/// session.leave(manager)?;
/// # Ok::<(), procession_supervisor::shared::TableError>(())
/// ```
#[derive(Clone)]
pub struct MemorySharedTable {
    shared: Arc<Shared>,
}

struct Shared {
    rows: Mutex<Rows>,
    /// Notified when `Rows::changes` grows.
    changed: Condvar,
    clock: Box<dyn Clock>,
}

impl MemorySharedTable {
    /// An empty table with the system's clock.
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty table whose leases end by this clock. [`Session::wait_for_change`] does not use it.
    pub fn with_clock(clock: impl Clock) -> Self {
        let shared = Shared {
            rows: Mutex::new(Rows::default()),
            changed: Condvar::new(),
            clock: Box::new(clock),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl SharedTable for MemorySharedTable {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        let seen = self.shared.rows.lock().changes;
        Ok(Box::new(MemorySession { shared: self.shared.clone(), seen }))
    }
}

impl Default for MemorySharedTable {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemorySharedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.shared.rows.lock();
        f.debug_struct("MemorySharedTable")
            .field("units", &rows.units.len())
            .field("managers", &rows.managers.len())
            .finish()
    }
}

struct MemorySession {
    shared: Arc<Shared>,
    /// The number of changes when the session last looked.
    seen: u64,
}

impl MemorySession {
    /// Calls `f` with the rows and the time.
    fn with<R>(&self, f: impl FnOnce(&mut Rows, Instant) -> R) -> R {
        let now = self.shared.clock.now();
        let mut rows = self.shared.rows.lock();
        let before = rows.changes;
        let result = f(&mut rows, now);
        if rows.changes != before {
            self.shared.changed.notify_all();
        }
        result
    }

    /// Changes a row on behalf of an operator.
    fn change(&self, key: &str, change: impl FnOnce(&mut Row)) -> Result<(), TableError> {
        self.with(|rows, _| {
            rows.changes += 1;
            let found = rows.change(key, change);
            found.ok_or_else(|| TableError::NotFound { key: key.to_owned() })
        })
    }
}

impl Session for MemorySession {
    fn register(&mut self, registration: &Registration) -> Result<Registered, TableError> {
        let kinds: BTreeSet<_> = registration.kinds.iter().cloned().collect();
        let ttl = registration.ttl;
        self.with(|rows, now| {
            rows.numbers += 1;
            rows.changes += 1;
            let manager = ManagerId::new(rows.numbers);
            registration.previous.into_iter().for_each(|previous| rows.replace(previous));
            let entry = Manager {
                name: registration.name.clone(),
                kinds: kinds.into_iter().collect(),
                ttl,
                deadline: now.checked_add(ttl),
                owned: BTreeSet::new(),
                probation: BTreeSet::new(),
                ordered: BTreeSet::new(),
                is_draining: false,
                request: 0,
                wanted: Wanted::new(0, false),
            };
            rows.managers.insert(manager, entry);
            Ok(Registered { manager, ttl: Some(ttl) })
        })
    }

    fn renew(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.with(|rows, now| {
            let entry = rows.alive(manager, now)?;
            // A session that read the clock earlier does not shorten the lease.
            let deadline = now.checked_add(entry.ttl);
            if entry.deadline.is_some_and(|before| deadline.is_none_or(|after| after > before)) {
                entry.deadline = deadline;
            }
            Ok(())
        })
    }

    fn drain(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.with(|rows, now| {
            rows.alive(manager, now)?.is_draining = true;
            rows.changes += 1;
            Ok(())
        })
    }

    fn request_release(&mut self, manager: ManagerId, wanted: Wanted) -> Result<(), TableError> {
        self.with(|rows, now| {
            let request = rows.numbers + 1;
            let entry = rows.alive(manager, now)?;
            (entry.request, entry.wanted) = (request, wanted);
            rows.numbers = request;
            rows.changes += 1;
            Ok(())
        })
    }

    fn requests(&mut self, manager: ManagerId, after: u64) -> Result<Vec<Request>, TableError> {
        self.with(|rows, now| {
            rows.alive(manager, now)?;
            let newer = rows.others(manager, now).filter(|(_, entry)| entry.request > after);
            let request = |(id, entry): (ManagerId, &Manager)| {
                Request::new(id, entry.request, entry.wanted, entry.kinds.clone())
            };
            let mut requests: Vec<_> = newer.map(request).collect();
            requests.sort_by_key(|request| request.number);
            Ok(requests)
        })
    }

    fn leave(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.expire(manager)
    }

    fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        self.with(|rows, now| {
            let is_dead =
                |(id, entry): (&ManagerId, &Manager)| (!entry.is_alive(now)).then_some(*id);
            let dead: Vec<_> = rows.managers.iter().filter_map(is_dead).collect();
            for manager in &dead {
                for key in rows.suspects(*manager) {
                    rows.change(&key, |row| {
                        if !row.is_steady {
                            row.crash(*manager, crash_limit);
                        }
                    });
                }
                rows.end(*manager);
            }
            Ok(dead)
        })
    }

    fn expire(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.with(|rows, now| {
            if rows.alive(manager, now).is_ok() {
                rows.end(manager);
            }
            Ok(())
        })
    }

    fn share(&mut self, manager: ManagerId) -> Result<Share, TableError> {
        self.with(|rows, now| {
            rows.alive(manager, now)?;
            let entry = &rows.managers[&manager];
            let peers = || {
                let of_kinds = rows.peers(&entry.kinds, now);
                // Without kinds, it is the only one.
                let own = (entry.kinds.is_empty() && !entry.is_draining).then_some(manager);
                of_kinds.chain(own)
            };
            Ok(Share {
                fair: rows.fair(manager, now),
                managers: peers().count(),
                last_request: rows
                    .others(manager, now)
                    .map(|(_, entry)| entry.request)
                    .max()
                    .unwrap_or(0),
                owned: entry.owned.len(),
                is_draining: entry.is_draining,
                has_free: !rows.choose(entry, 1).is_empty(),
                orders: entry.ordered.len(),
                has_dead: rows.managers.values().any(|other| !other.is_alive(now)),
            })
        })
    }

    fn claim(&mut self, manager: ManagerId, max: usize) -> Result<Vec<Claimed>, TableError> {
        self.with(|rows, now| {
            rows.alive(manager, now)?;
            let entry = &rows.managers[&manager];
            if entry.is_draining && rows.peers(&entry.kinds, now).next().is_some() {
                return Ok(Vec::new());
            }
            let chosen = rows.choose(entry, max);
            Ok(chosen.iter().filter_map(|key| rows.claim(key, manager)).collect())
        })
    }

    fn orders(&mut self, manager: ManagerId) -> Result<Vec<Order>, TableError> {
        self.with(|rows, now| {
            rows.alive(manager, now)?;
            let entry = &rows.managers[&manager];
            let ordered = entry.ordered.iter();
            let order = |key: &Arc<str>| {
                let row = &rows.units[key];
                let what = row.order(entry.kinds.binary_search(&row.kind).is_ok())?;
                Some(Order { key: key.as_ref().to_owned(), token: Token::new(row.token), what })
            };
            Ok(ordered.filter_map(order).collect())
        })
    }

    fn owned(&mut self, manager: ManagerId) -> Result<Vec<(String, Token)>, TableError> {
        self.with(|rows, now| {
            let owned = rows.alive(manager, now)?.owned.clone();
            let token =
                |key: Arc<str>| (key.as_ref().to_owned(), Token::new(rows.units[&key].token));
            Ok(owned.into_iter().map(token).collect())
        })
    }

    fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError> {
        let perform = |rows: &mut Rows, now, write: &Write| {
            let key = rows.claimed(&write.key, write.token, now)?;
            match &write.what {
                Written::Record(record) => {
                    rows.change(&key, |row| row.record(write.number, record));
                }
                Written::Release => {
                    rows.free(&key);
                    rows.changes += 1;
                }
            }
            Ok::<_, TableError>(())
        };
        self.with(|rows, now| {
            let result = |write| match perform(rows, now, write) {
                Ok(()) => WriteResult::Done,
                Err(_) => WriteResult::Refused,
            };
            Ok(writes.iter().map(result).collect())
        })
    }

    fn wait_for_change(&mut self, timeout: Duration) -> Result<bool, TableError> {
        let mut rows = self.shared.rows.lock();
        let seen = self.seen;
        self.shared.changed.wait_while_for(&mut rows, |rows| rows.changes == seen, timeout);
        self.seen = rows.changes;
        Ok(self.seen != seen)
    }

    fn put(&mut self, key: &str, kind: &str, spec: &str) -> Result<u64, TableError> {
        self.with(|rows, _| {
            let is_same = |row: &&Row| {
                (&*row.kind, &*row.spec) == (kind, spec) && row.desired != Desired::Remove
            };
            if let Some(row) = rows.units.get(key).filter(is_same) {
                return Ok(row.generation);
            }
            rows.changes += 1;
            let put = |row: &mut Row| {
                if row.desired == Desired::Remove {
                    row.desired = Desired::Run;
                }
                if (&*row.kind, &*row.spec) != (kind, spec) {
                    row.kind = kind.to_owned();
                    row.spec = spec.to_owned();
                    row.generation += 1;
                    row.is_quarantined = false;
                    row.is_done = false;
                    row.forget_failures();
                }
                row.generation
            };
            if let Some(generation) = rows.change(key, put) {
                return Ok(generation);
            }
            rows.insert(key, Row::new(kind, spec));
            Ok(1)
        })
    }

    fn want_run(&mut self, key: &str) -> Result<(), TableError> {
        self.change(key, |row| {
            row.desired = Desired::Run;
            row.is_done = false;
            row.forget_failures();
        })
    }

    fn want_stop(&mut self, key: &str) -> Result<(), TableError> {
        self.change(key, |row| row.desired = Desired::Stop)
    }

    fn remove(&mut self, key: &str) -> Result<(), TableError> {
        self.with(|rows, _| {
            rows.changes += 1;
            let is_free = rows.change(key, |row| {
                row.desired = Desired::Remove;
                row.owner.is_none()
            });
            if is_free.ok_or_else(|| TableError::NotFound { key: key.to_owned() })? {
                rows.delete(&key.into());
            }
            Ok(())
        })
    }

    fn clear_quarantine(&mut self, key: &str) -> Result<(), TableError> {
        self.change(key, |row| {
            row.is_quarantined = false;
            row.forget_failures();
        })
    }

    fn get(&mut self, key: &str) -> Result<Option<UnitRow>, TableError> {
        Ok(self.shared.rows.lock().units.get(key).map(|row| row.show(key)))
    }

    fn scan(&mut self, after: Option<&str>, limit: usize) -> Result<Vec<UnitRow>, TableError> {
        let rows = self.shared.rows.lock();
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let units = rows.units.range::<str, _>((first, Bound::Unbounded));
        Ok(units.take(limit).map(|(key, row)| row.show(key)).collect())
    }

    fn managers(&mut self) -> Result<Vec<ManagerRow>, TableError> {
        self.with(|rows, now| {
            let alive = rows.managers.iter().filter(|(_, entry)| entry.is_alive(now));
            let show = |(manager, entry): (&ManagerId, &Manager)| ManagerRow {
                manager: *manager,
                name: entry.name.clone(),
                kinds: entry.kinds.clone(),
                units: entry.owned.len(),
                is_draining: entry.is_draining,
                remaining: entry.deadline.map(|deadline| deadline.saturating_duration_since(now)),
            };
            Ok(alive.map(show).collect())
        })
    }
}
