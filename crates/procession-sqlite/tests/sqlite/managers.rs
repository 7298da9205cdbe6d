//! [`SharedManager`]s over one file.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use procession::Process;
use procession_runnable::{Start, body, body_thread};
use procession_sqlite::SqliteSharedTable;
use procession_supervisor::shared::SharedManager;
use procession_supervisor::{Policy, Unit};

use crate::child::Program;
use crate::world::{LIMIT, World, register, row, until};

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
    run(&manager)
}

/// Starts a manager.
fn run(manager: &SharedManager) -> Process {
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

/// Its lease lasts until the unit has ended, and the program can be asked about its units meanwhile.
#[test]
fn a_manager_with_a_stuck_unit_leaves_when_the_unit_has_ended() {
    let world = World::new();
    let mut session = world.session();
    session.put("x", "a", "").unwrap();
    let (let_go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let graces = Policy::new().grace(Duration::ZERO).abort_grace(Duration::from_millis(10));
    let builder = SharedManager::builder(world.table()).kinds(["a"]).policy(graces);
    let manager = builder.build(move |_| {
        let gate = gate.clone();
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            let _let_go = gate.lock().unwrap().recv();
        })))
    });
    let root = run(&manager);
    until(&mut *session, "a ready unit", |s| row(s, "x").is_ready.then_some(()));
    root.close();
    assert!(root.closed().wait_timeout(LIMIT).is_some());
    let (listed, list) = mpsc::channel();
    std::thread::spawn(move || listed.send(manager.list()));
    assert_eq!(list.recv_timeout(LIMIT).unwrap().len(), 1);
    assert!(row(&mut *session, "x").owner.is_some());
    drop(let_go);
    until(&mut *session, "a free unit", |s| row(s, "x").owner.is_none().then_some(()));
    assert_eq!(session.managers().unwrap(), []);
}

/// A manager with a unit on probation takes no other one, and must not try again and again.
#[test]
fn units_on_probation_are_free_only_for_managers_without_one() {
    let world = World::new();
    let mut session = world.session();
    for key in ["one", "other"] {
        session.put(key, "a", "").unwrap();
    }
    world.connection().execute("UPDATE procession_units SET crashes = 2", ()).unwrap();
    let (first, second) = (register(&mut *session), register(&mut *session));
    assert!(session.share(first).unwrap().has_free);
    assert_eq!(session.claim(first, 9).unwrap().len(), 1);
    assert!(!session.share(first).unwrap().has_free);
    assert!(session.share(second).unwrap().has_free);
    assert!(session.claim(first, 9).unwrap().is_empty());
    assert_eq!(session.claim(second, 9).unwrap().len(), 1);
}
