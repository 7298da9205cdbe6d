//! Versions of the schema, migrations, and other tables in the same database.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use procession_sqlite::SqliteSharedTable;
use procession_supervisor::shared::{SharedTable, TableError};

use crate::world::{World, register, row};

fn set_version(world: &World, schema: u32, oldest: u32) {
    let sql = "UPDATE procession_meta SET schema = ?1, oldest = ?2";
    world.connection().execute(sql, [schema, oldest]).unwrap();
}

#[track_caller]
fn incompatible<R>(result: Result<R, TableError>) {
    let error = result.err().expect("the schema is too new");
    let expected = TableError::Incompatible { schema: 99, oldest: 98, supported: 1 };
    assert_eq!(error.to_string(), expected.to_string());
}

#[test]
fn a_newer_schema_is_used_if_it_allows_it() {
    let world = World::new();
    world.session().put("k", "a", "").unwrap();
    set_version(&world, 99, 1);
    assert_eq!(row(&mut *world.session(), "k").key, "k");
    set_version(&world, 99, 98);
    incompatible(SqliteSharedTable::new(world.path()));
    set_version(&world, 99, 1);
    world.session().put("k", "a", "2").unwrap();
}

/// A newer program migrates the database while this one uses it.
#[test]
fn a_migration_stops_older_programs() {
    let world = World::new();
    let table = world.table();
    let mut session = table.open().unwrap();
    let manager = register(&mut *session);
    session.put("k", "a", "").unwrap();
    let token = session.claim(manager, 1).unwrap()[0].token;
    set_version(&world, 99, 98);
    incompatible(session.renew(manager));
    incompatible(session.put("k", "a", "2"));
    incompatible(session.release("k", token));
    incompatible(session.expire(manager));
    incompatible(table.open().map(drop));
    set_version(&world, 1, 1);
    let row = row(&mut *session, "k");
    assert_eq!((row.generation, row.owner), (1, Some(manager)), "nothing has changed");
    session.renew(manager).unwrap();
}

#[test]
fn programs_that_open_a_new_file_at_once_make_one_table() {
    for _ in 0..50 {
        let world = World::new();
        let barrier = Barrier::new(16);
        thread::scope(|scope| {
            for number in 0..16 {
                let (world, barrier) = (&world, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    world.session().put(&format!("{number}"), "a", "").unwrap();
                });
            }
        });
        let rows = world.session().scan(None, 100).unwrap();
        assert_eq!(rows.len(), 16);
    }
}

#[test]
fn a_user_has_tables_of_its_own_in_the_same_database() {
    let world = World::new();
    let user = world.connection();
    user.execute_batch("PRAGMA foreign_keys = ON; CREATE TABLE mine (key TEXT)").unwrap();
    let mut session = world.session();
    session.put("k", "a", "").unwrap();
    user.execute_batch(
        "INSERT INTO mine SELECT key FROM procession_units;
         INSERT INTO mine VALUES ('other')",
    )
    .unwrap();
    while session.wait_for_change(Duration::ZERO).unwrap() {}
    user.execute_batch("INSERT INTO mine VALUES ('more')").unwrap();
    assert!(!session.wait_for_change(Duration::ZERO).unwrap(), "only changes of units wake");
    session.put("k", "a", "2").unwrap();
    assert_eq!(row(&mut *session, "k").generation, 2);
    let count = |sql| user.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM mine"), 3);
    // Whatever deletes a row, tokens grow.
    let manager = register(&mut *session);
    let token = session.claim(manager, 1).unwrap()[0].token;
    user.execute_batch("DELETE FROM procession_units").unwrap();
    assert_eq!(session.share(manager).unwrap().fair, 0);
    session.put("k", "a", "").unwrap();
    assert!(session.claim(manager, 1).unwrap()[0].token > token);
    let integrity: String = user.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}
