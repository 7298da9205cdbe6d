//! Stopping is bounded: a unit is aborted after its grace, and a unit that still does not end is named and keeps its
//! key.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::{Error, Process};
use procession_runnable::{body, body_thread};
use procession_supervisor::{Manager, ManagerError, MemoryTable, State, Unit};

use crate::world::{Behaviour, LIMIT, Managed, SECOND, World, stubborn, yielded};

/// A unit that hangs while it starts, and one that ignores its closing, are aborted when their graces are over. Each
/// has a grace of its own.
#[test]
fn a_unit_is_aborted_after_its_grace() {
    let mut world = World::with(|builder, policy| builder.policy(policy.grace(SECOND * 20)));
    world.insert(["start", "run", "good"]);
    world.units.set("start", Behaviour::HangForEver);
    world.units.set("run", Behaviour::IgnoreClosing);
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

/// A unit that becomes ready only after it was asked to stop does not count as running.
#[test]
fn a_unit_that_is_ready_too_late_keeps_stopping() {
    let mut world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::ReadyLate);
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

/// A manager whose unit is a thread that ignores everything until the test releases it.
struct Stubborn {
    world: World,
    managed: Managed,
    release: Sender<()>,
    /// Receives a message for each run of the thread.
    runs: Receiver<()>,
}

impl Stubborn {
    /// Starts the manager.
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

/// After the abort grace, the manager ends, and names the unit that has not ended. The unit keeps its key until it
/// ends, even in the next run of the manager.
#[test]
fn a_stuck_unit_is_named_and_keeps_its_key() {
    let Stubborn { mut world, managed, release, runs } = Stubborn::start();
    managed.app.close();
    world.settle();
    // While the manager waits for its units, blockers name the unit, and neither the manager nor the body that runs it.
    let blockers = managed.app.blockers(16).to_string();
    assert_eq!(blockers.lines().count(), 1, "{blockers}");
    assert!(blockers.contains(" › manager ⇢ units › stubborn: thread body"), "{blockers}");
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

    // The key is still taken in the next run of the manager.
    let managed = world.start();
    assert!(managed.body_began());
    assert_eq!(world.state("stubborn"), Some(State::Stuck));
    assert!(matches!(yielded(world.start_unit("stubborn")), Err(ManagerError::HasRun { .. })));
    assert!(matches!(yielded(world.stop_unit("stubborn")), Err(ManagerError::Stuck { .. })));
    assert!(runs.try_recv().is_err());
    // The stop is remembered. A call starts the unit when its key is free.
    drop(release);
    world.until(|| world.state("stubborn") == Some(State::Stopped));
    assert!(runs.try_recv().is_err());
    let start = world.start_unit("stubborn");
    world.until(|| start.is_finished());
    yielded(start).unwrap();
    runs.recv_timeout(LIMIT).unwrap();
    managed.close(&world).unwrap();
}

/// A call that stops such a unit is answered when its abort grace is over. A call can start the unit once it has ended.
#[test]
fn stopping_a_unit_that_ignores_it() {
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

/// A stuck unit that ends while the manager is not running frees its key.
#[test]
fn a_key_is_freed_between_two_runs() {
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

/// An abort of the manager aborts its units, and answers all waiting callers.
#[test]
fn an_abort_of_the_manager_aborts_its_units() {
    let world = World::new();
    world.insert(["a", "b"]);
    world.units.set("a", Behaviour::IgnoreClosing);
    world.units.set("b", Behaviour::HangForEver);
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
    world.units.set("a", Behaviour::Serve);
    world.units.set("b", Behaviour::Serve);
    let managed = world.start();
    world.settle();
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (1, 1));
    managed.close(&world).unwrap();
}

/// A key whose `Display` panics. Once it is armed, its `Hash` also panics.
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

/// Runs a manager of one unit that hangs for ever and has a hostile key. Returns the outcome of the manager after
/// `act`.
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
    // The unit hangs for ever, so only its drop disconnects the channel.
    assert_eq!(told.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    ended
}

/// If the `Display` of a key panics, a text about that becomes the name of its process.
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

/// A panic of foreign code inside the manager ends the manager with all its units, because nothing else would stop
/// them.
#[test]
fn a_panic_of_the_manager_aborts_the_units() {
    let ended = with_a_hostile_key(|manager, p, key| {
        key.0.store(true, Ordering::SeqCst);
        assert!(matches!(manager.stop_blocking(&key), Err(ManagerError::NotRunning)));
        p.closing().wait();
    });
    assert!(ended.unwrap_err().to_string().contains("panicked: no hash"));
}

/// Dropping the future of `Manager::run` stops everything.
#[test]
fn dropping_a_run_stops_everything() {
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

/// A grace that no clock can represent never ends.
#[test]
fn a_grace_that_no_clock_can_represent_never_ends() {
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
