//! Registration, leases, and what the end of a lease means.
//!
//! 1. Only the database's clock decides. Argument: every condition on a lease compares `expires_at` with
//!    `clock_timestamp()`, and every `expires_at` is the clock plus the time to live.
//! 2. An ended lease stays ended. Argument: a lease is prolonged only by [`PostgresSession::renew`], whose condition is that
//!    it has not ended by the clock. A row that was deleted is never inserted again, because ids only grow.
//! 3. Each owner is registered. Argument: [`end`] deletes a row of `managers` only after it has freed all units of the
//!    manager, and it holds a lock on that row from before it reads the units. A claim locks the same row `for key
//!    share`, so it either comes first, and `end` sees its units, or it finds no row.
//! 4. A renewal waits for nothing but the end of the lease. Argument: `for key share` does not conflict with an update.

use std::time::Duration;

use postgres::types::Type;
use procession_supervisor::shared::{ManagerId, Registered, Registration, TableError};

use super::operators::check_kinds;
use super::{PostgresSession, Transaction, number, unsigned};
use crate::error::has_code;
use crate::schema;

/// The longest time to live in milliseconds: 30 years.
const LONGEST_TTL: i64 = 30 * 365 * 24 * 60 * 60 * 1000;
/// How long the end of a dead manager waits for the locks of its units. A guarded transaction may hold one for longer,
/// and should hold up neither the other dead managers nor the session.
const PATIENCE: &str = "set local lock_timeout = '250ms'";

impl PostgresSession {
    pub(super) fn register(
        &mut self,
        registration: &Registration,
    ) -> Result<Registered, TableError> {
        let kinds = check_kinds(&registration.kinds)?;
        let name = registration.name.replace('\0', "\u{fffd}");
        // Never shorter than the manager believes.
        let ttl_ms = registration.ttl.as_nanos().div_ceil(1_000_000);
        let ttl_ms = i64::try_from(ttl_ms).unwrap_or(LONGEST_TTL).min(LONGEST_TTL);
        let previous = registration.previous.map(number);
        if self.is_new_timeline()? {
            schema::follow_timeline(self)?;
        }
        let id = self.transact(|tx| {
            let rows = tx.query(
                "insert into {s}.managers (id, name, kinds, ttl_ms, expires_at) \
                 values (pg_catalog.nextval(pg_catalog.to_regclass($4)), $1, $2, $3, \
                   pg_catalog.clock_timestamp() + $3 * interval '1 millisecond') \
                 returning id",
                &[
                    (&name, Type::TEXT),
                    (&kinds, Type::TEXT_ARRAY),
                    (&ttl_ms, Type::INT8),
                    (&tx.names().sql("{s}.manager_ids", false), Type::TEXT),
                ],
            )?;
            let id: i64 = rows.first().map_or(0, |row| row.get(0));
            if let Some(previous) = previous {
                replace(tx, previous)?;
            }
            tx.query("select {s}.changed()", &[])?;
            Ok(id)
        })?;
        let ttl = Duration::from_millis(unsigned(ttl_ms));
        Ok(Registered { manager: ManagerId::new(unsigned(id)), ttl: Some(ttl) })
    }

    fn is_new_timeline(&mut self) -> Result<bool, TableError> {
        let rows = self.query("select {new_timeline}", &[])?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    pub(super) fn renew(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let rows = self.query(
            "update {s}.managers set expires_at = greatest(expires_at, \
               pg_catalog.clock_timestamp() + ttl_ms * interval '1 millisecond') \
             where id = $1 and expires_at > pg_catalog.clock_timestamp() returning 1",
            &[(&number(manager), Type::INT8)],
        )?;
        if rows.is_empty() { Err(TableError::Refused) } else { Ok(()) }
    }

    pub(super) fn drain(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let rows = self.query(
            "with hit as ( \
               update {s}.managers set is_draining = true \
               where id = $1 and expires_at > pg_catalog.clock_timestamp() returning 1) \
             select {s}.changed() from hit",
            &[(&number(manager), Type::INT8)],
        )?;
        if rows.is_empty() { Err(TableError::Refused) } else { Ok(()) }
    }

    pub(super) fn expire(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let manager = number(manager);
        self.transact(|tx| {
            let alive = tx.query(
                "select from {s}.managers \
                 where id = $1 and expires_at > pg_catalog.clock_timestamp() for update",
                &[(&manager, Type::INT8)],
            )?;
            if alive.is_empty() { Ok(()) } else { end(tx, manager, None) }
        })
    }

    pub(super) fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        let dead = self.query(
            "select id from {s}.managers where expires_at <= pg_catalog.clock_timestamp() order by id",
            &[],
        )?;
        let mut ended = Vec::new();
        for manager in dead.iter().map(|row| row.get::<_, i64>(0)) {
            let result = self.transact(|tx| end_dead(tx, manager, crash_limit));
            match result {
                Ok(true) => ended.push(ManagerId::new(unsigned(manager))),
                Ok(false) => {}
                Err(error) if has_code(&error, &postgres::error::SqlState::LOCK_NOT_AVAILABLE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }
}

/// Ends the lease of a manager if it is dead and nobody else ends it.
fn end_dead(tx: &mut Transaction<'_>, manager: i64, crash_limit: u32) -> Result<bool, TableError> {
    tx.batch(PATIENCE)?;
    let dead = tx.query(
        "select from {s}.managers \
         where id = $1 and expires_at <= pg_catalog.clock_timestamp() for update skip locked",
        &[(&manager, Type::INT8)],
    )?;
    if dead.is_empty() {
        return Ok(false);
    }
    end(tx, manager, Some(crash_limit))?;
    Ok(true)
}

/// Frees all units of a manager, whose row is locked, and forgets it. With a limit, its units have crashed.
fn end(tx: &mut Transaction<'_>, manager: i64, crash_limit: Option<u32>) -> Result<(), TableError> {
    let owned = tx.query(
        "select crashes >= 2 and not is_steady, desired = 'remove' \
         from {s}.units where owner = $1 order by key for update",
        &[(&manager, Type::INT8)],
    )?;
    let has_suspect = owned.iter().any(|row| row.get(0));
    let has_removed = owned.iter().any(|row| row.get(1));
    if let Some(limit) = crash_limit.map(i64::from) {
        // If it owned a unit on probation, that unit is to blame. Otherwise, all that were not steady are.
        let guilty = if has_suspect { "crashes >= 2" } else { "true" };
        let crash = format!(
            "update {{s}}.units set \
               owner = null, is_ready = false, crashes = crashes + 1, crashed_with = $1, \
               is_quarantined = is_quarantined or crashes + 1 >= $2, \
               last_error = case when crashes + 1 >= $2 then pg_catalog.format( \
                 'the program that ran it has died %s %s', \
                 crashes + 1, case crashes when 0 then 'time' else 'times' end) else last_error end \
             where owner = $1 and desired <> 'remove' and not is_steady and {guilty}"
        );
        tx.query(&crash, &[(&manager, Type::INT8), (&limit, Type::INT8)])?;
    }
    tx.query(
        "update {s}.units set owner = null, is_ready = false, is_steady = false \
         where owner = $1 and desired <> 'remove'",
        &[(&manager, Type::INT8)],
    )?;
    if has_removed {
        tx.query("delete from {s}.units where owner = $1", &[(&manager, Type::INT8)])?;
    }
    tx.query(
        "with ended as (delete from {s}.managers where id = $1) select {s}.changed()",
        &[(&manager, Type::INT8)],
    )?;
    Ok(())
}

/// The program of a manager lives on without its lease, so the units have not crashed.
///
/// If its lease is being ended at this moment, the first statement waits for that, and the second one sees the crashes.
fn replace(tx: &mut Transaction<'_>, manager: i64) -> Result<(), TableError> {
    let locked = "select from {s}.managers where id = $1 for update";
    if !tx.query(locked, &[(&manager, Type::INT8)])?.is_empty() {
        end(tx, manager, None)?;
    }
    let crashed = tx.query(
        "select from {s}.units where crashed_with = $1 order by key for update",
        &[(&manager, Type::INT8)],
    )?;
    if !crashed.is_empty() {
        tx.query(
            "update {s}.units set crashes = greatest(crashes - 1, 0), crashed_with = null \
             where crashed_with = $1",
            &[(&manager, Type::INT8)],
        )?;
    }
    Ok(())
}
