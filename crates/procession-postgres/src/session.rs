//! [`PostgresSession`]: one connection to the table.
//!
//! | file | subject |
//! |---|---|
//! | `managers` | registration, leases, and what the end of one means |
//! | `claims` | shares, claims and orders |
//! | `writes` | what managers write about their units |
//! | `operators` | the calls of operators, and reading the table |
//! | `changes` | waiting for a change |
//!
//! Lock order: a transaction locks rows of `managers` first, then rows of `units` in the order of their keys, then rows
//! of `kinds` in the order of the kinds, then `meta`. The triggers of the schema lock the last two: `kinds` if the
//! number of wanted units changes, `meta` if units are deleted. The argument that no deadlock is possible needs this of
//! each transaction, and of each of its statements:
//!
//! 1. A transaction locks all its rows of `units` before its first write to one of them. A registration, which ends
//!    another lease first, waits for the rest only for a moment, and then goes on without them.
//! 2. At most one of its statements changes `kinds`, and none after a statement that deletes units.
//! 3. A claim locks units in no order, but with `skip locked`, so it does not wait for one. Neither do the writes of
//!    managers and the ends of leases: a transaction of a user that is guarded may hold a unit for any time, and must
//!    hold up nothing else. There is one exception: if a row changes after a statement began and before the statement
//!    locks it, PostgreSQL locks its newest version, and waits for that. Claims compete for the same rows, so this
//!    happens to them often, and they have a lock timeout of their own (see `claims`). The rows of the others have one
//!    owner; their waits end with the lock timeout of the session.
//!
//! If there is a deadlock nevertheless, for example with a transaction of an operator, [`repeat`] begins again.
//!
//! The row of a manager is deleted after all its units were freed, so each owner has a row. Whoever has locked a row of
//! `units` knows that it is not freed meanwhile, and needs no lock on the owner's.

mod changes;
mod claims;
mod managers;
mod operators;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use postgres::types::{ToSql, Type};
use postgres::{Client, IsolationLevel, Row};
use procession_supervisor::shared::{
    Claimed, ManagerId, ManagerRow, Order, Registered, Registration, Request, Session, Share,
    TableError, Token, UnitRow, Wanted, Write, WriteResult,
};

use self::changes::Changes;
pub(crate) use self::managers::end_all;
use crate::error::{failed, is_conflict};
use crate::names::Names;
use crate::schema;
use crate::table::About;

/// How often a transaction is repeated after a conflict.
const ATTEMPTS: usize = 4;

/// A crash of the server must lose no claim, or its token would be given again, and no release. So commits wait for the
/// disk, even if the administrator does not want them to.
const DURABLE: &str = "select pg_catalog.set_config('synchronous_commit', 'local', true) \
                       where pg_catalog.current_setting('synchronous_commit') = 'off'";

pub(crate) struct PostgresSession {
    client: Client,
    about: Arc<About>,
    changes: Changes,
    /// The server tells its timeline.
    pub(crate) sees_timeline: bool,
}

/// A transaction, at the isolation level read committed.
pub(crate) struct Transaction<'a> {
    inner: postgres::Transaction<'a>,
    about: &'a About,
    sees_timeline: bool,
}

/// A parameter of a statement. With its type, a statement takes one round trip and leaves nothing prepared, so that
/// transaction poolers work.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl PostgresSession {
    pub(crate) fn open(client: Client, about: Arc<About>) -> Result<Self, TableError> {
        let changes = Changes::Unwatched;
        let mut session = Self { client, about, changes, sees_timeline: false };
        schema::prepare(&mut session)?;
        schema::follow_timeline(&mut session)?;
        if !session.about.is_poll_only {
            session
                .client
                .batch_execute(&DURABLE.replace(", true)", ", false)"))
                .map_err(failed)?;
        }
        Ok(session)
    }

    /// Performs a statement. After a conflict with another transaction, repeats it.
    pub(crate) fn query(
        &mut self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, TableError> {
        let statement = self.about.names.sql(statement, self.sees_timeline);
        repeat(|| self.client.query_typed(&statement, parameters).map_err(failed))
    }

    /// Performs a transaction. After a conflict with another one, repeats it.
    pub(crate) fn transact<R>(
        &mut self,
        mut perform: impl FnMut(&mut Transaction<'_>) -> Result<R, TableError>,
    ) -> Result<R, TableError> {
        repeat(|| self.attempt(&mut perform))
    }

    fn attempt<R>(
        &mut self,
        perform: impl FnOnce(&mut Transaction<'_>) -> Result<R, TableError>,
    ) -> Result<R, TableError> {
        let level = IsolationLevel::ReadCommitted;
        let inner = self.client.build_transaction().isolation_level(level).start();
        let inner = inner.map_err(failed)?;
        let (about, sees_timeline) = (&*self.about, self.sees_timeline);
        let mut tx = Transaction { inner, about, sees_timeline };
        if about.is_poll_only {
            let timeout = about.statement_timeout;
            let lock = timeout * 4 / 5;
            tx.batch(&format!(
                "set local statement_timeout = {0}; set local lock_timeout = {1}; \
                 set local idle_in_transaction_session_timeout = {0}; {DURABLE}",
                timeout.as_millis(),
                lock.as_millis().max(1),
            ))?;
        }
        // If it fails, dropping the transaction rolls it back.
        let result = perform(&mut tx)?;
        tx.inner.commit().map_err(failed)?;
        Ok(result)
    }
}

/// Performs a transaction that has changed nothing if it fails because of a conflict.
fn repeat<R>(mut perform: impl FnMut() -> Result<R, TableError>) -> Result<R, TableError> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        match perform() {
            Err(error) if is_conflict(&error) && attempts.next().is_some() => {}
            result => return result,
        }
    }
}

impl Transaction<'_> {
    pub(crate) fn names(&self) -> &Names {
        &self.about.names
    }

    pub(crate) fn query(
        &mut self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, TableError> {
        let statement = self.about.names.sql(statement, self.sees_timeline);
        self.inner.query_typed(&statement, parameters).map_err(failed)
    }

    /// Performs several statements without parameters.
    pub(crate) fn batch(&mut self, statements: &str) -> Result<(), TableError> {
        let statements = self.about.names.sql(statements, self.sees_timeline);
        self.inner.batch_execute(&statements).map_err(failed)
    }
}

/// The number of a manager. No manager has one that does not fit.
fn number(manager: ManagerId) -> i64 {
    i64::try_from(manager.get()).unwrap_or(-1)
}

/// A number of the database as one of the contract, and back.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Session for PostgresSession {
    fn register(&mut self, registration: &Registration) -> Result<Registered, TableError> {
        self.register(registration)
    }

    fn renew(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.renew(manager)
    }

    fn drain(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.drain(manager)
    }

    fn request_release(&mut self, manager: ManagerId, wanted: Wanted) -> Result<(), TableError> {
        self.request_release(manager, wanted)
    }

    fn requests(&mut self, manager: ManagerId, after: u64) -> Result<Vec<Request>, TableError> {
        self.requests(manager, after)
    }

    fn leave(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.expire(manager)
    }

    fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        self.expire_dead(crash_limit)
    }

    fn expire(&mut self, manager: ManagerId) -> Result<(), TableError> {
        self.expire(manager)
    }

    fn share(&mut self, manager: ManagerId) -> Result<Share, TableError> {
        self.share(manager)
    }

    fn claim(&mut self, manager: ManagerId, max: usize) -> Result<Vec<Claimed>, TableError> {
        self.claim(manager, max)
    }

    fn orders(&mut self, manager: ManagerId) -> Result<Vec<Order>, TableError> {
        self.orders(manager)
    }

    fn owned(&mut self, manager: ManagerId) -> Result<Vec<(String, Token)>, TableError> {
        self.owned(manager)
    }

    fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError> {
        self.write(writes)
    }

    fn wait_for_change(&mut self, timeout: Duration) -> Result<bool, TableError> {
        self.wait_for_change(timeout)
    }

    fn put(&mut self, key: &str, kind: &str, spec: &str) -> Result<u64, TableError> {
        self.put(key, kind, spec)
    }

    fn want_run(&mut self, key: &str) -> Result<(), TableError> {
        self.want_run(key)
    }

    fn want_stop(&mut self, key: &str) -> Result<(), TableError> {
        self.want_stop(key)
    }

    fn remove(&mut self, key: &str) -> Result<(), TableError> {
        self.remove(key)
    }

    fn clear_quarantine(&mut self, key: &str) -> Result<(), TableError> {
        self.clear_quarantine(key)
    }

    fn get(&mut self, key: &str) -> Result<Option<UnitRow>, TableError> {
        self.get(key)
    }

    fn scan(&mut self, after: Option<&str>, limit: usize) -> Result<Vec<UnitRow>, TableError> {
        self.scan(after, limit)
    }

    fn managers(&mut self) -> Result<Vec<ManagerRow>, TableError> {
        self.managers()
    }
}
