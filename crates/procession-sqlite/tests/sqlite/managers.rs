//! [`SharedManager`]s over one file.

use std::sync::mpsc;
use std::time::Duration;

use procession::Process;
use procession_runnable::{Start, body};
use procession_sqlite::SqliteSharedTable;
use procession_supervisor::Unit;
use procession_supervisor::shared::SharedManager;

use crate::child::Program;
use crate::world::{LIMIT, World, row, until};

/// Starts a manager that sends the key of each unit that it starts.
fn start(table: SqliteSharedTable, sender: mpsc::Sender<String>) -> Process {
    let builder = SharedManager::builder(table).kinds(["a"]);
    let manager = builder.poll_every(Duration::from_millis(50)).build(move |claim| {
        let (sender, key) = (sender.clone(), claim.key().to_owned());
        Ok(Unit::new(body(move |run| {
            let _sent = sender.send(key.clone());
            async move {
                run.ready();
                run.closing().await;
            }
        })))
    });
    let root = Process::new();
    let (start, readiness) = Start::under(&root);
    let _process = manager.runnable().start(start).unwrap();
    futures_lite::future::block_on(readiness).unwrap();
    root
}

#[test]
fn units_move_when_a_manager_stops() {
    let world = World::new();
    let mut session = world.session();
    session.put("x", "a", "").unwrap();
    let (sender, started) = mpsc::channel();
    let first = start(world.table(), sender.clone());
    assert_eq!(started.recv_timeout(LIMIT).unwrap(), "x");
    until(&mut *session, "a ready unit", |s| row(s, "x").is_ready.then_some(()));
    let second = start(world.table(), sender);
    first.close_blocking().unwrap();
    assert_eq!(started.recv_timeout(LIMIT).unwrap(), "x");
    second.close_blocking().unwrap();
    let row = row(&mut *session, "x");
    assert_eq!((row.owner, row.starts, row.crashes), (None, 2, 0));
    assert_eq!(session.managers().unwrap(), []);
}

#[test]
fn units_move_when_a_program_is_killed() {
    let world = World::new();
    let mut session = world.session();
    session.put("x", "a", "").unwrap();
    let mut program = Program::start("manager", &world.path());
    assert_eq!(program.hear(), "x");
    let (sender, started) = mpsc::channel();
    let manager = start(world.table(), sender);
    program.kill();
    assert_eq!(started.recv_timeout(LIMIT).unwrap(), "x");
    until(&mut *session, "a ready unit", |s| row(s, "x").is_ready.then_some(()));
    assert_eq!(row(&mut *session, "x").starts, 2);
    manager.close_blocking().unwrap();
}

/// The lease of a manager ends when an operator ends it, and the manager registers again.
#[test]
fn a_manager_whose_lease_is_ended_registers_again() {
    let world = World::new();
    let mut session = world.session();
    session.put("x", "a", "").unwrap();
    let (sender, started) = mpsc::channel();
    let manager = start(world.table(), sender);
    assert_eq!(started.recv_timeout(LIMIT).unwrap(), "x");
    let first = session.managers().unwrap()[0].manager;
    session.expire(first).unwrap();
    assert_eq!(started.recv_timeout(LIMIT).unwrap(), "x");
    assert!(!world.lock_file(first).exists());
    assert_ne!(session.managers().unwrap()[0].manager, first);
    manager.close_blocking().unwrap();
}
