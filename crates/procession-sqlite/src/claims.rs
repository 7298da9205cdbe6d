//! What managers do with units: which they claim, and what they write about them.
//!
//! 1. **One owner, and tokens grow.** Argument: only [`claim`] sets an owner, in a transaction that has the write lock,
//!    and only of units without one. For the tokens, see `schema.rs`.
//! 2. **Writes are fenced.** Argument: [`write`](write()) changes only the row that [`CURRENT`] has found in the same
//!    transaction, by the key, by the token, and because it has an owner. An owner is always registered (3 of
//!    `session.rs`).
//! 3. **At most one unit on probation for each manager.** Argument: only [`claim`] adds one, if there is none. The
//!    crashes of a unit that is owned grow only when its owner ends, which frees it.

use procession_supervisor::shared::{
    Claimed, ManagerId, Order, Ordered, PROBATION_CRASHES, Record, Share, TableError, Token, Write,
    WriteResult, Written,
};
use rusqlite::{OptionalExtension, Row, ToSql, Transaction, params};

use crate::changes::tell;
use crate::error::Failure;
use crate::leases::{alive, kinds_of};
use crate::numbers::{bound, unsigned};

pub(crate) const CLAIM: &str = "
    UPDATE procession_units SET
        owner = ?1,
        token = max(token, (SELECT floor FROM procession_meta)) + 1,
        starts = starts + 1,
        running = generation,
        recorded = 0,
        is_ready = 0,
        is_steady = 0
    WHERE id IN (
        SELECT id FROM procession_units
        WHERE kind = ?2 AND owner IS NULL AND is_wanted = 1 AND crashes BETWEEN ?3 AND ?4 LIMIT ?5)
    RETURNING key, kind, spec, generation, token, starts";
pub(crate) const ON_PROBATION: &str = "
    SELECT EXISTS (SELECT 1 FROM procession_units WHERE owner = ?1 AND is_steady = 0 AND crashes >= ?2)";

pub(crate) fn claim(
    tx: &Transaction<'_>,
    manager: ManagerId,
    max: usize,
) -> Result<Vec<Claimed>, Failure> {
    let (manager, is_draining) = alive(tx, manager)?;
    let mut claimed = Vec::new();
    if is_draining && has_peer(tx, manager)? {
        return Ok(claimed);
    }
    let kinds = kinds_of(tx, manager)?;
    let is_suspect = params![manager, PROBATION_CRASHES];
    let has_suspect: bool =
        tx.prepare_cached(ON_PROBATION)?.query_row(is_suspect, |row| row.get(0))?;
    let suspects = if has_suspect { 0 } else { 1 };
    let (fresh, crashed) = (0..=PROBATION_CRASHES - 1, PROBATION_CRASHES..=u32::MAX);
    for (crashes, limit) in [(fresh, max), (crashed, suspects)] {
        let end = max.min(claimed.len().saturating_add(limit));
        for kind in &kinds {
            let left = bound(end - claimed.len());
            if left > 0 {
                let mut statement = tx.prepare_cached(CLAIM)?;
                let chosen = params![manager, kind, crashes.start(), crashes.end(), left];
                let rows = statement.query_map(chosen, show)?;
                for row in rows {
                    claimed.push(row?);
                }
            }
        }
    }
    Ok(claimed)
}

fn show(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let (key, kind, spec): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let mut claimed = Claimed::new(key, kind, spec, Token::new(unsigned(row.get(4)?)));
    claimed.generation = unsigned(row.get(3)?);
    claimed.starts = unsigned(row.get(5)?);
    Ok(claimed)
}

/// A manager with a unit on probation takes no other one, as in [`claim`].
pub(crate) const HAS_FREE: &str = "
    SELECT EXISTS (
        SELECT 1 FROM procession_manager_kinds AS k CROSS JOIN procession_units AS u ON u.kind = k.kind
        WHERE k.manager = ?1 AND u.owner IS NULL AND u.is_wanted = 1
            AND u.crashes < CASE WHEN EXISTS (
                SELECT 1 FROM procession_units WHERE owner = ?1 AND is_steady = 0 AND crashes >= ?2
            ) THEN ?2 ELSE 9223372036854775807 END)";

pub(crate) const HAS_PEER: &str = "
    SELECT EXISTS (
        SELECT 1 FROM procession_manager_kinds AS k
        CROSS JOIN procession_manager_kinds AS p ON p.kind = k.kind
        CROSS JOIN procession_managers AS o ON o.id = p.manager
        WHERE k.manager = ?1 AND o.is_draining = 0)";

/// Whether a manager could claim what this one, which is draining, gives away.
fn has_peer(tx: &Transaction<'_>, manager: i64) -> Result<bool, Failure> {
    Ok(tx.prepare_cached(HAS_PEER)?.query_row([manager], |row| row.get(0))?)
}

/// Whether a manager may find a unit that it can claim.
pub(crate) fn has_free(tx: &Transaction<'_>, manager: ManagerId) -> Result<bool, Failure> {
    let (manager, is_draining) = alive(tx, manager)?;
    let may_claim = !is_draining || !has_peer(tx, manager)?;
    Ok(may_claim
        && tx
            .prepare_cached(HAS_FREE)?
            .query_row(params![manager, PROBATION_CRASHES], |row| row.get(0))?)
}

/// Its cost grows with the number of managers that have the same kinds, and with that of the manager's own units, but
/// not with the number of all units.
pub(crate) const SHARE: &str = "
    WITH peers AS MATERIALIZED (SELECT o.id, o.request FROM procession_managers AS o WHERE o.is_draining = 0 AND (
        o.id = ?1 OR o.id IN (
            SELECT p.manager
            FROM procession_manager_kinds AS k CROSS JOIN procession_manager_kinds AS p ON p.kind = k.kind
            WHERE k.manager = ?1)))
    SELECT
        m.is_draining,
        (SELECT coalesce(sum(wanted / managers + (older < wanted % managers)), 0) FROM (
            SELECT c.wanted, count(*) AS managers, count(*) FILTER (WHERE o.id < ?1) AS older
            FROM procession_manager_kinds AS k
            CROSS JOIN procession_kinds AS c ON c.kind = k.kind
            CROSS JOIN procession_manager_kinds AS p ON p.kind = k.kind
            CROSS JOIN procession_managers AS o ON o.id = p.manager
            WHERE k.manager = ?1 AND m.is_draining = 0 AND o.is_draining = 0
            GROUP BY k.kind)),
        (SELECT count(*) FROM peers),
        (SELECT count(*) FROM procession_units WHERE owner = m.id),
        EXISTS (SELECT 1
            FROM procession_manager_kinds AS k CROSS JOIN procession_units AS u ON u.kind = k.kind
            WHERE k.manager = m.id AND u.owner IS NULL AND u.is_wanted = 1
                AND u.crashes < CASE WHEN EXISTS (
                    SELECT 1 FROM procession_units WHERE owner = ?1 AND is_steady = 0 AND crashes >= ?2
                ) THEN ?2 ELSE 9223372036854775807 END),
        (SELECT count(*) FROM procession_units WHERE owner = m.id AND has_order = 1),
        (SELECT coalesce(max(request), 0) FROM peers WHERE id <> ?1)
    FROM procession_managers AS m WHERE m.id = ?1";

/// The share of a manager. It does not say whether managers are dead: those count until somebody has found them.
pub(crate) fn share(tx: &Transaction<'_>, manager: ManagerId) -> Result<Share, Failure> {
    let number = i64::try_from(manager.get()).map_err(|_| TableError::Refused)?;
    let mut statement = tx.prepare_cached(SHARE)?;
    let share = statement.query_row(params![number, PROBATION_CRASHES], |row| {
        let mut share = Share::default();
        share.is_draining = row.get(0)?;
        share.fair = unsigned(row.get(1)?) as usize;
        share.managers = unsigned(row.get(2)?) as usize;
        share.owned = unsigned(row.get(3)?) as usize;
        share.has_free = row.get(4)?;
        share.orders = unsigned(row.get(5)?) as usize;
        share.last_request = unsigned(row.get(6)?);
        Ok(share)
    });
    Ok(share.optional()?.ok_or(TableError::Refused)?)
}

pub(crate) const OWNED: &str = "SELECT key, token FROM procession_units WHERE owner = ?1";

pub(crate) fn owned(
    tx: &Transaction<'_>,
    manager: ManagerId,
) -> Result<Vec<(String, Token)>, Failure> {
    let (manager, _) = alive(tx, manager)?;
    let mut statement = tx.prepare_cached(OWNED)?;
    let rows = statement
        .query_map([manager], |row| Ok((row.get(0)?, Token::new(unsigned(row.get(1)?)))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) const ORDERS: &str = "
    SELECT key, token, kind, spec, generation, desired <> 0 OR is_quarantined OR NOT EXISTS (
        SELECT 1 FROM procession_manager_kinds AS k WHERE k.manager = ?1 AND k.kind = u.kind)
    FROM procession_units AS u WHERE owner = ?1 AND has_order = 1 ORDER BY key";

pub(crate) fn orders(tx: &Transaction<'_>, manager: ManagerId) -> Result<Vec<Order>, Failure> {
    let (manager, _) = alive(tx, manager)?;
    let mut statement = tx.prepare_cached(ORDERS)?;
    let rows = statement.query_map([manager], |row| {
        let what = if row.get(5)? {
            Ordered::Stop
        } else {
            Ordered::Restart {
                kind: row.get(2)?,
                spec: row.get(3)?,
                generation: unsigned(row.get(4)?),
            }
        };
        let key: String = row.get(0)?;
        Ok(Order::new(key, Token::new(unsigned(row.get(1)?)), what))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The row of a claim, and the greatest number of its records. It finds nothing if the claim is not the current one.
pub(crate) const CURRENT: &str = "
    SELECT id, recorded FROM procession_units WHERE key = ?1 AND token = ?2 AND owner IS NOT NULL";
pub(crate) const COUNT: &str = "UPDATE procession_units SET recorded = ?2 WHERE id = ?1";
pub(crate) const READY: &str = "UPDATE procession_units SET is_ready = 1 WHERE id = ?1";
pub(crate) const STEADY: &str = "
    UPDATE procession_units SET
        is_ready = 1, is_steady = 1, failures = 0, crashes = 0, crashed_with = NULL
    WHERE id = ?1";
pub(crate) const FAILED: &str = "
    UPDATE procession_units SET
        is_ready = 0,
        is_steady = 0,
        failures = min(failures + 1, 4294967295),
        is_quarantined = is_quarantined OR failures + 1 >= ?3,
        last_error = ?2
    WHERE id = ?1";
pub(crate) const RESTARTED: &str =
    "UPDATE procession_units SET is_ready = 0, is_steady = 0, running = ?2 WHERE id = ?1";
pub(crate) const DONE: &str =
    "UPDATE procession_units SET is_ready = 0, is_done = generation = running WHERE id = ?1";
pub(crate) const RELEASE: &str = "
    UPDATE procession_units SET owner = NULL, is_ready = 0, is_steady = 0 WHERE id = ?1
    RETURNING desired = 2";
pub(crate) const REMOVE: &str = "DELETE FROM procession_units WHERE id = ?1";

/// Performs a write of a manager. It is always possible now, because whoever holds a unit holds the write lock of the
/// database, and there is no transaction without that.
pub(crate) fn write(tx: &Transaction<'_>, write: &Write) -> Result<WriteResult, Failure> {
    let Ok(token) = i64::try_from(write.token.get()) else { return Ok(WriteResult::Refused) };
    let current = tx
        .prepare_cached(CURRENT)?
        .query_row(params![write.key, token], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((unit, recorded)) = current.optional()? else { return Ok(WriteResult::Refused) };
    match &write.what {
        Written::Record(record) => self::record(tx, unit, recorded, write.number, record)?,
        Written::Release => release(tx, unit)?,
        // A write of a later version of the contract says nothing that this version can do.
        _ => {}
    }
    Ok(WriteResult::Done)
}

/// Records an event in the life of a unit, unless it has been recorded before.
fn record(
    tx: &Transaction<'_>,
    unit: i64,
    recorded: i64,
    number: Option<u64>,
    record: &Record,
) -> Result<(), Failure> {
    let write = |statement: &str, parameters: &[&dyn ToSql]| -> Result<(), Failure> {
        tx.prepare_cached(statement)?.execute(parameters)?;
        Ok(())
    };
    if let Some(number) = number.map(signed) {
        if number <= recorded {
            return Ok(());
        }
        write(COUNT, params![unit, number])?;
    }
    match record {
        Record::Ready => write(READY, params![unit]),
        Record::Steady => write(STEADY, params![unit]),
        Record::Failed { error, limit } => write(FAILED, params![unit, error, limit]),
        // A number that does not fit is not a generation of this store, and equals none.
        Record::Restarted { generation } => write(RESTARTED, params![unit, signed(*generation)]),
        Record::Done => write(DONE, params![unit]),
        // A record of a later version of the contract says nothing that this version can keep.
        _ => Ok(()),
    }
}

/// Gives a unit back.
fn release(tx: &Transaction<'_>, unit: i64) -> Result<(), Failure> {
    let is_removed: bool = tx.prepare_cached(RELEASE)?.query_row([unit], |row| row.get(0))?;
    if is_removed {
        tx.prepare_cached(REMOVE)?.execute([unit])?;
    }
    tell(tx)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
