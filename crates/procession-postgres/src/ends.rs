//! What the end of a lease means for the units of the manager.
//!
//! 1. Each owner has a row. Argument: [`end`] deletes a row of `managers` only when it sees no unit of the manager, and
//!    it holds a lock on that row from before it looks. A claim locks the same row `for key share`, so it either comes
//!    first, and `end` sees its units, or it finds that the lease has ended.
//! 2. The end of a lease waits for no unit that somebody holds, with one exception: if its row changes after a
//!    statement began and before the statement locks it, the end waits until the lock timeout of the session (see
//!    [`session`](crate::session)). Argument: [`end`] frees the units that nobody has locked. While others are left,
//!    the row remains, and each later call of `expire_dead` frees more.
//! 3. The blame for a death is decided once. Argument: [`end`] writes it into the row when it begins, and later calls
//!    only read it. A unit that is freed then is judged by it as if it had been freed at once: until then, only
//!    operators can change what counts, because the writes of the manager are refused.

use postgres::types::Type;
use procession_supervisor::shared::{PROBATION_CRASHES, TableError};

use crate::connection::Transaction;

/// Which units are to blame for the end of their owner.
#[derive(Clone, Copy)]
pub(crate) enum Blame {
    Nobody,
    /// Those that crashed with a dead manager, which are quarantined after this number of crashes.
    Crashed {
        limit: u32,
    },
}

/// Ends the lease of a manager if it is dead and nobody else ends it at this moment. Returns whether it is the first to
/// do so.
pub(crate) fn end_dead(
    tx: &mut Transaction<'_>,
    manager: i64,
    crash_limit: u32,
) -> Result<bool, TableError> {
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
pub(crate) fn end(tx: &mut Transaction<'_>, manager: i64, blame: Blame) -> Result<(), TableError> {
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
