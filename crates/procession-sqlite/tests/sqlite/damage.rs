//! Files that cannot be used: the error says so, and the calls change nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use procession_sqlite::SqliteSharedTable;
use procession_sqlite::rusqlite::{Connection, TransactionBehavior};
use procession_supervisor::shared::{SharedTable, TableError};

use crate::world::{World, row, text_of, unusable};

/// A database of many pages, which nobody uses any more.
fn filled() -> World {
    let world = World::new();
    let mut session = world.session();
    for number in 0..200 {
        session.put(&format!("{number}"), "a", &"spec".repeat(100)).unwrap();
    }
    drop(session);
    assert!(!world.directory().join("units.db-wal").exists(), "all is in the file itself");
    world
}

/// The first error that a user of the table gets.
fn first_error(world: &World) -> TableError {
    let look = || {
        let table = SqliteSharedTable::new(world.path())?;
        let mut session = table.open()?;
        session.scan(None, 1000)?;
        session.put("k", "a", "")
    };
    look().expect_err("the file is damaged")
}

#[test]
fn a_file_that_is_not_a_database() {
    let world = World::new();
    fs::write(world.path(), "some text that is not a database, ".repeat(100)).unwrap();
    let text = unusable(SqliteSharedTable::new(world.path()));
    assert!(text.contains("units.db") && text.contains("not a database"), "{text}");
    let kept = fs::read_to_string(world.path()).unwrap();
    assert!(kept.starts_with("some text"), "the file is not changed");
}

#[test]
fn a_corrupt_file() {
    let world = filled();
    let mut file = OpenOptions::new().write(true).open(world.path()).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xA5; length as usize - 4096]).unwrap();
    let text = unusable(Err::<(), _>(first_error(&world)));
    assert!(text.contains("malformed"), "{text}");
}

#[test]
fn a_truncated_file() {
    let world = filled();
    let file = OpenOptions::new().write(true).open(world.path()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let text = unusable(Err::<(), _>(first_error(&world)));
    assert!(text.contains("malformed"), "{text}");
}

#[test]
fn paths_that_cannot_be_a_file() {
    let world = World::new();
    fs::create_dir(world.path()).unwrap();
    unusable(SqliteSharedTable::new(world.path()));
    let missing = world.directory().join("missing/units.db");
    let text = unusable(SqliteSharedTable::new(missing));
    assert!(text.contains("missing/units.db"), "{text}");
    unusable(SqliteSharedTable::new("/"));
    unusable(SqliteSharedTable::new(""));
}

/// They are not special, as they would be for SQLite.
#[test]
fn names_that_are_special_to_sqlite_are_names_of_files() {
    let world = World::new();
    for name in [":memory:", "file:x?mode=memory"] {
        let path = world.directory().join(name);
        SqliteSharedTable::new(&path).unwrap();
        assert!(path.exists(), "{name}");
    }
}

/// Calls `f` on a thread without the privileges of root. It can read the directory.
fn without_privileges<R: Send>(world: &World, f: impl FnOnce() -> R + Send) -> R {
    fs::set_permissions(world.directory(), Permissions::from_mode(0o755)).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_uid(nobody).unwrap();
            }
            f()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_read_only_file() {
    let world = filled();
    fs::set_permissions(world.path(), Permissions::from_mode(0o444)).unwrap();
    let directory = world.directory().join("units.db-managers");
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let result = without_privileges(&world, || SqliteSharedTable::new(world.path()));
    let text = unusable(result);
    assert!(text.contains("readonly") || text.contains("unable to open"), "{text}");
}

#[test]
fn a_read_only_directory() {
    let world = World::new();
    let result = without_privileges(&world, || {
        assert!(File::create(world.directory().join("x")).is_err(), "it is read-only");
        SqliteSharedTable::new(world.path())
    });
    let text = unusable(result);
    assert!(text.contains("units.db") && text.contains("ermission denied"), "{text}");
}

#[test]
fn tables_of_another_application() {
    for sql in [
        "CREATE TABLE procession_meta (name TEXT)",
        "CREATE TABLE procession_meta (schema INTEGER, oldest INTEGER)",
        "CREATE TABLE procession_units (name TEXT)",
        "CREATE TABLE procession_kinds (name TEXT)",
    ] {
        let world = World::new();
        world.connection().execute_batch(sql).unwrap();
        let text = unusable(SqliteSharedTable::new(world.path()));
        assert!(text.contains("units.db"), "{text}");
        let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
        let tables: i64 = world.connection().query_row(tables, [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1, "a migration that fails changes nothing: {sql}");
    }
}

#[test]
fn a_database_in_utf_16() {
    let world = World::new();
    let sql = "PRAGMA encoding = 'UTF-16'; CREATE TABLE mine (x)";
    world.connection().execute_batch(sql).unwrap();
    let text = unusable(SqliteSharedTable::new(world.path()));
    assert!(text.contains("UTF-16"), "{text}");
}

/// The user of another connection does not let others write for longer than they wait.
#[test]
fn a_busy_database_is_unavailable() {
    let world = World::new();
    let mut session = world.session();
    session.put("k", "a", "").unwrap();
    let before = row(&mut *session, "k");
    let mut connection = world.connection();
    let behavior = TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behavior).unwrap();
    let error = session.put("k", "a", "2").unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "{}", text_of(&error));
    assert_eq!(row(&mut *session, "k"), before, "those who read do not wait");
    drop(transaction);
    session.put("k", "a", "2").unwrap();
}

/// Whoever has the database in a mode without shared memory keeps all others out.
#[test]
fn a_database_that_is_locked_exclusively_is_unavailable() {
    let world = World::new();
    let connection = Connection::open(world.path()).unwrap();
    let sql = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE mine (x); COMMIT";
    connection.execute_batch(sql).unwrap();
    let error = SqliteSharedTable::new(world.path()).unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "{}", text_of(&error));
}
