//! Which managers are dead: leases end with programs, not by time.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use procession_sqlite::SqliteSharedTable;
use procession_supervisor::shared::{
    ManagerId, PROBATION_CRASHES, Record, Session, SharedTable, TableError,
};

use crate::child::Program;
use crate::world::{LIMIT, NEVER, World, register, registration, row, until};

fn refused<R>(result: Result<R, TableError>) {
    assert!(matches!(result, Err(TableError::Refused)));
}

/// Waits until managers are dead. A lock may outlive its table for a moment, if another thread starts a program.
#[track_caller]
fn expired(session: &mut dyn Session, crash_limit: u32) -> Vec<ManagerId> {
    until(session, "a dead manager", |session| {
        let dead = session.expire_dead(crash_limit).unwrap();
        (!dead.is_empty()).then_some(dead)
    })
}

fn ids(session: &mut dyn Session) -> Vec<ManagerId> {
    session.managers().unwrap().into_iter().map(|row| row.manager).collect()
}

#[test]
fn a_killed_program_is_dead_at_once() {
    let world = World::new();
    let mut session = world.session();
    for key in ["x", "y"] {
        session.put(key, "a", "").unwrap();
    }
    let me = register(&mut *session);
    let (mut program, manager) = Program::owner(&world.path());
    assert_eq!(row(&mut *session, "x").owner, Some(manager));
    assert_eq!(session.expire_dead(NEVER).unwrap(), []);
    assert!(!session.share(me).unwrap().has_dead);
    assert_eq!(ids(&mut *session), [me, manager]);
    assert!(world.lock_file(manager).exists());

    program.kill();
    // Leases in a file do not end by time, so it is the lock file that tells.
    let dead = expired(&mut *session, NEVER);
    assert_eq!(dead, [manager]);
    assert!(!world.lock_file(manager).exists());
    for key in ["x", "y"] {
        let row = row(&mut *session, key);
        assert_eq!((row.owner, row.crashes), (None, 1));
    }
    refused(session.renew(manager));
    refused(session.claim(manager, 1));
    assert_eq!(session.expire_dead(NEVER).unwrap(), []);
    assert_eq!(session.claim(me, 9).unwrap().len(), 2);
}

/// Before anybody has ended its lease, a dead manager is neither listed nor hidden from those who look for the dead.
#[test]
fn a_share_says_that_a_manager_is_dead() {
    let world = World::new();
    let mut session = world.session();
    let me = register(&mut *session);
    let (mut program, manager) = Program::owner(&world.path());
    program.kill();
    until(&mut *session, "the death of a program", |session| {
        session.share(me).unwrap().has_dead.then_some(())
    });
    assert!(session.share(me).unwrap().has_dead, "until it has been ended");
    assert_eq!(ids(&mut *session), [me]);
    assert_eq!(expired(&mut *session, NEVER), [manager]);
    assert!(!session.share(me).unwrap().has_dead);
}

#[test]
fn a_paused_program_lives_until_an_operator_ends_its_lease() {
    let world = World::new();
    let mut session = world.session();
    session.put("x", "a", "").unwrap();
    let me = register(&mut *session);
    let (mut program, manager) = Program::owner(&world.path());
    program.tell("renew");
    assert_eq!(program.hear(), "renewed");
    let token = row(&mut *session, "x").token;

    program.pause();
    assert_eq!(session.expire_dead(NEVER).unwrap(), []);
    assert!(!session.share(me).unwrap().has_dead);
    assert_eq!(row(&mut *session, "x").owner, Some(manager));

    session.expire(manager).unwrap();
    assert!(world.lock_file(manager).exists(), "it belongs to the paused program");
    let row_of_x = row(&mut *session, "x");
    assert_eq!((row_of_x.owner, row_of_x.crashes), (None, 0));
    assert!(session.claim(me, 1).unwrap()[0].token > token);
    refused(session.record("x", token, &Record::Ready));
    register(&mut *session);
    assert!(world.lock_file(manager).exists(), "nobody else removes it");

    program.resume();
    program.tell("renew");
    assert_eq!(program.hear(), "refused");
    assert!(!world.lock_file(manager).exists(), "it has removed its own file");
    program.finish();
}

#[test]
fn managers_of_one_program_see_each_other_as_alive() {
    let world = World::new();
    let (one, two) = (world.table(), world.table());
    let mut first = one.open().unwrap();
    let mut second = two.open().unwrap();
    let (a, b) = (register(&mut *first), register(&mut *second));
    assert_eq!(first.expire_dead(NEVER).unwrap(), []);
    assert_eq!(second.expire_dead(NEVER).unwrap(), []);
    assert_eq!(ids(&mut *first), [a, b]);
    second.leave(b).unwrap();
    assert!(!world.lock_file(b).exists());
    assert_eq!(first.expire_dead(NEVER).unwrap(), []);
    first.renew(a).unwrap();
}

#[test]
fn a_lease_lasts_until_the_table_and_its_sessions_are_dropped() {
    let world = World::new();
    let table = world.table();
    let mut other = world.session();
    let mut registering = table.open().unwrap();
    let manager = register(&mut *registering);
    let mut session = table.open().unwrap();
    drop(registering);
    assert_eq!(other.expire_dead(NEVER).unwrap(), []);
    drop(table);
    assert_eq!(other.expire_dead(NEVER).unwrap(), []);
    session.renew(manager).unwrap();
    drop(session);
    assert_eq!(expired(&mut *other, NEVER), [manager]);
}

/// Makes a manager that claims what it can, calls `before`, and dies.
fn die(
    world: &World,
    previous: Option<ManagerId>,
    before: impl FnOnce(&mut dyn Session, ManagerId),
) -> ManagerId {
    let mut session = world.session();
    let registration = registration(&["a"]).after(previous);
    let manager = session.register(&registration).unwrap().manager;
    session.claim(manager, 100).unwrap();
    before(&mut *session, manager);
    manager
}

/// As in the conformance suite, which cannot let a manager die if leases do not end by time.
#[test]
fn crashes_find_the_cause() {
    let world = World::new();
    let mut s = world.session();
    let s = &mut *s;
    for key in ["i", "j", "removed", "steady"] {
        s.put(key, "a", "").unwrap();
    }
    let make_steady = |session: &mut dyn Session, _| {
        let row = row(session, "steady");
        session.record("steady", row.token, &Record::Steady).unwrap();
    };
    let mut tokens = 0;
    for crashes in 1..=PROBATION_CRASHES {
        let manager = die(&world, None, make_steady);
        if crashes == 1 {
            s.remove("removed").unwrap();
            tokens = row(s, "removed").token.get();
        }
        assert_eq!(expired(&mut *s, NEVER), [manager]);
        assert!(s.get("removed").unwrap().is_none());
        let seen = ["i", "j", "steady"].map(|key| row(s, key).crashes);
        assert_eq!(seen, [crashes, crashes, 0]);
        assert_eq!(row(s, "steady").owner, None);
    }
    // Both are on probation now, and a manager takes only one of them.
    s.put("fresh", "a", "").unwrap();
    let manager = die(&world, None, |session, manager| {
        make_steady(session, manager);
        assert_eq!(session.claim(manager, 100).unwrap(), []);
        assert!(!session.share(manager).unwrap().has_free);
    });
    assert!(row(s, "fresh").token.get() > tokens, "tokens grow across a removal");
    let (suspect, other) = if row(s, "i").owner == Some(manager) { ("i", "j") } else { ("j", "i") };
    assert_eq!(row(s, other).owner, None);
    assert_eq!(expired(&mut *s, NEVER), [manager]);
    let seen = [suspect, other, "fresh"].map(|key| row(s, key).crashes);
    assert_eq!(seen, [PROBATION_CRASHES + 1, PROBATION_CRASHES, 0]);
    // At the limit, it is quarantined.
    s.want_stop(other).unwrap();
    let manager = die(&world, None, make_steady);
    assert_eq!(expired(&mut *s, PROBATION_CRASHES + 2), [manager]);
    let quarantined = row(s, suspect);
    assert!(quarantined.is_quarantined);
    let error = "the program that ran it has died 4 times";
    assert_eq!(quarantined.last_error.as_deref(), Some(error));
    assert_eq!((row(s, other).is_quarantined, row(s, "fresh").crashes), (false, 0));
    s.clear_quarantine(suspect).unwrap();
    assert_eq!(row(s, suspect).crashes, 0);
    let manager = die(&world, None, |_, _| {});
    assert_eq!(expired(&mut *s, 1), [manager]);
    let error = "the program that ran it has died 1 time";
    assert_eq!(row(s, suspect).last_error.as_deref(), Some(error));
}

/// As in the conformance suite.
#[test]
fn units_of_a_program_that_lives_on_have_not_crashed() {
    let world = World::new();
    let mut s = world.session();
    s.put("k", "a", "").unwrap();
    let ended = die(&world, None, |_, _| {});
    assert_eq!(row(&mut *s, "k").owner, Some(ended));
    let again = registration(&["a"]).after(Some(ended));
    let first = s.register(&again).unwrap().manager;
    assert_eq!(row(&mut *s, "k").owner, None, "the registration ends the lease");
    assert!(!world.lock_file(ended).exists());
    assert_eq!(row(&mut *s, "k").crashes, 0);
    s.leave(first).unwrap();
    let mut last = None;
    for _ in 0..2 {
        last = Some(die(&world, None, |_, _| {}));
        expired(&mut *s, NEVER);
    }
    s.register(&registration(&[]).after(last)).unwrap();
    assert_eq!(row(&mut *s, "k").crashes, 1, "other crashes remain");
}

/// As in the conformance suite.
#[test]
fn crashes_that_were_forgotten_are_not_taken_back() {
    let world = World::new();
    let mut s = world.session();
    s.put("k", "a", "").unwrap();
    let forget = |s: &mut dyn Session, call: &str| match call {
        "put" => assert_eq!(s.put("k", "a", "2").unwrap(), 2),
        "want_run" => s.want_run("k").unwrap(),
        "clear_quarantine" => s.clear_quarantine("k").unwrap(),
        _ => {
            let manager = register(s);
            let token = s.claim(manager, 1).unwrap()[0].token;
            s.record("k", token, &Record::Steady).unwrap();
            s.leave(manager).unwrap();
        }
    };
    for call in ["put", "want_run", "clear_quarantine", "record"] {
        let dead = die(&world, None, |_, _| {});
        assert_eq!(expired(&mut *s, NEVER), [dead]);
        assert_eq!(row(&mut *s, "k").crashes, 1);
        forget(&mut *s, call);
        assert_eq!(row(&mut *s, "k").crashes, 0, "{call} forgets crashes");
        let again = s.register(&registration(&["a"]).after(Some(dead))).unwrap().manager;
        assert_eq!(row(&mut *s, "k").crashes, 0, "nothing is taken back after {call}");
        s.leave(again).unwrap();
    }
}

#[test]
fn a_manager_leaves_no_rows_behind() {
    let world = World::new();
    let mut session = world.session();
    let rows = || -> i64 {
        let sql = "SELECT (SELECT count(*) FROM procession_managers)
            + (SELECT count(*) FROM procession_manager_kinds)";
        world.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let manager = session.register(&registration(&["a", "b"])).unwrap().manager;
    assert_eq!(rows(), 3);
    session.leave(manager).unwrap();
    assert_eq!(rows(), 0);
}

/// A descriptor that a command inherits would keep a dead program alive.
#[test]
fn a_command_does_not_keep_its_parent_alive() {
    let world = World::new();
    let mut session = world.session();
    let (mut program, manager) = Program::owner(&world.path());
    program.tell("start a command");
    assert_eq!(program.hear(), "started");
    program.kill();
    assert_eq!(expired(&mut *session, NEVER), [manager]);
}

#[test]
fn files_that_dead_programs_have_left_are_removed() {
    let world = World::new();
    let table = world.table();
    let mut session = table.open().unwrap();
    let manager = register(&mut *session);
    let left = world.lock_file(ManagerId::new(77));
    fs::write(&left, "").unwrap();
    let foreign = world.directory().join("units.db-managers/README");
    fs::write(&foreign, "").unwrap();
    let second = register(&mut *world.session());
    assert!(!left.exists() && foreign.exists());
    assert!(world.lock_file(manager).exists());
    // The session that registered the second manager is gone, but nobody has ended its lease.
    assert_eq!(expired(&mut *session, NEVER), [second]);
}

/// The database was removed and made again while a program was using it.
#[test]
fn ids_whose_files_are_in_use_are_skipped() {
    let world = World::new();
    let old = world.table();
    let mut old_session = old.open().unwrap();
    let first = register(&mut *old_session);
    for file in ["units.db", "units.db-wal", "units.db-shm"] {
        fs::remove_file(world.directory().join(file)).unwrap();
    }
    let new = world.table();
    let mut session = new.open().unwrap();
    let second = register(&mut *session);
    assert_ne!(second, first);
    drop((old, old_session));
    assert_eq!(session.expire_dead(NEVER).unwrap(), []);
    session.renew(second).unwrap();
}

/// The database and the lock files were removed and made again: the old program must not remove the file of the new
/// manager, which has the same id.
#[test]
fn a_file_of_another_manager_with_the_same_id_is_kept() {
    let world = World::new();
    let old = world.table();
    let mut old_session = old.open().unwrap();
    let first = register(&mut *old_session);
    for file in ["units.db", "units.db-wal", "units.db-shm"] {
        fs::remove_file(world.directory().join(file)).unwrap();
    }
    fs::remove_dir_all(world.directory().join("units.db-managers")).unwrap();
    let new = world.table();
    let mut session = new.open().unwrap();
    let second = register(&mut *session);
    assert_eq!(second, first);
    drop((old, old_session));
    assert!(world.lock_file(second).exists());
    assert_eq!(world.session().expire_dead(NEVER).unwrap(), []);
}

/// Without its lock file, a manager counts as dead.
#[test]
fn managers_without_lock_files_are_dead() {
    let world = World::new();
    let table = world.table();
    let mut session = table.open().unwrap();
    let manager = register(&mut *session);
    fs::remove_dir_all(world.directory().join("units.db-managers")).unwrap();
    let mut other = world.table().open().unwrap();
    assert_eq!(other.expire_dead(NEVER).unwrap(), [manager]);
    refused(session.renew(manager));
    let again = register(&mut *session);
    assert_eq!(other.expire_dead(NEVER).unwrap(), []);
    session.renew(again).unwrap();
}

#[test]
fn paths_with_symbolic_links_are_the_same_table() {
    let world = World::new();
    let link = world.directory().join("link.db");
    std::os::unix::fs::symlink("units.db", &link).unwrap();
    let table = world.table();
    let manager = register(&mut *table.open().unwrap());
    let linked = SqliteSharedTable::new(&link).unwrap();
    assert_eq!(linked.path(), table.path());
    let mut session = linked.open().unwrap();
    assert_eq!(session.expire_dead(NEVER).unwrap(), []);
    session.renew(manager).unwrap();
}

/// Many sessions look for the dead at once: each death is found by exactly one, and no living manager is taken for
/// dead.
#[test]
fn each_death_is_found_once() {
    let world = World::new();
    let table = world.table();
    let living = register(&mut *table.open().unwrap());
    let dead: Vec<ManagerId> = (0..40).map(|_| die(&world, None, |_, _| {})).collect();
    let left = AtomicUsize::new(dead.len());
    let begun = Instant::now();
    let mut found: Vec<ManagerId> = std::thread::scope(|scope| {
        let look = || {
            let mut session = world.session();
            let mut found = Vec::new();
            while left.load(Ordering::Relaxed) > 0 && begun.elapsed() < LIMIT {
                let dead = session.expire_dead(NEVER).unwrap();
                left.fetch_sub(dead.len(), Ordering::Relaxed);
                found.extend(dead);
            }
            found
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(look)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    found.sort();
    assert_eq!(found, dead);
    assert_eq!(ids(&mut *world.session()), [living]);
}
