//! How managers register, and how their leases end.

use std::collections::{BTreeSet, HashMap, HashSet};

use procession_supervisor::shared::{
    ManagerId, ManagerRow, PROBATION_CRASHES, Registration, Request, TableError, Wanted,
};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::changes::tell;
use crate::error::Failure;
use crate::lock::{LockDirectory, LockFile};
use crate::numbers::{bound, id, unsigned};

/// The maximum number of ids that are tried if other programs have locked the files of the first ones. Such files exist
/// only if the database was replaced while it was in use.
const ATTEMPTS: i64 = 10_000;

/// The next id of a manager, or number of a request.
pub(crate) const NEXT: &str = "SELECT numbers + 1 FROM procession_meta";
pub(crate) const TAKE: &str = "UPDATE procession_meta SET numbers = ?1";
pub(crate) const INSERT: &str = "INSERT INTO procession_managers (id, name) VALUES (?1, ?2)";
pub(crate) const INSERT_KIND: &str =
    "INSERT INTO procession_manager_kinds (manager, kind) VALUES (?1, ?2)";
pub(crate) const TAKE_CRASH_BACK: &str = "
    UPDATE procession_units SET crashes = crashes - 1, crashed_with = NULL WHERE crashed_with = ?1";

/// Registers a manager: locks its file, and inserts its row.
pub(crate) fn register(
    tx: &Transaction<'_>,
    registration: &Registration,
    directory: &LockDirectory,
) -> Result<(i64, LockFile), Failure> {
    let living: HashSet<i64> = registered(tx)?.into_iter().collect();
    directory.sweep(|manager| living.contains(&manager));
    let first: i64 = tx.prepare_cached(NEXT)?.query_row([], |row| row.get(0))?;
    let (manager, lock_file) = lock_new(directory, first)?;
    tx.prepare_cached(TAKE)?.execute([manager])?;
    tx.prepare_cached(INSERT)?.execute(params![manager, registration.name])?;
    for kind in registration.kinds.iter().collect::<BTreeSet<_>>() {
        tx.prepare_cached(INSERT_KIND)?.execute(params![manager, kind])?;
    }
    if let Some(previous) = registration.previous.and_then(number) {
        end(tx, previous)?;
        tx.prepare_cached(TAKE_CRASH_BACK)?.execute([previous])?;
    }
    tell(tx)?;
    Ok((manager, lock_file))
}

/// Locks the file of the first id from `first` that nobody else has locked.
fn lock_new(directory: &LockDirectory, first: i64) -> Result<(i64, LockFile), Failure> {
    for manager in first..first + ATTEMPTS {
        if let Some(lock_file) = directory.hold(manager)? {
            return Ok((manager, lock_file));
        }
    }
    let problem = format!("{ATTEMPTS} lock files of new managers are in use");
    Err(TableError::Unavailable(problem.into()).into())
}

pub(crate) const ALIVE: &str = "SELECT is_draining FROM procession_managers WHERE id = ?1";

/// Returns the number of a manager whose lease has not ended, and whether it is draining.
pub(crate) fn alive(tx: &Transaction<'_>, manager: ManagerId) -> Result<(i64, bool), Failure> {
    let number = number(manager).ok_or(TableError::Refused)?;
    let mut statement = tx.prepare_cached(ALIVE)?;
    let is_draining = statement.query_row([number], |row| row.get(0)).optional()?;
    Ok((number, is_draining.ok_or(TableError::Refused)?))
}

pub(crate) const KINDS_OF: &str =
    "SELECT kind FROM procession_manager_kinds WHERE manager = ?1 ORDER BY kind";

/// The kinds of a manager, sorted.
pub(crate) fn kinds_of(tx: &Transaction<'_>, manager: i64) -> Result<Vec<String>, Failure> {
    let mut statement = tx.prepare_cached(KINDS_OF)?;
    let kinds = statement.query_map([manager], |row| row.get(0))?;
    Ok(kinds.collect::<Result<_, _>>()?)
}

pub(crate) const DRAIN: &str = "UPDATE procession_managers SET is_draining = 1 WHERE id = ?1";

pub(crate) fn drain(tx: &Transaction<'_>, manager: ManagerId) -> Result<(), Failure> {
    let (number, _) = alive(tx, manager)?;
    tx.prepare_cached(DRAIN)?.execute([number])?;
    tell(tx)
}

pub(crate) const REQUEST: &str =
    "UPDATE procession_managers SET request = ?2, wanted = ?3, is_joining = ?4 WHERE id = ?1";

pub(crate) fn request_release(
    tx: &Transaction<'_>,
    manager: ManagerId,
    wanted: Wanted,
) -> Result<(), Failure> {
    let (manager, _) = alive(tx, manager)?;
    let request: i64 = tx.prepare_cached(NEXT)?.query_row([], |row| row.get(0))?;
    tx.prepare_cached(TAKE)?.execute([request])?;
    let Wanted { units, is_joining, .. } = wanted;
    tx.prepare_cached(REQUEST)?.execute(params![manager, request, bound(units), is_joining])?;
    tell(tx)
}

/// `?2` is the number of the last request that the manager `?1` knows.
pub(crate) const REQUESTS: &str = "
    SELECT o.id, o.request, o.wanted, o.is_joining FROM procession_managers AS o
    WHERE o.id <> ?1 AND o.is_draining = 0 AND o.request > ?2 AND o.id IN (
        SELECT p.manager
        FROM procession_manager_kinds AS k CROSS JOIN procession_manager_kinds AS p ON p.kind = k.kind
        WHERE k.manager = ?1)
    ORDER BY o.request";

pub(crate) fn requests(
    tx: &Transaction<'_>,
    manager: ManagerId,
    after: u64,
) -> Result<Vec<Request>, Failure> {
    let (manager, _) = alive(tx, manager)?;
    let mut statement = tx.prepare_cached(REQUESTS)?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![manager, after])?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        let units = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX);
        let wanted = Wanted::new(units, row.get(3)?);
        let (asking, number) = (row.get(0)?, unsigned(row.get(1)?));
        requests.push(Request::new(id(asking), number, wanted, kinds_of(tx, asking)?));
    }
    Ok(requests)
}

pub(crate) const HAS_PROBATION: &str = "
    SELECT EXISTS (SELECT 1 FROM procession_units WHERE owner = ?1 AND is_steady = 0 AND crashes >= ?2)";
/// `?2` is the number of crashes that a suspect has at least, and `?3` the crash limit.
pub(crate) const CRASH: &str = "
    UPDATE procession_units SET
        crashes = min(crashes + 1, 4294967295),
        crashed_with = ?1,
        is_quarantined = is_quarantined OR crashes + 1 >= ?3,
        last_error = CASE WHEN crashes + 1 >= ?3
            THEN 'the program that ran it has died ' || (crashes + 1)
                || CASE crashes WHEN 0 THEN ' time' ELSE ' times' END
            ELSE last_error END
    WHERE owner = ?1 AND is_steady = 0 AND crashes >= ?2";

/// Ends the lease of a dead manager, whose units may have crashed. Returns `false` if it has ended already.
pub(crate) fn crash(tx: &Transaction<'_>, manager: i64, crash_limit: u32) -> Result<bool, Failure> {
    let is_first = params![manager, PROBATION_CRASHES];
    let has_probation: bool =
        tx.prepare_cached(HAS_PROBATION)?.query_row(is_first, |row| row.get(0))?;
    let suspected_from = if has_probation { PROBATION_CRASHES } else { 0 };
    tx.prepare_cached(CRASH)?.execute(params![manager, suspected_from, crash_limit])?;
    end(tx, manager)
}

pub(crate) const FORGET: &str = "DELETE FROM procession_managers WHERE id = ?1";
pub(crate) const FORGET_KINDS: &str = "DELETE FROM procession_manager_kinds WHERE manager = ?1";
pub(crate) const REMOVE_OWNED: &str =
    "DELETE FROM procession_units WHERE owner = ?1 AND desired = 2";
pub(crate) const FREE_OWNED: &str = "
    UPDATE procession_units SET owner = NULL, is_ready = 0, is_steady = 0 WHERE owner = ?1";

/// Ends a lease: frees the units of the manager, and forgets it. Returns `false` if it has ended already.
pub(crate) fn end(tx: &Transaction<'_>, manager: i64) -> Result<bool, Failure> {
    if tx.prepare_cached(FORGET)?.execute([manager])? == 0 {
        return Ok(false);
    }
    tx.prepare_cached(FORGET_KINDS)?.execute([manager])?;
    tx.prepare_cached(REMOVE_OWNED)?.execute([manager])?;
    tx.prepare_cached(FREE_OWNED)?.execute([manager])?;
    tell(tx)?;
    Ok(true)
}

pub(crate) const REGISTERED: &str = "SELECT id FROM procession_managers ORDER BY id";

/// The numbers of all managers whose lease nobody has ended.
pub(crate) fn registered(tx: &Transaction<'_>) -> Result<Vec<i64>, Failure> {
    let mut statement = tx.prepare_cached(REGISTERED)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) const KINDS: &str =
    "SELECT manager, kind FROM procession_manager_kinds ORDER BY manager, kind";
pub(crate) const MANAGERS: &str = "
    SELECT id, name, is_draining, (SELECT count(*) FROM procession_units WHERE owner = m.id)
    FROM procession_managers AS m ORDER BY id";

/// All managers whose lease nobody has ended, even if they are dead.
pub(crate) fn managers(tx: &Transaction<'_>) -> Result<Vec<ManagerRow>, Failure> {
    let mut kinds: HashMap<i64, Vec<String>> = HashMap::new();
    let mut statement = tx.prepare_cached(KINDS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        kinds.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let mut statement = tx.prepare_cached(MANAGERS)?;
    let rows = statement.query_map([], |row| {
        let number = row.get(0)?;
        let (name, kinds): (String, _) = (row.get(1)?, kinds.remove(&number).unwrap_or_default());
        let mut manager = ManagerRow::new(id(number), name, kinds);
        manager.units = unsigned(row.get(3)?) as usize;
        manager.is_draining = row.get(2)?;
        Ok(manager)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The number of an id, if the store can have given it.
fn number(manager: ManagerId) -> Option<i64> {
    i64::try_from(manager.get()).ok()
}
