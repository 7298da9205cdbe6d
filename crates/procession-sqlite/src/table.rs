//! [`SqliteSharedTable`]: it finds the file, and opens sessions.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use procession_supervisor::shared::{Session, SharedTable, TableError};

use crate::error::Fault;
use crate::guard::GUARD;
use crate::lock::LockDirectory;
use crate::session::SqliteSession;
use crate::shared::Shared;

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
