//! Stopping is bounded: grace time, abort, and what will not stop is named and keeps its key.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::{Error, Process};
use procession_runnable::{body, body_thread};
use procession_supervisor::{Manager, ManagerError, MemoryTable, State, Unit};

use crate::world::{Does, LIMIT, Managed, SECOND, World, stubborn, yielded};

/// A unit stuck in its start, and one that ignores its closing, are aborted when their grace time is over;
/// each has its own.
#[test]
fn past_its_grace_time_a_unit_is_aborted() {
    let mut world = World::with(|builder, policy| builder.policy(policy.grace(SECOND * 20)));
    world.insert(["start", "run", "good"]);
    world.units.set("start", Does::HangForEver);
    world.units.set("run", Does::IgnoreClosing);
    world.table.insert("start", world.units.unit("start").grace(SECOND * 5));
    let managed = world.start();
    world.advance(SECOND);
    world.happened();
    managed.app.close();
    world.settle();
    assert_eq!(world.units.runs("good"), 0);
    world.advance(SECOND * 5);
    assert_eq!((world.units.runs("start"), world.units.runs("run")), (0, 1));
    assert!(!managed.has_ended());
    world.advance(SECOND * 15);
    assert_eq!(world.units.runs("run"), 0);
    assert!(managed.has_ended());
    let happened = world.happened();
    for expected in [
        "start aborted after 5s",
        "run aborted after 20s",
        "start stopped by force",
        "run stopped by force",
    ] {
        assert!(happened.iter().any(|event| event.starts_with(expected)), "{happened:#?}");
    }
    managed.outcome().unwrap();
}

/// One that is ready when it is asked to stop is not running for that.
#[test]
fn ready_too_late() {
    let mut world = World::new();
    world.insert(["a"]);
    world.units.set("a", Does::ReadyLate);
    let managed = world.start();
    world.advance(SECOND);
    let stopping = world.stop_unit("a");
    assert_eq!(world.state("a"), Some(State::Stopping));
    assert!(!world.happened().contains(&"a ready".to_owned()));
    world.advance(SECOND * 10);
    assert!(stopping.is_finished());
    assert_eq!(world.state("a"), Some(State::Stopped));
    managed.close(&world).unwrap();
}

/// A manager of a thread that ignores everything, until it is released.
struct Stubborn {
    world: World,
    managed: Managed,
    release: Sender<()>,
    /// Its runs.
    runs: Receiver<()>,
}

impl Stubborn {
    /// It runs.
    fn start() -> Self {
        let world = World::new();
        let (stubborn, release, runs) = stubborn();
        world.table.insert("stubborn", stubborn);
        let managed = world.start();
        runs.recv_timeout(LIMIT).unwrap();
        world.until(|| world.state("stubborn") == Some(State::Running));
        Self { world, managed, release, runs }
    }
}

/// Past the second limit the manager returns, and names what would not stop; that keeps its key, in the next
/// run of the manager too, until it ends.
#[test]
fn what_does_not_stop_is_named_and_keeps_its_key() {
    let Stubborn { mut world, managed, release, runs } = Stubborn::start();
    managed.app.close();
    world.advance(SECOND * 10);
    assert_eq!(world.state("stubborn"), Some(State::Stopping));
    world.advance(SECOND * 5);
    let error = managed.outcome().unwrap_err();
    assert_eq!(
        error.with_causes().to_string(),
        "process `manager` failed: aborted, and has not ended: `stubborn`"
    );
    let Error::Failed(failed) = error else { panic!() };
    assert!(matches!(failed.get().downcast_ref(), Some(ManagerError::Stuck { .. })));
    assert!(world.happened().contains(&"stubborn stuck".to_owned()));
    assert_eq!(world.state("stubborn"), Some(State::Stuck));

    // The next run of the manager finds the key taken.
    let managed = world.start();
    assert!(managed.body_began());
    assert_eq!(world.state("stubborn"), Some(State::Stuck));
    assert!(matches!(yielded(world.start_unit("stubborn")), Err(ManagerError::HasRun { .. })));
    assert!(matches!(yielded(world.stop_unit("stubborn")), Err(ManagerError::Stuck { .. })));
    assert!(runs.try_recv().is_err());
    // Its row is there: it is started when the key is free.
    drop(release);
    world.until(|| runs.try_recv().is_ok());
    world.until(|| world.state("stubborn").is_none_or(|state| state != State::Stuck));
    managed.close(&world).unwrap();
}

/// A call that stops such a one is answered when its time is over; a call may start it when it has ended.
#[test]
fn a_stop_that_is_ignored() {
    let Stubborn { world, managed, release, .. } = Stubborn::start();
    let stopping = world.stop_unit("stubborn");
    world.advance(SECOND * 10);
    assert!(!stopping.is_finished());
    world.advance(SECOND * 5);
    assert!(matches!(yielded(stopping), Err(ManagerError::Stuck { .. })));
    assert_eq!(world.state("stubborn"), Some(State::Stuck));
    drop(release);
    world.until(|| world.state("stubborn") == Some(State::Stopped));
    managed.close(&world).unwrap();
}

/// One that ends while the manager does not run has freed its key.
#[test]
fn a_key_that_was_freed_between_two_runs() {
    let Stubborn { world, managed, release, runs } = Stubborn::start();
    let process = world.manager.get(&"stubborn").unwrap();
    managed.app.close();
    world.advance(SECOND * 10);
    world.advance(SECOND * 5);
    managed.outcome().unwrap_err();
    drop(release);
    world.until(|| process.is_closed());
    let managed = world.start();
    world.until(|| runs.try_recv().is_ok());
    managed.close(&world).unwrap();
}

/// An abort of the manager aborts the units, and tells all waiters.
#[test]
fn an_abort_of_the_manager() {
    let world = World::new();
    world.insert(["a", "b"]);
    world.units.set("a", Does::IgnoreClosing);
    world.units.set("b", Does::HangForEver);
    let managed = world.start();
    world.advance(SECOND);
    let stopping = world.stop_unit("a");
    managed.app.abort();
    world.settle();
    assert!(managed.has_ended());
    yielded(stopping).unwrap();
    assert!(matches!(yielded(world.start_unit("a")), Err(ManagerError::NotRunning)));
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 0));
    // The keys are free in the next run.
    world.units.set("a", Does::Serve);
    world.units.set("b", Does::Serve);
    let managed = world.start();
    world.settle();
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (1, 1));
    managed.close(&world).unwrap();
}

/// A key whose `Display` panics, and once it is armed, its `Hash` too.
#[derive(Clone)]
struct Hostile(Arc<AtomicBool>);

impl PartialEq for Hostile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Hostile {}

impl Hash for Hostile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert!(!self.0.load(Ordering::SeqCst), "no hash");
        7.hash(state);
    }
}

impl Display for Hostile {
    fn fmt(&self, _: &mut Formatter<'_>) -> fmt::Result {
        panic!("no name");
    }
}

/// A manager of one unit with a hostile key, which hangs for ever: the outcome of the manager, after `act`.
fn with_a_hostile_key(act: impl FnOnce(&Manager<Hostile>, &Process, Hostile)) -> Result<(), Error> {
    let key = Hostile(Arc::default());
    let table = MemoryTable::new();
    let (tell, told) = channel::<()>();
    let tell = Mutex::new(Some(tell));
    let hangs = body(move |run| {
        let dropped = tell.lock().unwrap().take();
        async move {
            run.ready();
            std::future::pending::<()>().await;
            drop(dropped);
        }
    });
    table.insert(key.clone(), Unit::new(hangs).grace(Duration::from_millis(1)));
    let manager = Manager::new(table);
    let ended = manager.run_blocking(|p| act(&manager, &p, key));
    // It hangs for ever, and has been dropped.
    assert_eq!(told.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    ended
}

/// A key whose `Display` panics has a name that says so.
#[test]
fn a_key_without_a_name() {
    let ended = with_a_hostile_key(|manager, _, key| {
        let process = manager.get(&key).unwrap();
        assert_eq!(process.name().as_deref(), Some("(its name panicked)"));
        manager.stop_blocking(&key).unwrap();
        manager.start_blocking(key).unwrap();
    });
    ended.unwrap();
}

/// A panic of the user's code inside the manager ends the manager with all its units: nothing else would stop them.
#[test]
fn a_panic_of_the_manager_aborts_the_units() {
    let ended = with_a_hostile_key(|manager, p, key| {
        key.0.store(true, Ordering::SeqCst);
        assert!(matches!(manager.stop_blocking(&key), Err(ManagerError::NotRunning)));
        p.closing().wait();
    });
    assert!(ended.unwrap_err().to_string().contains("panicked: no hash"));
}

/// Dropping the run half-way stops all.
#[test]
fn dropping_the_run_stops_all() {
    let table = MemoryTable::new();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    table.insert(
        "a",
        body_thread(move |run| {
            run.ready();
            run.closing().wait();
            tell.lock().unwrap().send(()).unwrap();
        }),
    );
    let manager = Manager::new(table);
    let mut run = Box::pin(manager.run(|_| std::future::pending::<()>()));
    let began = std::time::Instant::now();
    while manager.get(&"a").is_err() {
        assert!(began.elapsed() < LIMIT);
        let nothing = futures_lite::future::block_on(futures_lite::future::poll_once(&mut run));
        assert!(nothing.is_none());
        std::thread::yield_now();
    }
    drop(run);
    told.recv_timeout(LIMIT).unwrap();
}

/// A grace time that no clock can say is none.
#[test]
fn limits_beyond_all_time() {
    let world = World::with(|builder, policy| {
        let policy = policy.grace(Duration::MAX).abort_grace(Duration::MAX);
        builder.policy(policy).scan_every(Duration::MAX).start_limit(Duration::MAX)
    });
    world.insert(["a"]);
    let managed = world.start();
    assert!(managed.body_began());
    yielded(world.stop_unit("a")).unwrap();
    yielded(world.start_unit("a")).unwrap();
    managed.close(&world).unwrap();
}
