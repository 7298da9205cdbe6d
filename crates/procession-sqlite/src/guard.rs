//! [`guard`]: makes a transaction of the user conditional on a claim.
//!
//! The guard is an update that changes nothing, instead of a query, so that it cannot be misused:
//!
//! 1. **While the transaction lasts, nobody else claims the unit.** Argument: an update takes the write lock of the
//!    database, of which there is one, even if it finds no row. In a transaction that was begun with `BEGIN IMMEDIATE`,
//!    it has the lock already. Each claim needs it, and so does each end of a lease.
//! 2. **The answer is not old.** Argument: if another connection has written since the first read of the transaction,
//!    SQLite refuses to upgrade it to a write transaction (`SQLITE_BUSY_SNAPSHOT`). So the guard sees the last commit,
//!    or fails.
//! 3. **Without a transaction, there is no answer.** Argument: [`guard`] fails if the connection is in autocommit
//!    mode, for example after a `COMMIT` in SQL.

use procession_supervisor::shared::{Lease, TableError, Token};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::error::{Failure, Fault};

/// See [`SharedTable::guard_sql`](procession_supervisor::shared::SharedTable::guard_sql).
pub(crate) const GUARD: &str = "
    UPDATE procession_units SET token = token WHERE key = ?1 AND token = ?2 AND owner IS NOT NULL
    RETURNING token";

/// Makes a transaction conditional on the lease of a unit: if this succeeds, nobody else can claim the unit before the
/// transaction has ended.
///
/// It must be a transaction of the database of the table, on a connection of your own. It can also be a deferred one:
/// the guard takes the write lock. A deferred transaction that has read something before may fail with
/// [`TableError::Unavailable`]; then roll it back and try again, or begin it with
/// [`TransactionBehavior::Immediate`](rusqlite::TransactionBehavior::Immediate).
///
/// The transaction holds off all other writers of the database, so keep it short.
///
/// ```
/// # use procession_sqlite::{guard, rusqlite};
/// # use procession_supervisor::shared::{Claim, TableError};
/// use rusqlite::{Connection, TransactionBehavior};
///
/// fn add_order(connection: &mut Connection, claim: &Claim) -> Result<(), procession::BoxError> {
///     let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
///     guard(&transaction, claim.lease())?;
///     transaction.execute("INSERT INTO orders (unit) VALUES (?1)", [claim.key()])?;
///     Ok(transaction.commit()?)
/// }
/// ```
///
/// # Errors
///
/// [`TableError::Refused`] if the claim is not the current one or its lease has ended: roll the transaction back.
/// [`TableError::Unavailable`] if another attempt may succeed. [`TableError::Unusable`] if there is no transaction, or
/// no table of units in this database.
pub fn guard(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), TableError> {
    guard_claim(transaction, lease.key(), lease.token())
}

/// [`guard`] for a claim that is known by its key and token, for example in a program that does not own the unit.
///
/// # Errors
///
/// As [`guard`].
pub fn guard_claim(
    transaction: &Transaction<'_>,
    key: &str,
    token: Token,
) -> Result<(), TableError> {
    let path = transaction.path().unwrap_or_default();
    if transaction.is_autocommit() {
        return Err(Fault::database(
            path.as_ref(),
            "has no open transaction that could be guarded",
        ));
    }
    let token = i64::try_from(token.get()).map_err(|_| TableError::Refused)?;
    let found = transaction
        .prepare_cached(GUARD)
        .and_then(|mut guard| guard.query_row(params![key, token], |_| Ok(())).optional());
    match found {
        Ok(Some(())) => Ok(()),
        Ok(None) => Err(TableError::Refused),
        Err(error) => Err(Failure::from(error).about(path.as_ref())),
    }
}
