//! The guard: a transaction of a user that is conditional on a claim.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use procession_runnable::{Start, body};
use procession_sqlite::rusqlite::{Connection, Transaction, TransactionBehavior, params};
use procession_sqlite::{guard, guard_claim};
use procession_supervisor::Unit;
use procession_supervisor::shared::{
    Lease, ManagerId, Session, SharedManager, SharedTable, TableError, Token,
};

use crate::world::{LIMIT, World, register, row};

/// A unit `k` that a manager has claimed, and a table of a user.
fn claimed() -> (World, Box<dyn Session>, ManagerId, Token) {
    let world = World::new();
    let mut session = world.session();
    world
        .connection()
        .execute_batch("CREATE TABLE log (written INTEGER, current INTEGER)")
        .unwrap();
    session.put("k", "a", "").unwrap();
    let manager = register(&mut *session);
    let token = session.claim(manager, 1).unwrap()[0].token;
    (world, session, manager, token)
}

fn begin(connection: &mut Connection, behavior: TransactionBehavior) -> Transaction<'_> {
    connection.transaction_with_behavior(behavior).unwrap()
}

/// Writes the token of the writer and the token of the current claim.
fn write(connection: &Connection, token: Token) {
    let sql = "INSERT INTO log VALUES (?1, (SELECT token FROM procession_units WHERE key = 'k'))";
    connection.execute(sql, [token.get() as i64]).unwrap();
}

fn stale_writes(world: &World) -> i64 {
    let sql = "SELECT count(*) FROM log WHERE written <> current";
    world.connection().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_guard_passes_for_the_current_claim_only() {
    let (world, mut session, manager, token) = claimed();
    let mut user = world.connection();
    let mut check = |key: &str, token: u64| {
        let [immediate, deferred] = [TransactionBehavior::Immediate, TransactionBehavior::Deferred]
            .map(|behavior| {
                let transaction = begin(&mut user, behavior);
                match guard_claim(&transaction, key, Token::new(token)) {
                    Ok(()) => true,
                    Err(TableError::Refused) => false,
                    Err(error) => panic!("{error}"),
                }
            });
        assert_eq!(immediate, deferred);
        immediate
    };
    let number = token.get();
    assert!(check("k", number));
    assert!(!check("k", number + 1) && !check("k", 0) && !check("k", u64::MAX));
    assert!(!check("other", number));
    let before = row(&mut *session, "k");
    assert!(check("k", number));
    assert_eq!(row(&mut *session, "k"), before, "a guard changes nothing");
    session.release("k", token).unwrap();
    assert!(!check("k", number), "a released unit has no claim");
    let next = session.claim(manager, 1).unwrap()[0].token.get();
    assert!(check("k", next) && !check("k", number));
    session.expire(manager).unwrap();
    assert!(!check("k", next), "the lease has ended");
}

#[test]
fn a_guard_holds_off_claims_until_the_transaction_ends() {
    for behavior in [TransactionBehavior::Deferred, TransactionBehavior::Immediate] {
        let (world, mut session, _, token) = claimed();
        let mut user = world.connection();
        let transaction = begin(&mut user, behavior);
        guard_claim(&transaction, "k", token).unwrap();
        let other = world.connection();
        other.busy_timeout(Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap_err();
        write(&transaction, token);
        transaction.commit().unwrap();
        session.release("k", token).unwrap();
        assert_eq!(stale_writes(&world), 0);
    }
}

/// A deferred transaction that has read something sees an old state of the claim. Its guard must not pass.
#[test]
fn a_guard_does_not_answer_from_an_old_snapshot() {
    let (world, mut session, _, token) = claimed();
    let mut user = world.connection();
    let transaction = begin(&mut user, TransactionBehavior::Deferred);
    let rows = "SELECT count(*) FROM log";
    transaction.query_row(rows, [], |row| row.get::<_, i64>(0)).unwrap();
    session.release("k", token).unwrap();
    let error = guard_claim(&transaction, "k", token).unwrap_err();
    assert!(matches!(error, TableError::Unavailable(_)), "{error}");
}

#[test]
fn a_guard_without_a_transaction_is_an_error() {
    let (world, _session, _, token) = claimed();
    let mut user = world.connection();
    let transaction = begin(&mut user, TransactionBehavior::Immediate);
    transaction.execute_batch("COMMIT").unwrap();
    let error = guard_claim(&transaction, "k", token).unwrap_err();
    assert!(matches!(error, TableError::Unusable(_)), "{error}");
}

#[test]
fn the_guard_is_available_as_sql() {
    let (world, mut session, _, token) = claimed();
    let sql = world.table().guard_sql().unwrap();
    let mut user = world.connection();
    let mut rows = |token: u64| {
        let transaction = begin(&mut user, TransactionBehavior::Immediate);
        let mut statement = transaction.prepare(&sql).unwrap();
        let rows = statement.query_map(params!["k", token as i64], |_| Ok(())).unwrap();
        rows.count()
    };
    assert_eq!((rows(token.get()), rows(token.get() + 1)), (1, 0));
    session.release("k", token).unwrap();
    assert_eq!(rows(token.get()), 0);
}

/// Writers try to write with tokens that become old all the time. Returns when they have tried `tries` times, or when
/// `is_over` says so.
fn race(
    world: &World,
    session: &mut dyn Session,
    manager: ManagerId,
    tries: usize,
    try_once: impl Fn(&mut Connection, Token) + Sync,
    is_over: impl Fn() -> bool + Sync,
) {
    const WRITERS: usize = 4;
    let have_finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let write = || {
            let mut user = world.connection();
            // For speed. A lost commit does not matter here.
            user.pragma_update(None, "synchronous", "OFF").unwrap();
            let keep_waiting = |_| {
                thread::yield_now();
                true
            };
            user.busy_handler(Some(keep_waiting)).unwrap();
            let mut session = world.session();
            for _ in 0..tries / WRITERS {
                if is_over() {
                    break;
                }
                try_once(&mut user, row(&mut *session, "k").token);
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        scope.spawn(|| {
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            have_finished.store(true, Ordering::Release);
        });
        while !have_finished.load(Ordering::Acquire) {
            let token = row(session, "k").token;
            session.release("k", token).unwrap();
            assert_eq!(session.claim(manager, 1).unwrap().len(), 1);
        }
    });
}

#[test]
fn no_stale_write_lands_with_a_guard() {
    let (world, mut session, manager, _) = claimed();
    let behaviors = [TransactionBehavior::Immediate, TransactionBehavior::Deferred];
    let try_once = |user: &mut Connection, token: Token| {
        for behavior in behaviors {
            let transaction = begin(user, behavior);
            match guard_claim(&transaction, "k", token) {
                Ok(()) => {
                    write(&transaction, token);
                    transaction.commit().unwrap();
                }
                Err(TableError::Refused | TableError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    race(&world, &mut *session, manager, 20_000, try_once, || false);
    assert_eq!(stale_writes(&world), 0);
    let writes = "SELECT count(*) FROM log";
    let writes: i64 = world.connection().query_row(writes, [], |row| row.get(0)).unwrap();
    assert!(writes > 0, "some of them land");
}

/// Shows that the test above can fail.
#[test]
fn stale_writes_land_without_a_guard() {
    let (world, mut session, manager, _) = claimed();
    let begun = Instant::now();
    let try_once = |user: &mut Connection, token: Token| {
        let check = "SELECT count(*) FROM procession_units
            WHERE key = 'k' AND token = ?1 AND owner IS NOT NULL";
        let is_current = user.query_row(check, [token.get() as i64], |row| row.get::<_, i64>(0));
        if is_current.unwrap() == 1 {
            write(user, token);
        }
    };
    let is_over = || stale_writes(&world) > 0 || begun.elapsed() > LIMIT;
    race(&world, &mut *session, manager, usize::MAX, try_once, is_over);
    assert!(stale_writes(&world) > 0);
}

fn write_with(user: &mut Connection, lease: &Lease) -> Result<(), TableError> {
    let transaction = begin(user, TransactionBehavior::Immediate);
    guard(&transaction, lease)?;
    write(&transaction, lease.token());
    transaction.commit().unwrap();
    Ok(())
}

#[test]
fn a_running_unit_guards_its_writes_with_its_lease() {
    let world = World::new();
    world
        .connection()
        .execute_batch("CREATE TABLE log (written INTEGER, current INTEGER)")
        .unwrap();
    let mut session = world.session();
    session.put("k", "a", "").unwrap();
    let (sender, results) = mpsc::channel();
    let path = world.path();
    let manager = SharedManager::builder(world.table()).kinds(["a"]).build(move |claim| {
        let (path, lease, sender) = (path.clone(), claim.lease().clone(), sender.clone());
        Ok(Unit::new(body(move |run| {
            let mut user = Connection::open(&path).unwrap();
            user.busy_timeout(LIMIT).unwrap();
            let (lease, sender) = (lease.clone(), sender.clone());
            async move {
                run.ready();
                let _sent = sender.send((write_with(&mut user, &lease), lease));
                run.closing().await;
            }
        })))
    });
    let root = Process::new();
    let (start, _readiness) = Start::under(&root);
    let _process = manager.runnable().start(start).unwrap();
    let (result, lease) = results.recv_timeout(LIMIT).unwrap();
    result.unwrap();
    let manager = session.managers().unwrap()[0].manager;
    session.want_stop("k").unwrap();
    session.expire(manager).unwrap();
    let refused = write_with(&mut world.connection(), &lease);
    assert!(matches!(refused, Err(TableError::Refused)));
    assert!(lease.lost().wait_timeout(LIMIT).is_some());
    root.close_blocking().unwrap();
    assert_eq!(stale_writes(&world), 0);
}
