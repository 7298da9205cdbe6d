//! How sessions notice that something has changed: see rule 4 of [`session`](crate::session).

use rusqlite::{Connection, Transaction};

use crate::error::Failure;

/// Tells other sessions that something has changed.
pub(crate) fn tell(transaction: &Transaction<'_>) -> Result<(), Failure> {
    let tell = "UPDATE procession_meta SET changes = changes + 1";
    transaction.prepare_cached(tell)?.execute([])?;
    Ok(())
}

/// A number that differs when another connection has committed something.
pub(crate) fn data_version(connection: &Connection) -> Result<i64, Failure> {
    let mut statement = connection.prepare_cached("PRAGMA data_version")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// The number of changes so far.
pub(crate) fn changes(connection: &Connection) -> Result<i64, Failure> {
    let mut statement = connection.prepare_cached("SELECT changes FROM procession_meta")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}
