//! What happens when the disk is full, or a program has no file descriptors left.

use std::fs::File;
use std::path::Path;

use procession_sqlite::SqliteSharedTable;
use procession_supervisor::shared::{SharedTable, TableError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::child::{Program, say};
use crate::world::{World, register, text_of};

/// Sets the soft limit, which can be raised again.
fn limit(resource: Resource, to: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: to.or(maximum), maximum }).unwrap();
}

#[track_caller]
fn unavailable(error: &TableError) {
    assert!(matches!(error, TableError::Unavailable(_)), "{}", text_of(error));
}

#[test]
fn a_full_disk_loses_nothing() {
    let world = World::new();
    let mut program = Program::start("full disk", &world.path());
    let (before, after) = (program.hear(), program.hear());
    program.finish();
    let (before, after): (usize, usize) = (before.parse().unwrap(), after.parse().unwrap());
    let mut session = world.session();
    let rows = session.scan(None, 100_000).unwrap();
    assert!(before > 0 && after > before);
    assert_eq!(rows.len(), after, "each unit whose put has succeeded is there, and no other");
    let integrity = "PRAGMA integrity_check";
    let integrity: String = world.connection().query_row(integrity, [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

/// In a child whose files cannot grow beyond a limit: puts units until one fails, and again without the limit. Says the
/// number of units both times.
pub(crate) fn fill(path: &Path) {
    // The signal would end the program.
    let ignored = std::sync::Arc::default();
    signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), ignored).unwrap();
    let table = SqliteSharedTable::new(path).unwrap();
    let mut session = table.open().unwrap();
    let manager = register(&mut *session);
    limit(Resource::Fsize, Some(512 * 1024));
    let spec = "spec".repeat(1000);
    let mut units = 0;
    let error = loop {
        assert!(units < 1000, "the limit has no effect");
        match session.put(&format!("{units:05}"), "a", &spec) {
            Ok(_) => units += 1,
            Err(error) => break error,
        }
    };
    unavailable(&error);
    // What only reads goes on, so the lease is kept.
    session.renew(manager).unwrap();
    assert_eq!(session.scan(None, 10_000).unwrap().len(), units);
    unavailable(&session.put("x", "a", &spec).unwrap_err());
    say(units);
    limit(Resource::Fsize, None);
    for _ in 0..10 {
        session.put(&format!("{units:05}"), "a", &spec).unwrap();
        units += 1;
    }
    assert_eq!(session.claim(manager, 1).unwrap().len(), 1);
    session.leave(manager).unwrap();
    say(units);
}

#[test]
fn a_program_without_file_descriptors_can_try_again() {
    let world = World::new();
    let mut program = Program::start("no descriptors", &world.path());
    assert_eq!(program.hear(), "done");
    program.finish();
}

/// In a child: uses up all descriptors.
pub(crate) fn use_up_descriptors(path: &Path) {
    let table = SqliteSharedTable::new(path).unwrap();
    let mut session = table.open().unwrap();
    let manager = register(&mut *session);
    let other = SqliteSharedTable::new(path).unwrap();
    let mut peer = other.open().unwrap();
    register(&mut *peer);
    limit(Resource::Nofile, Some(64));
    let mut files: Vec<File> = Vec::new();
    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    unavailable(&SqliteSharedTable::new(path).unwrap_err());
    unavailable(&table.open().map(drop).unwrap_err());
    unavailable(&session.expire_dead(9).unwrap_err());
    assert!(session.share(manager).unwrap().has_dead, "it cannot tell");
    session.renew(manager).unwrap();
    files.clear();
    assert_eq!(session.expire_dead(9).unwrap(), []);
    table.open().unwrap();
    say("done");
}
