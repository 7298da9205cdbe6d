//! Registration and leases. The end of a lease is in [`ends`](crate::ends).
//!
//! 1. Only the database's clock decides. Argument: every condition on a lease compares `expires_at` with
//!    `clock_timestamp()`, and every `expires_at` is the clock plus the time to live.
//! 2. An ended lease stays ended. Argument: a lease is prolonged only by [`PostgresSession::renew`], whose condition is
//!    that it has not ended by the clock, and [`end`] sets the time back to before all times. A row that was deleted is
//!    never inserted again, because ids only grow.
//! 3. A renewal waits only for the end of the lease, or for another statement about the same manager, which commits at
//!    once. Argument: `for key share` does not conflict with an update.

use std::time::Duration;

use postgres::Row;
use postgres::error::SqlState;
use postgres::types::Type;
use procession_supervisor::shared::{
    ManagerId, Registered, Registration, Request, TableError, Wanted,
};

use super::operators::check_kinds;
use super::{PostgresSession, number, signed, unsigned};
use crate::connection::Transaction;
use crate::ends::{Blame, end, end_dead};
use crate::error::has_code;
use crate::schema;

/// The longest time to live in milliseconds: 30 years.
const LONGEST_TTL: i64 = 30 * 365 * 24 * 60 * 60 * 1000;
/// How long a registration waits for the units whose crashes it takes back. A guarded transaction may hold one for
/// longer, and should not hold up the registration.
const PATIENCE: &str = "set local lock_timeout = '250ms'";

/// At least one row, unless the lease of the manager $1 has ended; without a number if there is no request after $2.
const REQUESTS: &str = "\
    select o.request, o.wanted, o.is_joining, o.kinds, o.id from {s}.managers m left join {s}.managers o \
      on o.id <> m.id and o.request > $2 and not o.is_draining \
        and o.expires_at > pg_catalog.clock_timestamp() and o.kinds && m.kinds \
    where m.id = $1 and m.expires_at > pg_catalog.clock_timestamp() order by o.request";

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
            schema::follow_timeline(&mut self.connection)?;
        }
        let register = |tx: &mut Transaction<'_>, waits: bool| {
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
                replace(tx, previous, waits)?;
            }
            tx.query("select {s}.changed()", &[])?;
            Ok(id)
        };
        let registered = self.connection.transact(|tx| register(tx, true));
        let id = match registered {
            Err(error) if previous.is_some() && has_code(&error, &SqlState::LOCK_NOT_AVAILABLE) => {
                self.connection.transact(|tx| register(tx, false))
            }
            registered => registered,
        }?;
        let ttl = Duration::from_millis(unsigned(ttl_ms));
        Ok(Registered::new(ManagerId::new(unsigned(id)), Some(ttl)))
    }

    fn is_new_timeline(&mut self) -> Result<bool, TableError> {
        let rows = self.connection.query("select {new_timeline}", &[])?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    pub(super) fn renew(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let rows = self.connection.query(
            "update {s}.managers set expires_at = greatest(expires_at, \
               pg_catalog.clock_timestamp() + ttl_ms * interval '1 millisecond') \
             where id = $1 and expires_at > pg_catalog.clock_timestamp() returning 1",
            &[(&number(manager), Type::INT8)],
        )?;
        if rows.is_empty() { Err(TableError::Refused) } else { Ok(()) }
    }

    pub(super) fn drain(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let rows = self.connection.query(
            "with hit as ( \
               update {s}.managers set is_draining = true \
               where id = $1 and expires_at > pg_catalog.clock_timestamp() returning 1) \
             select {s}.changed() from hit",
            &[(&number(manager), Type::INT8)],
        )?;
        if rows.is_empty() { Err(TableError::Refused) } else { Ok(()) }
    }

    pub(super) fn request_release(
        &mut self,
        manager: ManagerId,
        wanted: Wanted,
    ) -> Result<(), TableError> {
        let sequence = self.connection.about.names.sql("{s}.manager_ids", false);
        let Wanted { units, is_joining, .. } = wanted;
        let units = i64::try_from(units).unwrap_or(i64::MAX);
        let rows = self.connection.query(
            "with hit as ( \
               update {s}.managers set request = pg_catalog.nextval(pg_catalog.to_regclass($2)), \
                 wanted = $3, is_joining = $4 \
               where id = $1 and expires_at > pg_catalog.clock_timestamp() returning 1) \
             select {s}.changed() from hit",
            &[
                (&number(manager), Type::INT8),
                (&sequence, Type::TEXT),
                (&units, Type::INT8),
                (&is_joining, Type::BOOL),
            ],
        )?;
        if rows.is_empty() { Err(TableError::Refused) } else { Ok(()) }
    }

    pub(super) fn requests(
        &mut self,
        manager: ManagerId,
        after: u64,
    ) -> Result<Vec<Request>, TableError> {
        let rows = self
            .connection
            .query(REQUESTS, &[(&number(manager), Type::INT8), (&signed(after), Type::INT8)])?;
        if rows.is_empty() {
            return Err(TableError::Refused);
        }
        let request = |row: &Row| {
            let number = row.get::<_, Option<i64>>(0)?;
            let units = usize::try_from(row.get::<_, i64>(1)).unwrap_or(usize::MAX);
            let (asking, wanted) =
                (ManagerId::new(unsigned(row.get(4))), Wanted::new(units, row.get(2)));
            Some(Request::new(asking, unsigned(number), wanted, row.get(3)))
        };
        Ok(rows.iter().filter_map(request).collect())
    }

    pub(super) fn expire(&mut self, manager: ManagerId) -> Result<(), TableError> {
        let manager = number(manager);
        self.connection.transact(|tx| {
            let alive = tx.query(
                "select from {s}.managers \
                 where id = $1 and expires_at > pg_catalog.clock_timestamp() for update",
                &[(&manager, Type::INT8)],
            )?;
            if alive.is_empty() { Ok(()) } else { end(tx, manager, Blame::Nobody) }
        })
    }

    pub(super) fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        let dead = self.connection.query(
            "select id from {s}.managers where expires_at <= pg_catalog.clock_timestamp() order by id",
            &[],
        )?;
        let mut ended = Vec::new();
        for manager in dead.iter().map(|row| row.get::<_, i64>(0)) {
            if self.connection.transact(|tx| end_dead(tx, manager, crash_limit))? {
                ended.push(ManagerId::new(unsigned(manager)));
            }
        }
        Ok(ended)
    }
}

/// The program of a manager lives on without its lease, so the units have not crashed. If `waits` is not set, what
/// somebody holds keeps its crash.
///
/// If its lease is being ended at this moment, the first statement waits for that, and the second one sees the crashes.
fn replace(tx: &mut Transaction<'_>, manager: i64, waits: bool) -> Result<(), TableError> {
    let locked = "select from {s}.managers where id = $1 for update";
    if !tx.query(locked, &[(&manager, Type::INT8)])?.is_empty() {
        // Even if it was found dead, what is not free yet has not crashed.
        let innocent =
            "update {s}.managers set blamed = 'nobody' where id = $1 and blamed is not null";
        tx.query(innocent, &[(&manager, Type::INT8)])?;
        end(tx, manager, Blame::Nobody)?;
    }
    if waits {
        tx.batch(PATIENCE)?;
    }
    let skip = if waits { "" } else { "skip locked" };
    let crashed = tx.query(
        &format!(
            "select key from {{s}}.units where crashed_with = $1 order by key for update {skip}"
        ),
        &[(&manager, Type::INT8)],
    )?;
    if !crashed.is_empty() {
        let crashed: Vec<&str> = crashed.iter().map(|row| row.get(0)).collect();
        tx.query(
            "update {s}.units set crashes = crashes - 1, crashed_with = null \
             where key = any($1) and crashed_with = $2",
            &[(&crashed, Type::TEXT_ARRAY), (&manager, Type::INT8)],
        )?;
    }
    Ok(())
}
