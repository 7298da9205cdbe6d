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
use procession_supervisor::shared::{Lease, TableError, Token};

use crate::error::failed;
use crate::names::Names;
use crate::table::PostgresSharedTable;

/// The query of [`SharedTable::guard_sql`](procession_supervisor::shared::SharedTable::guard_sql).
pub(crate) fn sql(names: &Names) -> String {
    names.sql(
        "select 1 from {s}.units u join {s}.managers m on m.id = u.owner \
         where u.key = $1 and u.token = $2 and m.expires_at > pg_catalog.clock_timestamp() \
         for share of u",
        false,
    )
}

impl PostgresSharedTable {
    /// Makes a transaction of the same database conditional on a lease: after this, it can be committed only before
    /// another manager claims the unit. Call it first in the transaction.
    ///
    /// **Keep the transaction short.** Until it ends, nobody can take the unit over, the manager cannot record what
    /// happens to the unit or give it back, and an operator's change of the unit waits. Other units are not delayed. A
    /// client that forgets to end a transaction would hold the unit for ever, so set
    /// `idle_in_transaction_session_timeout` for your own connections, for example to 10 s.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended: roll the transaction back at once, because it may still hold up
    /// the next claim. Otherwise, an error of the database.
    pub fn guard(
        &self,
        lease: &Lease,
        transaction: &mut Transaction<'_>,
    ) -> Result<(), TableError> {
        self.guard_claim(lease.key(), lease.token(), transaction)
    }

    /// [`guard`](Self::guard) for the claim of a unit, if there is no [`Lease`] at hand.
    ///
    /// # Errors
    ///
    /// Those of [`guard`](Self::guard).
    pub fn guard_claim(
        &self,
        key: &str,
        token: Token,
        transaction: &mut Transaction<'_>,
    ) -> Result<(), TableError> {
        let token = i64::try_from(token.get()).map_err(|_| TableError::Refused)?;
        if key.contains('\0') {
            return Err(TableError::Refused);
        }
        let sql = sql(&self.about.names);
        let rows = transaction.query_typed(&sql, &[(&key, Type::TEXT), (&token, Type::INT8)]);
        if rows.map_err(failed)?.is_empty() { Err(TableError::Refused) } else { Ok(()) }
    }
}
