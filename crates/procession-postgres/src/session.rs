//! [`PostgresSession`]: the calls of the contract, on one connection.
//!
//! | file | subject |
//! |---|---|
//! | `managers` | registration and leases; their ends are in [`ends`](crate::ends) |
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
//! If there is a deadlock nevertheless, for example with a transaction of an operator, [the
//! connection](Connection::transact) begins again.
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

use postgres::Client;
use procession_supervisor::shared::{
    Claimed, ManagerId, ManagerRow, Order, Registered, Registration, Request, Session, Share,
    TableError, Token, UnitRow, Wanted, Write, WriteResult,
};

use self::changes::Changes;
use crate::about::About;
use crate::connection::Connection;
use crate::schema;

pub(crate) struct PostgresSession {
    connection: Connection,
    changes: Changes,
}

impl PostgresSession {
    pub(crate) fn open(client: Client, about: Arc<About>) -> Result<Self, TableError> {
        let mut connection = Connection::new(client, about);
        schema::prepare(&mut connection)?;
        schema::follow_timeline(&mut connection)?;
        connection.make_durable()?;
        Ok(Self { connection, changes: Changes::Unwatched })
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
