//! Registration, leases, and what the end of a lease means.
//!
//! 1. Only the database's clock decides. Argument: every condition on a lease compares `expires_at` with
//!    `clock_timestamp()`, and every `expires_at` is the clock plus the time to live.
//! 2. An ended lease stays ended. Argument: a lease is prolonged only by [`PostgresSession::renew`], whose condition is
//!    that it has not ended by the clock, and [`end`] sets the time back to before all times. A row that was deleted is
//!    never inserted again, because ids only grow.
//! 3. Each owner has a row. Argument: [`end`] deletes a row of `managers` only when it sees no unit of the manager, and
//!    it holds a lock on that row from before it looks. A claim locks the same row `for key share`, so it either comes
//!    first, and `end` sees its units, or it finds that the lease has ended.
//! 4. A renewal waits only for the end of the lease, or for another statement about the same manager, which commits at
//!    once. Argument: `for key share` does not conflict with an update.
//! 5. The end of a lease waits for no unit that somebody holds, with one exception: if its row changes after a
//!    statement began and before the statement locks it, the end waits until the lock timeout of the session (see
//!    `session`). Argument: [`end`] frees the units that nobody has locked. While others are left, the row remains, and
//!    each later call of [`PostgresSession::expire_dead`] frees more.
//! 6. The blame for a death is decided once. Argument: [`end`] writes it into the row when it begins, and later calls
//!    only read it. A unit that is freed then is judged by it as if it had been freed at once: until then, only
//!    operators can change what counts, because the writes of the manager are refused.

use std::time::Duration;

use postgres::Row;
use postgres::error::SqlState;
use postgres::types::Type;
use procession_supervisor::shared::{
    ManagerId, PROBATION_CRASHES, Registered, Registration, Request, TableError, Wanted,
};

use super::operators::check_kinds;
use super::{PostgresSession, Transaction, number, signed, unsigned};
use crate::error::has_code;
use crate::schema;

/// The longest time to live in milliseconds: 30 years.
const LONGEST_TTL: i64 = 30 * 365 * 24 * 60 * 60 * 1000;
/// How long a registration waits for the units whose crashes it takes back. A guarded transaction may hold one for
/// longer, and should not hold up the registration.
const PATIENCE: &str = "set local lock_timeout = '250ms'";

/// Which units are to blame for the end of their owner.
#[derive(Clone, Copy)]
enum Blame {
    Nobody,
    /// Those that crashed with a dead manager, which are quarantined after this number of crashes.
    Crashed {
        limit: u32,
    },
}

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
            schema::follow_timeline(self)?;
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
        let registered = self.transact(|tx| register(tx, true));
        let id = match registered {
            Err(error) if previous.is_some() && has_code(&error, &SqlState::LOCK_NOT_AVAILABLE) => {
                self.transact(|tx| register(tx, false))
            }
            registered => registered,
        }?;
        let ttl = Duration::from_millis(unsigned(ttl_ms));
        Ok(Registered::new(ManagerId::new(unsigned(id)), Some(ttl)))
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

    pub(super) fn request_release(
        &mut self,
        manager: ManagerId,
        wanted: Wanted,
    ) -> Result<(), TableError> {
        let sequence = self.about.names.sql("{s}.manager_ids", false);
        let Wanted { units, is_joining, .. } = wanted;
        let units = i64::try_from(units).unwrap_or(i64::MAX);
        let rows = self.query(
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
        let rows =
            self.query(REQUESTS, &[(&number(manager), Type::INT8), (&signed(after), Type::INT8)])?;
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
        self.transact(|tx| {
            let alive = tx.query(
                "select from {s}.managers \
                 where id = $1 and expires_at > pg_catalog.clock_timestamp() for update",
                &[(&manager, Type::INT8)],
            )?;
            if alive.is_empty() { Ok(()) } else { end(tx, manager, Blame::Nobody) }
        })
    }

    pub(super) fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        let dead = self.query(
            "select id from {s}.managers where expires_at <= pg_catalog.clock_timestamp() order by id",
            &[],
        )?;
        let mut ended = Vec::new();
        for manager in dead.iter().map(|row| row.get::<_, i64>(0)) {
            if self.transact(|tx| end_dead(tx, manager, crash_limit))? {
                ended.push(ManagerId::new(unsigned(manager)));
            }
        }
        Ok(ended)
    }
}

/// Ends the lease of a manager if it is dead and nobody else ends it at this moment. Returns whether it is the first to
/// do so.
fn end_dead(tx: &mut Transaction<'_>, manager: i64, crash_limit: u32) -> Result<bool, TableError> {
    let dead = tx.query(
        "select blamed is null from {s}.managers \
         where id = $1 and expires_at <= pg_catalog.clock_timestamp() for update skip locked",
        &[(&manager, Type::INT8)],
    )?;
    let Some(row) = dead.first() else { return Ok(false) };
    end(tx, manager, Blame::Crashed { limit: crash_limit })?;
    Ok(row.get(0))
}

/// Ends the lease of a manager, whose row is locked: decides which units are to blame, unless somebody has decided that
/// already, and frees the units that nobody holds. When none is left, it forgets the manager.
fn end(tx: &mut Transaction<'_>, manager: i64, blame: Blame) -> Result<(), TableError> {
    let (blames, limit) = match blame {
        Blame::Nobody => (false, 0),
        Blame::Crashed { limit } => (true, i64::from(limit)),
    };
    // If it owned a unit on probation, that unit is to blame. Otherwise, all that were not steady are.
    let begun = tx.query(
        "with ended as ( \
           update {s}.managers set expires_at = '-infinity', blamed = case \
             when not $2 then 'nobody' \
             when exists(select from {s}.units \
               where owner = $1 and crashes >= 2 and not is_steady) then 'suspects' \
             else 'all' end \
           where id = $1 and blamed is null returning blamed) \
         select blamed, true from ended \
         union all select blamed, false from {s}.managers where id = $1 and blamed is not null",
        &[(&manager, Type::INT8), (&blames, Type::BOOL)],
    )?;
    let Some(begun) = begun.first() else { return Ok(()) };
    let (blamed, is_first): (&str, bool) = (begun.get(0), begun.get(1));
    // The number of crashes from which on a unit is to blame.
    let guilty_from = match blamed {
        "all" => 0,
        "suspects" => i64::from(PROBATION_CRASHES),
        _ => i64::MAX,
    };
    let owned = tx.query(
        "select key, desired = 'remove' from {s}.units where owner = $1 \
         order by key for update skip locked",
        &[(&manager, Type::INT8)],
    )?;
    let keys = |is_removed: bool| {
        let keys = owned.iter().filter(move |row| row.get::<_, bool>(1) == is_removed);
        keys.map(|row| row.get(0)).collect::<Vec<&str>>()
    };
    let (kept, removed) = (keys(false), keys(true));
    if !kept.is_empty() {
        tx.query(
            FREE,
            &[
                (&kept, Type::TEXT_ARRAY),
                (&guilty_from, Type::INT8),
                (&manager, Type::INT8),
                (&limit, Type::INT8),
            ],
        )?;
    }
    if !removed.is_empty() {
        tx.query("delete from {s}.units where key = any($1)", &[(&removed, Type::TEXT_ARRAY)])?;
    }
    tx.query(
        "delete from {s}.managers \
         where id = $1 and not exists(select from {s}.units where owner = $1)",
        &[(&manager, Type::INT8)],
    )?;
    // A session that only finds that a unit is still held tells nobody. Otherwise, all managers would look again and
    // again.
    if is_first || !owned.is_empty() {
        tx.query("select {s}.changed()", &[])?;
    }
    Ok(())
}

/// Ends all leases. The table of managers is locked.
pub(crate) fn end_all(tx: &mut Transaction<'_>) -> Result<(), TableError> {
    let managers = tx.query("select id from {s}.managers", &[])?;
    managers.iter().try_for_each(|row| end(tx, row.get(0), Blame::Nobody))
}

/// Frees the units $1, which are locked. Those with at least $2 crashes that are not steady have crashed with the
/// manager $3. $4 is the crash limit.
const FREE: &str = "\
    update {s}.units set \
      owner = null, is_ready = false, is_steady = false, \
      crashes = crashes + (not is_steady and crashes >= $2)::int, \
      crashed_with = case when not is_steady and crashes >= $2 then $3 else crashed_with end, \
      is_quarantined = is_quarantined or not is_steady and crashes >= $2 and crashes + 1 >= $4, \
      last_error = case when not is_steady and crashes >= $2 and crashes + 1 >= $4 \
        then pg_catalog.format('the program that ran it has died %s %s', \
          crashes + 1, case crashes when 0 then 'time' else 'times' end) \
        else last_error end \
    where key = any($1)";

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
