//! [`SqliteSharedTable`]: it opens connections, and holds the lock files of its managers.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use procession_supervisor::shared::{ManagerId, Session, SharedTable, TableError};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Failure, Fault};
use crate::guard::GUARD;
use crate::lock::{LockDirectory, LockFile};
use crate::schema;
use crate::session::SqliteSession;

/// The minimum time that a statement waits for the transactions of others before it fails.
const BUSY: Duration = Duration::from_secs(5);
/// The pause between the first attempts to get a lock.
const SHORT: Duration = Duration::from_millis(1);
/// The number of short pauses.
const SHORT_PAUSES: u32 = 100;
/// The pause between later attempts.
const LONG: Duration = Duration::from_millis(5);
/// The pause between two attempts to turn on the write-ahead log, which SQLite does not wait for.
const WAL_PAUSE: Duration = Duration::from_millis(5);
/// More than the number of different statements.
const STATEMENTS: usize = 64;

/// A shared table in a SQLite file. Clones are the same table.
///
/// See the [crate's documentation](crate) for what it guarantees and needs.
///
/// A manager that registered with a session of this value is alive until it leaves, or until the program ends. It is
/// also dead when this value, its clones and all their sessions have been dropped.
#[derive(Clone)]
pub struct SqliteSharedTable {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) directory: LockDirectory,
    /// The lock files of the managers that registered with this table.
    pub(crate) held: Mutex<HashMap<i64, LockFile>>,
}

impl SqliteSharedTable {
    /// Opens the table in this file, which may be a database of your own. It makes the file, its tables, which have the
    /// prefix `procession_`, and a directory for the lock files, if they do not exist.
    ///
    /// # Errors
    ///
    /// [`TableError::Unusable`] if the file is not a database, is corrupt or read-only, or is on a network file system;
    /// [`TableError::Incompatible`] if a newer program has changed the tables so that this one must not use them;
    /// [`TableError::Unavailable`] if another attempt may succeed, for example because the database is busy.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, TableError> {
        let path = resolve(path.as_ref())?;
        let directory = LockDirectory::next_to(&path)?;
        let shared = Shared { path, directory, held: Mutex::default() };
        shared.connect()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the path of the database, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl SharedTable for SqliteSharedTable {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        let connection = self.shared.connect()?;
        Ok(Box::new(SqliteSession::new(connection, self.shared.clone())?))
    }

    fn guard_sql(&self) -> Option<String> {
        Some(GUARD.to_owned())
    }
}

impl fmt::Debug for SqliteSharedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSharedTable").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Shared {
    /// Opens a connection to the database, whose tables have a version that this program may use.
    fn connect(&self) -> Result<Connection, TableError> {
        self.try_connect().map_err(|failure| failure.about(&self.path))
    }

    fn try_connect(&self) -> Result<Connection, Failure> {
        // The path is absolute, so none is special to SQLite, as ":memory:" would be.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_handler(Some(keep_waiting))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        self.turn_on_wal(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        schema::prepare(&mut connection, &self.path)?;
        Ok(connection)
    }

    /// With a write-ahead log, those who read do not wait for the one who writes.
    fn turn_on_wal(&self, connection: &Connection) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let mode = "PRAGMA journal_mode = WAL";
            match connection.query_row(mode, [], |row| row.get::<_, String>(0)) {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => {
                    let problem = format!("has journal mode {mode:?}, and cannot have \"wal\"");
                    return Err(Fault::database(&self.path, problem).into());
                }
                // SQLite does not wait here, because two programs might wait for each other.
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && begun.elapsed() < BUSY =>
                {
                    thread::sleep(WAL_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives up the lock file of a manager whose row is gone.
    pub(crate) fn let_go(&self, manager: ManagerId) {
        let held = i64::try_from(manager.get()).ok().and_then(|id| self.held.lock().remove(&id));
        // The file is unlinked without the lock.
        drop(held);
    }
}

/// Waits for a lock, for about [`BUSY`] in total. SQLite's own waits grow to 100 ms, which is long for transactions
/// that take 1 ms: with 16 managers, claims took six times as long.
fn keep_waiting(attempts: i32) -> bool {
    let attempts = attempts.unsigned_abs();
    let pause = if attempts < SHORT_PAUSES { SHORT } else { LONG };
    let goes_on = LONG * attempts.saturating_sub(SHORT_PAUSES) < BUSY;
    if goes_on {
        thread::sleep(pause);
    }
    goes_on
}

/// The path without symbolic links, so that all programs find the same directory of lock files. The file need not
/// exist.
///
/// Nothing but SQLite may open the database file: closing a descriptor of it would end all locks that SQLite has on it.
fn resolve(path: &Path) -> Result<PathBuf, TableError> {
    let failed = |error| Fault::file("find", path, error);
    if path.symlink_metadata().is_ok() {
        return fs::canonicalize(path).map_err(failed);
    }
    let Some(name) = path.file_name() else {
        return Err(Fault::database(path, "is not the name of a file"));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(failed)?.join(name))
}

#[cfg(test)]
mod tests {
    use procession_supervisor::shared::TableError;
    use rusqlite::ErrorCode;

    use super::SqliteSharedTable;
    use crate::error::Failure;
    use crate::units;

    /// No test can cut the power, so this one reads the settings.
    #[test]
    fn commits_survive_a_power_failure() {
        let directory = tempfile::tempdir().unwrap();
        let table = SqliteSharedTable::new(directory.path().join("units.db")).unwrap();
        let connection = table.shared.connect().unwrap();
        let full: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(full, 2);
        let mode: String =
            connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_full_database_is_unavailable() {
        let directory = tempfile::tempdir().unwrap();
        let table = SqliteSharedTable::new(directory.path().join("units.db")).unwrap();
        let mut connection = table.shared.connect().unwrap();
        connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())).unwrap();
        let transaction = connection.transaction().unwrap();
        let failure = units::put(&transaction, "k", "a", &"spec".repeat(10_000)).unwrap_err();
        let Failure::Sqlite(error) = &failure else { panic!("{failure:?}") };
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
        assert!(matches!(failure.about(table.path()), TableError::Unavailable(_)));
    }
}
