//! The schema: how it is made, which programs may use it, and what a new timeline of the server means.
//!
//! 1. Each migration runs once, even if many sessions open at once. Argument: it runs under an advisory lock, in the
//!    transaction that records the new version, and only after the version was read under that lock.
//! 2. No token repeats on a new timeline, even if the server has lost the last transactions of the old one. Argument:
//!    tokens have the epoch in their high bits. A new timeline has a greater number than the ones it comes from, and
//!    the epoch is at least that number; so it is greater than all epochs before, even if the last of them was lost as
//!    well. Each claim compares the timelines in its own transaction, which holds a lock that [`begin_epoch`] waits
//!    for: no claim on a new timeline comes before its epoch. The ids of managers grow in the same way.
//! 3. No lease crosses to a new timeline: [`begin_epoch`] ends all of them. A unit that a transaction holds becomes
//!    free later, as at the end of any lease.
//!
//! If the server does not tell its timeline (a managed service may not permit it), 2 and 3 are void: after a failover
//! that has lost transactions, a token may be given twice.

use postgres::error::SqlState;
use postgres::types::Type;
use procession_supervisor::shared::TableError;

use crate::connection::{Connection, Transaction};
use crate::ends::end_all;
use crate::error::has_code;

/// The version that this program is made for.
const SUPPORTED: u32 = 1;
const VERSION_1: &str = include_str!("schema.sql");
/// The number of low bits of a token that count claims. The bits above are the epoch.
const EPOCH_BITS: i32 = 40;
/// A migration may take longer than other statements.
const LONG: &str = "set local statement_timeout = '60s'; set local lock_timeout = '60s'";

/// Makes the schema usable: checks its version, and creates it if there is none.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), TableError> {
    check_server(connection)?;
    let version = connection.query("select version, oldest from {s}.meta", &[]);
    let row = match version {
        Ok(rows) => rows.into_iter().next(),
        Err(error)
            if has_code(&error, &SqlState::UNDEFINED_TABLE)
                || has_code(&error, &SqlState::INVALID_SCHEMA_NAME) =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    match row {
        Some(row) => check_version(row.get(0), row.get(1)),
        None => connection.transact(migrate),
    }
}

/// A server that is a standby may be promoted; a database that is read-only remains so.
fn check_server(connection: &mut Connection) -> Result<(), TableError> {
    let rows = connection.query(
        "select pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('default_transaction_read_only') = 'on', \
         pg_catalog.current_setting('server_encoding')",
        &[],
    )?;
    let Some(row) = rows.first() else { return Ok(()) };
    if row.get(0) {
        return Err(TableError::Unavailable("the server is a standby".into()));
    }
    if row.get(1) {
        let reason = "the database is read-only: default_transaction_read_only is on";
        return Err(TableError::Unusable(reason.into()));
    }
    let encoding: String = row.get(2);
    if encoding != "UTF8" {
        let reason = format!("the database has the encoding {encoding}: create one with UTF8");
        return Err(TableError::Unusable(reason.into()));
    }
    Ok(())
}

fn check_version(schema: i32, oldest: i32) -> Result<(), TableError> {
    let [schema, oldest] = [schema, oldest].map(|number| u32::try_from(number).unwrap_or(0));
    if oldest > SUPPORTED {
        return Err(TableError::Incompatible { schema, oldest, supported: SUPPORTED });
    }
    Ok(())
}

fn migrate(tx: &mut Transaction<'_>) -> Result<(), TableError> {
    tx.batch(LONG)?;
    let lock = tx.names().lock();
    tx.query("select pg_catalog.pg_advisory_xact_lock($1)", &[(&lock, Type::INT8)])?;
    let schema = tx.names().schema().to_owned();
    let found = tx.query(
        "select exists(select from pg_catalog.pg_class where relname = 'meta' and relnamespace = n.oid) \
         from pg_catalog.pg_namespace n where nspname = $1",
        &[(&schema, Type::TEXT)],
    )?;
    match found.first().map(|row| row.get::<_, bool>(0)) {
        Some(true) => {
            let rows = tx.query("select version, oldest from {s}.meta", &[])?;
            return rows.first().map_or(Ok(()), |row| check_version(row.get(0), row.get(1)));
        }
        Some(false) => {}
        // `create schema if not exists` needs a right that the owner of an empty schema may not have.
        None => tx.batch("create schema {s}")?,
    }
    tx.batch(VERSION_1)
}

/// Finds out whether the server tells its timeline, and begins a new epoch if it is another one than the table's.
pub(crate) fn follow_timeline(connection: &mut Connection) -> Result<(), TableError> {
    let rows = connection.query("select meta.timeline, {timeline} as now from {s}.meta", &[]);
    let rows = match rows {
        Ok(rows) => rows,
        Err(error)
            if [
                SqlState::INSUFFICIENT_PRIVILEGE,
                SqlState::FEATURE_NOT_SUPPORTED,
                SqlState::UNDEFINED_FUNCTION,
            ]
            .iter()
            .any(|state| has_code(&error, state)) =>
        {
            connection.sees_timeline = false;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    connection.sees_timeline = true;
    let is_new = |row: &postgres::Row| row.get::<_, Option<i64>>(0) != Some(row.get(1));
    if rows.first().is_some_and(is_new) {
        connection.transact(begin_epoch)?;
    }
    Ok(())
}

/// Ends all leases, and lets tokens and ids continue in a higher epoch. On a table that knows no timeline yet, it only
/// records it.
///
/// Locks: all of `managers`, then those `units` that nobody holds, then `meta`.
fn begin_epoch(tx: &mut Transaction<'_>) -> Result<(), TableError> {
    tx.batch(LONG)?;
    tx.batch("lock table {s}.managers in exclusive mode")?;
    let rows = tx.query("select meta.timeline, {timeline} from {s}.meta", &[])?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (known, now): (Option<i64>, i64) = (row.get(0), row.get(1));
    if known == Some(now) {
        return Ok(());
    }
    if known.is_some() {
        end_all(tx)?;
        tx.query(
            "update {s}.meta set epoch = greatest(epoch + 1, $1), \
             floor = greatest(floor, greatest(epoch + 1, $1) << $2)",
            &[(&now, Type::INT8), (&EPOCH_BITS, Type::INT4)],
        )?;
        tx.query(
            "select pg_catalog.setval(pg_catalog.to_regclass($1), \
             (select greatest(ids.last_value, meta.epoch << $2) from {s}.manager_ids ids, {s}.meta))",
            &[(&tx.names().sql("{s}.manager_ids", false), Type::TEXT), (&EPOCH_BITS, Type::INT4)],
        )?;
        tx.query("select {s}.changed()", &[])?;
    }
    tx.query("update {s}.meta set timeline = $1", &[(&now, Type::INT8)])?;
    Ok(())
}
