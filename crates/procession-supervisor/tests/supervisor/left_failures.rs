//! Failures that come when nothing restarts their unit any more: no caller, hook or reader has them, so they are
//! reported (I17).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use procession::support::was_reported;
use procession::{BoxError, Process, Site};
use procession_runnable::{body, body_thread};
use procession_supervisor::{
    BoxFuture, BoxStream, Manager, MemoryTable, Row, State, Supervisor, Table, Unit,
};
use smol::channel::unbounded;

use crate::peers::policy;
use crate::world::{Key, LIMIT, Managed, SECOND, World, stubborn};

/// Its loads hang once it is told to.
struct Hanging {
    rows: MemoryTable<Key>,
    hangs: Arc<AtomicBool>,
}

impl Table<Key> for Hanging {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        if self.hangs.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        self.rows.get(key)
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<Key>, BoxError>> {
        self.rows.iter()
    }
}

/// A unit that fails when it is asked to stop.
fn fails_in_stop() -> Unit {
    Unit::new(body(|run| async move {
        run.ready();
        run.closing().await;
        Err("disk full")
    }))
}

fn is_reported(process: &Process) -> bool {
    was_reported(&process.outcome().unwrap().unwrap_err())
}

/// A unit fails while it stops for a restart, and its manager closes before the restart has come. If the restart comes,
/// it handles the failure.
#[test]
fn a_restart_that_does_not_come() {
    for hangs in [true, false] {
        let world = World::new();
        let rows = MemoryTable::new();
        rows.insert("a", fails_in_stop());
        let hanging = Arc::new(AtomicBool::new(false));
        let table = Hanging { rows, hangs: hanging.clone() };
        let manager = Manager::builder(table).policy(policy(&world)).build();
        let managed = world.run(manager.runnable());
        let process = manager.get(&"a").unwrap();
        hanging.store(hangs, Ordering::SeqCst);
        let restarting = manager.clone();
        let restart = world.spawn(async move { restarting.restart("a").await.map(drop) });
        assert_eq!((process.is_closed(), restart.is_finished()), (true, !hangs));
        assert!(!is_reported(&process));
        let expected = if hangs { State::Loading } else { State::Running };
        assert_eq!(manager.list()[0].state, expected);
        managed.app.close();
        world.settle();
        assert_eq!(is_reported(&process), hangs);
    }
}

/// A stuck unit fails after the run of its manager or set is over. Nobody need look at the manager or set for this.
#[test]
fn a_stuck_unit_that_fails_later() {
    for is_set in [false, true] {
        let world = World::new();
        let (release, released) = unbounded::<()>();
        let unit = Unit::new(body_thread(move |run| {
            run.ready();
            let _released = released.recv_blocking();
            Err("disk full")
        }));
        let unit = unit.grace(SECOND);
        let rules = policy(&world).abort_grace(SECOND);
        let (runnable, get): (_, Box<dyn Fn() -> Option<Process>>) = if is_set {
            let set = Supervisor::one_for_one([("a", unit)]).policy(rules);
            (set.runnable(), Box::new(move || set.get("a").ok()))
        } else {
            let rows = MemoryTable::new();
            rows.insert("a", unit);
            let manager = Manager::builder(rows).policy(rules).build();
            (manager.runnable(), Box::new(move || manager.get(&"a").ok()))
        };
        let managed = world.run(runnable);
        world.until(|| get().is_some());
        let process = get().unwrap();
        drop(get);
        managed.app.close();
        world.advance(SECOND);
        world.advance(SECOND);
        managed.outcome().unwrap_err();
        assert!(!process.is_closed());
        drop(release);
        world.until(|| process.is_closed() && is_reported(&process));
    }
}

/// Later runs of a set find the same unit stuck: its end is watched once.
#[test]
fn a_unit_that_stays_stuck_is_watched_once() {
    let world = World::new();
    let (thread, release, _runs) = stubborn();
    let rules = policy(&world).abort_grace(SECOND);
    // The site tells it from the threads of other tests.
    let unit = Unit::new(thread.at(Site::caller())).grace(SECOND);
    let set = Supervisor::one_for_one([("a", unit)]).policy(rules);
    let end = |managed: Managed| {
        managed.app.close();
        world.advance(SECOND);
        world.advance(SECOND);
        world.until(|| managed.has_ended());
    };
    let managed = world.run(set.runnable());
    world.until(|| set.get("a").is_ok());
    let process = set.get("a").unwrap();
    end(managed);
    let watches = || {
        let snapshot = Process::background().snapshot();
        let watches = snapshot.processes().filter(|info| {
            info.name() == Some("watch of a stuck unit") && info.site() == process.site()
        });
        watches.count()
    };
    let before = watches();
    (0..3).for_each(|_| end(world.run(set.runnable())));
    assert_eq!(watches(), before);
    drop(release);
    world.until(|| set.list().is_empty());
}

/// A set outlives the run of its manager, and then leaves its thread behind: the unit is watched until that has ended.
/// Nobody looks at the manager meanwhile.
#[test]
fn a_set_that_outlives_its_manager_is_watched() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    let set = Supervisor::one_for_one([("thread", thread)]).policy(short);
    let rows = MemoryTable::new();
    rows.insert("set", Unit::new(set.runnable()).grace(SECOND));
    let manager = Manager::builder(rows).policy(policy(&world).abort_grace(SECOND / 2)).build();
    let managed = world.run(manager.runnable());
    runs.recv_timeout(LIMIT).unwrap();
    world.until(|| manager.get(&"set").is_ok());
    let process = manager.get(&"set").unwrap();
    let watches = || {
        let snapshot = Process::background().snapshot();
        let watches = snapshot.processes().filter(|info| {
            info.name() == Some("watch of a stuck unit") && info.site() == process.site()
        });
        watches.count()
    };
    managed.app.close();
    world.advance(SECOND);
    world.advance(SECOND / 2);
    world.until(|| managed.has_ended());
    assert_eq!((process.is_closed(), watches()), (false, 1));
    world.advance(SECOND / 2);
    world.until(|| process.is_closed());
    world.settle_pool();
    assert_eq!(watches(), 1);
    release.send(()).unwrap();
    world.until(|| watches() == 0);
    assert!(manager.list().is_empty());
}
