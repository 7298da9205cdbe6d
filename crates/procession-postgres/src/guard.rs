//! The guard: it makes a transaction of the user conditional on a claim.
//!
//! 1. A guarded transaction commits only before anybody else claims the unit. Argument: the guard locks the unit's row
//!    `for share`. Every claim follows an update that frees the unit, by its owner or by whoever ends the lease, and an
//!    update of any column waits for that lock. (`for key share` would let it pass, and hold up only the next claim. In
//!    a trial, 1 of 20,000 stale writes landed with it.)
//! 2. A guard that comes too late finds nothing. Argument: if it has to wait for such an update, PostgreSQL evaluates
//!    its conditions again for the new version of the row, whose owner is another one or nobody. At a stricter
//!    isolation level than read committed, the statement fails instead. The new version is locked nevertheless, so a
//!    refused transaction should end at once.
//! 3. Guarded transactions of one unit do not wait for each other, because both locks are shared.

use postgres::Transaction;
use postgres::types::Type;
use procession_supervisor::shared::{TableError, Token};

use crate::error::failed;
use crate::names::Names;

/// The query of [`SharedTable::guard_sql`](procession_supervisor::shared::SharedTable::guard_sql).
pub(crate) fn sql(names: &Names) -> String {
    names.sql(
        "select 1 from {s}.units u join {s}.managers m on m.id = u.owner \
         where u.key = $1 and u.token = $2 and m.expires_at > pg_catalog.clock_timestamp() \
         for share of u",
        false,
    )
}

/// Makes a transaction conditional on the claim of a unit.
pub(crate) fn guard(
    names: &Names,
    key: &str,
    token: Token,
    transaction: &mut Transaction<'_>,
) -> Result<(), TableError> {
    let token = i64::try_from(token.get()).map_err(|_| TableError::Refused)?;
    if key.contains('\0') {
        return Err(TableError::Refused);
    }
    let rows = transaction.query_typed(&sql(names), &[(&key, Type::TEXT), (&token, Type::INT8)]);
    if rows.map_err(failed)?.is_empty() { Err(TableError::Refused) } else { Ok(()) }
}
