//! [`Shared`]: what a table and its sessions share, and how they connect.

use std::collections::HashMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use procession_supervisor::shared::{ManagerId, TableError};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Failure, Fault};
use crate::lock::{LockDirectory, LockFile};
use crate::schema;

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

pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) directory: LockDirectory,
    /// The lock files of the managers that registered with this table.
    pub(crate) held: Mutex<HashMap<i64, LockFile>>,
}

impl Shared {
    /// Opens a connection to the database, whose tables have a version that this program may use.
    pub(crate) fn connect(&self) -> Result<Connection, TableError> {
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
