//! [`SqliteSession`]: a connection, and the transactions of its calls.
//!
//! 1. **Each call is atomic.** Argument: each call that writes does so in one transaction, in [`SqliteSession::write`].
//!    If it fails, the transaction is rolled back when it is dropped.
//! 2. **No transaction fails because its snapshot is old.** Argument: [`SqliteSession::write`] takes the write lock
//!    before the first read, and [`SqliteSession::read`] does not write.
//! 3. **Each owner is registered**, so a unit with an owner has an owner whose lease has not ended. Argument: `claim`
//!    looks at the manager's row in its transaction, and a row is deleted only in [`leases::end`], which frees all
//!    units of the manager in the same transaction.
//! 4. **A wait misses no change.** Argument: each call that other managers should know of raises `changes` in its
//!    transaction. A commit of another connection changes `data_version`, and after a transaction of its own, the
//!    session looks at `changes` in any case.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use procession_supervisor::shared::{
    Claimed, ManagerId, ManagerRow, Order, Registered, Registration, Request, Session, Share,
    TableError, Token, UnitRow, Wanted, Write, WriteResult,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::changes::{changes, data_version};
use crate::error::Failure;
use crate::lock::DeadFile;
use crate::numbers::id;
use crate::shared::Shared;
use crate::{claims, leases, schema, units};

/// How often a session looks for a change while it waits.
const LOOK: Duration = Duration::from_millis(25);
/// The minimum time between two looks at the lock files for [`Share::has_dead`].
const PROBE: Duration = Duration::from_millis(100);

pub(crate) struct SqliteSession {
    connection: Connection,
    shared: Arc<Shared>,
    /// `data_version` when the session last looked.
    version: i64,
    /// `changes` when the session last looked.
    changes: i64,
    /// It has written since it last looked.
    has_written: bool,
    /// When it last looked at the lock files for [`Share::has_dead`].
    probed: Option<Instant>,
}

impl SqliteSession {
    pub(crate) fn new(connection: Connection, shared: Arc<Shared>) -> Result<Self, TableError> {
        let about = |failure: Failure| failure.about(&shared.path);
        let version = data_version(&connection).map_err(about)?;
        let changes = changes(&connection).map_err(about)?;
        Ok(Self { connection, shared, version, changes, has_written: false, probed: None })
    }

    /// Calls `f` in a transaction that has the write lock, and commits it.
    fn write<R>(
        &mut self,
        f: impl FnOnce(&Transaction<'_>) -> Result<R, Failure>,
    ) -> Result<R, TableError> {
        self.has_written = true;
        let write = || -> Result<R, Failure> {
            let behavior = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            schema::check(&transaction)?;
            let result = f(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        write().map_err(|failure| failure.about(&self.shared.path))
    }

    /// Calls `f` in a transaction that sees the database at one moment.
    fn read<R>(
        &mut self,
        f: impl FnOnce(&Transaction<'_>) -> Result<R, Failure>,
    ) -> Result<R, TableError> {
        let read = || -> Result<R, Failure> {
            let transaction = self.connection.transaction()?;
            let result = f(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        read().map_err(|failure| failure.about(&self.shared.path))
    }

    /// Lets go of the lock file of a manager if the store has refused the manager.
    fn unless_refused<R>(
        &self,
        manager: ManagerId,
        result: Result<R, TableError>,
    ) -> Result<R, TableError> {
        if matches!(result, Err(TableError::Refused)) {
            self.shared.let_go(manager);
        }
        result
    }

    fn look_for_change(&mut self) -> Result<bool, Failure> {
        let version = data_version(&self.connection)?;
        if version == self.version && !self.has_written {
            return Ok(false);
        }
        let changes = changes(&self.connection)?;
        let has_changed = changes != self.changes;
        (self.version, self.changes, self.has_written) = (version, changes, false);
        Ok(has_changed)
    }

    /// The registered managers that are dead, with the proof.
    fn find_dead(&mut self) -> Result<Vec<(i64, DeadFile)>, TableError> {
        let managers = self.read(leases::registered)?;
        let mut dead = Vec::new();
        for manager in managers {
            // A lock file of this table shows that the manager is alive without a look at it.
            if !self.shared.held.lock().contains_key(&manager) {
                let found = self.shared.directory.find_dead(manager)?;
                dead.extend(found.map(|file| (manager, file)));
            }
        }
        Ok(dead)
    }

    /// Whether a manager may be dead. The answer may be as old as [`PROBE`].
    fn may_have_dead(&mut self) -> bool {
        if self.probed.is_some_and(|probed| probed.elapsed() < PROBE) {
            return false;
        }
        // `expire_dead` reports the error, if there is one.
        let all_live = self.find_dead().is_ok_and(|dead| dead.is_empty());
        self.probed = all_live.then(Instant::now);
        !all_live
    }
}

impl Session for SqliteSession {
    fn register(&mut self, registration: &Registration) -> Result<Registered, TableError> {
        let shared = self.shared.clone();
        let register = |tx: &Transaction<'_>| leases::register(tx, registration, &shared.directory);
        // If the commit fails, the lock file is unlocked and unlinked here.
        let (manager, lock_file) = self.write(register)?;
        self.shared.held.lock().insert(manager, lock_file);
        registration.previous.into_iter().for_each(|previous| self.shared.let_go(previous));
        Ok(Registered::new(id(manager), None))
    }

    fn renew(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let renewed = self.read(|tx| {
            schema::check(tx)?;
            leases::alive(tx, manager).map(drop)
        });
        self.unless_refused(manager, renewed)
    }

    fn drain(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let drained = self.write(|tx| leases::drain(tx, manager));
        self.unless_refused(manager, drained)
    }

    fn request_release(&mut self, manager: ManagerId, wanted: Wanted) -> Result<(), TableError> {
        let requested = self.write(|tx| leases::request_release(tx, manager, wanted));
        self.unless_refused(manager, requested)
    }

    fn requests(&mut self, manager: ManagerId, after: u64) -> Result<Vec<Request>, TableError> {
        let requests = self.read(|tx| leases::requests(tx, manager, after));
        self.unless_refused(manager, requests)
    }

    fn leave(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.expire(manager)
    }

    fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        let dead = self.find_dead()?;
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        // Others may find them at the same time: only one deletes the row.
        let expired = self.write(|tx| {
            let is_first = |(manager, file)| match leases::crash(tx, manager, crash_limit) {
                Ok(true) => Some(Ok((id(manager), file))),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            };
            dead.into_iter().filter_map(is_first).collect::<Result<Vec<_>, _>>()
        })?;
        let unlink = |(manager, file): (ManagerId, DeadFile)| {
            file.unlink();
            manager
        };
        Ok(expired.into_iter().map(unlink).collect())
    }

    fn expire(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let Ok(number) = i64::try_from(manager.get()) else { return Ok(()) };
        let has_ended = self.write(|tx| leases::end(tx, number))?;
        self.shared.let_go(manager);
        if has_ended {
            // If its program has ended, nobody else removes its file soon.
            if let Ok(Some(dead)) = self.shared.directory.find_dead(number) {
                dead.unlink();
            }
        }
        Ok(())
    }

    fn share(&mut self, manager: ManagerId) -> Result<Share, TableError> {
        let share = self.read(|tx| claims::share(tx, manager));
        let mut share = self.unless_refused(manager, share)?;
        share.has_dead = self.may_have_dead();
        Ok(share)
    }

    fn claim(&mut self, manager: ManagerId, max: usize) -> Result<Vec<Claimed>, TableError> {
        // Most managers that ask find nothing. They need not wait for the write lock.
        let has_free = self.read(|tx| claims::has_free(tx, manager));
        if !self.unless_refused(manager, has_free)? {
            return Ok(Vec::new());
        }
        let claimed = self.write(|tx| claims::claim(tx, manager, max));
        self.unless_refused(manager, claimed)
    }

    fn orders(&mut self, manager: ManagerId) -> Result<Vec<Order>, TableError> {
        let orders = self.read(|tx| claims::orders(tx, manager));
        self.unless_refused(manager, orders)
    }

    fn owned(&mut self, manager: ManagerId) -> Result<Vec<(String, Token)>, TableError> {
        let owned = self.read(|tx| claims::owned(tx, manager));
        self.unless_refused(manager, owned)
    }

    fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        SqliteSession::write(self, |tx| {
            writes.iter().map(|write| claims::write(tx, write)).collect()
        })
    }

    fn wait_for_change(&mut self, timeout: Duration) -> Result<bool, TableError> {
        let begun = Instant::now();
        loop {
            if self.look_for_change().map_err(|failure| failure.about(&self.shared.path))? {
                return Ok(true);
            }
            let remaining = timeout.saturating_sub(begun.elapsed());
            if remaining.is_zero() {
                return Ok(false);
            }
            thread::sleep(remaining.min(LOOK));
        }
    }

    fn put(&mut self, key: &str, kind: &str, spec: &str) -> Result<u64, TableError> {
        // Programs put the same units each time they start. They need not wait for the write lock.
        if let Some(generation) = self.read(|tx| units::unchanged(tx, key, kind, spec))? {
            return Ok(generation);
        }
        self.write(|tx| units::put(tx, key, kind, spec))
    }

    fn want_run(&mut self, key: &str) -> Result<(), TableError> {
        self.write(|tx| units::want_run(tx, key))
    }

    fn want_stop(&mut self, key: &str) -> Result<(), TableError> {
        self.write(|tx| units::want_stop(tx, key))
    }

    fn remove(&mut self, key: &str) -> Result<(), TableError> {
        self.write(|tx| units::remove(tx, key))
    }

    fn clear_quarantine(&mut self, key: &str) -> Result<(), TableError> {
        self.write(|tx| units::clear_quarantine(tx, key))
    }

    fn get(&mut self, key: &str) -> Result<Option<UnitRow>, TableError> {
        self.read(|tx| units::get(tx, key))
    }

    fn scan(&mut self, after: Option<&str>, limit: usize) -> Result<Vec<UnitRow>, TableError> {
        self.read(|tx| units::scan(tx, after, limit))
    }

    fn managers(&mut self) -> Result<Vec<ManagerRow>, TableError> {
        let mut rows = self.read(leases::managers)?;
        let dead: Vec<_> = self.find_dead()?.into_iter().map(|(manager, _)| id(manager)).collect();
        rows.retain(|row| !dead.contains(&row.manager));
        Ok(rows)
    }
}
