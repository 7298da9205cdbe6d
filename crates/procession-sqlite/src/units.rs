//! The calls of operators, and reading units.

use procession_supervisor::shared::{Desired, TableError, Token, UnitRow};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::changes::tell;
use crate::error::Failure;
use crate::numbers::{bound, id, unsigned};

pub(crate) const UNCHANGED: &str = "
    SELECT generation FROM procession_units
    WHERE key = ?1 AND kind = ?2 AND spec = ?3 AND desired <> 2";
pub(crate) const FIND: &str =
    "SELECT id, kind, spec, generation FROM procession_units WHERE key = ?1";
pub(crate) const INSERT: &str =
    "INSERT INTO procession_units (key, kind, spec) VALUES (?1, ?2, ?3)";
pub(crate) const KEEP: &str =
    "UPDATE procession_units SET desired = 0 WHERE id = ?1 AND desired = 2";
pub(crate) const CHANGE: &str = "
    UPDATE procession_units SET
        kind = ?2,
        spec = ?3,
        generation = generation + 1,
        is_quarantined = 0,
        is_done = 0,
        failures = 0,
        crashes = 0,
        crashed_with = NULL
    WHERE id = ?1";

/// The generation of a unit that a `put` of this kind and spec would not change.
pub(crate) fn unchanged(
    tx: &Transaction<'_>,
    key: &str,
    kind: &str,
    spec: &str,
) -> Result<Option<u64>, Failure> {
    let mut statement = tx.prepare_cached(UNCHANGED)?;
    let found = statement.query_row([key, kind, spec], |row| row.get(0)).optional()?;
    Ok(found.map(unsigned))
}

pub(crate) fn put(tx: &Transaction<'_>, key: &str, kind: &str, spec: &str) -> Result<u64, Failure> {
    tell(tx)?;
    let mut find = tx.prepare_cached(FIND)?;
    let found = find.query_row([key], |row| {
        let is_same = row.get_ref(1)?.as_str()? == kind && row.get_ref(2)?.as_str()? == spec;
        Ok((row.get::<_, i64>(0)?, is_same, unsigned(row.get(3)?)))
    });
    let Some((unit, is_same, generation)) = found.optional()? else {
        tx.prepare_cached(INSERT)?.execute([key, kind, spec])?;
        return Ok(1);
    };
    tx.prepare_cached(KEEP)?.execute([unit])?;
    if is_same {
        return Ok(generation);
    }
    tx.prepare_cached(CHANGE)?.execute(params![unit, kind, spec])?;
    Ok(generation + 1)
}

pub(crate) const WANT_RUN: &str = "
    UPDATE procession_units SET
        desired = 0, is_done = 0, failures = 0, crashes = 0, crashed_with = NULL
    WHERE key = ?1";

pub(crate) fn want_run(tx: &Transaction<'_>, key: &str) -> Result<(), Failure> {
    change(tx, key, WANT_RUN)
}

pub(crate) const WANT_STOP: &str = "UPDATE procession_units SET desired = 1 WHERE key = ?1";

pub(crate) fn want_stop(tx: &Transaction<'_>, key: &str) -> Result<(), Failure> {
    change(tx, key, WANT_STOP)
}

pub(crate) const WANT_REMOVE: &str = "UPDATE procession_units SET desired = 2 WHERE key = ?1";
pub(crate) const REMOVE_FREE: &str =
    "DELETE FROM procession_units WHERE key = ?1 AND owner IS NULL";

pub(crate) fn remove(tx: &Transaction<'_>, key: &str) -> Result<(), Failure> {
    change(tx, key, WANT_REMOVE)?;
    tx.prepare_cached(REMOVE_FREE)?.execute([key])?;
    Ok(())
}

pub(crate) const CLEAR: &str = "
    UPDATE procession_units SET is_quarantined = 0, failures = 0, crashes = 0, crashed_with = NULL
    WHERE key = ?1";

pub(crate) fn clear_quarantine(tx: &Transaction<'_>, key: &str) -> Result<(), Failure> {
    change(tx, key, CLEAR)
}

/// Changes a unit on behalf of an operator.
fn change(tx: &Transaction<'_>, key: &str, statement: &str) -> Result<(), Failure> {
    if tx.prepare_cached(statement)?.execute([key])? == 0 {
        return Err(TableError::NotFound { key: key.to_owned() }.into());
    }
    tell(tx)
}

/// The columns that [`show`] reads.
pub(crate) const GET: &str = "
    SELECT key, kind, spec, generation, desired, is_done, is_quarantined, owner, token, is_ready, is_steady, starts,
        failures, crashes, last_error
    FROM procession_units WHERE key = ?1";
pub(crate) const SCAN: &str = "
    SELECT key, kind, spec, generation, desired, is_done, is_quarantined, owner, token, is_ready, is_steady, starts,
        failures, crashes, last_error
    FROM procession_units ORDER BY key LIMIT ?1";
pub(crate) const SCAN_AFTER: &str = "
    SELECT key, kind, spec, generation, desired, is_done, is_quarantined, owner, token, is_ready, is_steady, starts,
        failures, crashes, last_error
    FROM procession_units WHERE key > ?2 ORDER BY key LIMIT ?1";

pub(crate) fn get(tx: &Transaction<'_>, key: &str) -> Result<Option<UnitRow>, Failure> {
    Ok(tx.prepare_cached(GET)?.query_row([key], show).optional()?)
}

/// The order of text in SQLite is that of its bytes, because the encoding is UTF-8.
pub(crate) fn scan(
    tx: &Transaction<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<UnitRow>, Failure> {
    let limit = bound(limit);
    let rows: rusqlite::Result<_> = match after {
        None => tx.prepare_cached(SCAN)?.query_map([limit], show)?.collect(),
        Some(after) => {
            tx.prepare_cached(SCAN_AFTER)?.query_map(params![limit, after], show)?.collect()
        }
    };
    Ok(rows?)
}

fn show(row: &Row<'_>) -> rusqlite::Result<UnitRow> {
    let (key, kind, spec): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let mut unit = UnitRow::new(key, kind, spec);
    unit.generation = unsigned(row.get(3)?);
    unit.desired = match row.get::<_, i64>(4)? {
        0 => Desired::Run,
        1 => Desired::Stop,
        _ => Desired::Remove,
    };
    unit.is_done = row.get(5)?;
    unit.is_quarantined = row.get(6)?;
    unit.owner = row.get::<_, Option<i64>>(7)?.map(id);
    unit.token = Token::new(unsigned(row.get(8)?));
    unit.is_ready = row.get(9)?;
    unit.is_steady = row.get(10)?;
    unit.starts = unsigned(row.get(11)?);
    unit.failures = row.get(12)?;
    unit.crashes = row.get(13)?;
    unit.last_error = row.get(14)?;
    Ok(unit)
}
