//! What several tests need.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procession_sqlite::SqliteSharedTable;
use procession_sqlite::rusqlite::Connection;
use procession_supervisor::shared::{
    ManagerId, Registration, Session, SharedTable, TableError, UnitRow,
};
use tempfile::TempDir;

/// The maximum time for something that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// A crash limit that is not reached.
pub(crate) const NEVER: u32 = 1000;

/// A temporary directory with a database, which is removed when this value is dropped.
pub(crate) struct World {
    directory: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory().join("units.db")
    }

    pub(crate) fn table(&self) -> SqliteSharedTable {
        SqliteSharedTable::new(self.path()).unwrap()
    }

    pub(crate) fn session(&self) -> Box<dyn Session> {
        self.table().open().unwrap()
    }

    /// A connection of a user.
    pub(crate) fn connection(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(LIMIT).unwrap();
        connection
    }

    /// The lock file of a manager.
    pub(crate) fn lock_file(&self, manager: ManagerId) -> PathBuf {
        self.directory().join("units.db-managers").join(manager.to_string())
    }
}

pub(crate) fn registration(kinds: &[&str]) -> Registration {
    Registration::new("test", kinds.iter().copied(), Duration::from_secs(15))
}

pub(crate) fn register(session: &mut dyn Session) -> ManagerId {
    session.register(&registration(&["a"])).unwrap().manager
}

pub(crate) fn row(session: &mut dyn Session, key: &str) -> UnitRow {
    session.get(key).unwrap().unwrap()
}

/// Waits until `is_so` returns something.
#[track_caller]
pub(crate) fn until<R>(
    session: &mut dyn Session,
    what: &str,
    mut is_so: impl FnMut(&mut dyn Session) -> Option<R>,
) -> R {
    let begun = Instant::now();
    loop {
        if let Some(found) = is_so(session) {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited for {what}");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
}

/// The text of an error and of all its causes.
pub(crate) fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// The text of an error that must be [`TableError::Unusable`].
#[track_caller]
pub(crate) fn unusable<R>(result: Result<R, TableError>) -> String {
    match result {
        Err(error @ TableError::Unusable(_)) => text_of(&error),
        Err(error) => panic!("expected an unusable table: {}", text_of(&error)),
        Ok(_) => panic!("expected an unusable table"),
    }
}
