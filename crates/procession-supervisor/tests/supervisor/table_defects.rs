//! Tests for the defects of earlier versions that concern tables, clocks, and values whose code panics.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use futures_lite::stream;
use procession::{BoxError, Clock, Error, ManualClock, Sleep};
use procession_runnable::{Start, body};
use procession_supervisor::{
    Backoff, Blocking, BlockingTable, BoxFuture, BoxStream, Change, ChangeIterator, Manager,
    ManagerError, MemoryTable, OnChange, Policy, Rate, Row, RowIterator, State, Supervisor, Table,
    Unit,
};

use crate::defects::{policy, serve};
use crate::world::{
    Behaviour, Key, LIMIT, Managed, Message, PLAIN, SECOND, World, in_words, stubborn, yielded,
};

/// A table with rows that never load, and scans that may never end.
#[derive(Clone)]
struct Hanging {
    rows: MemoryTable<String>,
    scan_hangs: Arc<AtomicBool>,
    gets: Arc<AtomicUsize>,
}

impl Table<String> for Hanging {
    fn get<'a>(&'a self, key: &'a String) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        if key.starts_with("hangs") { Box::pin(std::future::pending()) } else { self.rows.get(key) }
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<String>, BoxError>> {
        if self.scan_hangs.load(Ordering::SeqCst) {
            return Box::pin(stream::pending());
        }
        Box::pin(stream::empty())
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<String>>> {
        self.rows.changes()
    }
}

/// A manager of such a table, on its own executor.
fn hanging() -> (World, Hanging, Manager<String>, Managed) {
    let world = World::new();
    let hanging = Hanging {
        rows: MemoryTable::new(),
        scan_hangs: Arc::new(AtomicBool::new(false)),
        gets: Arc::default(),
    };
    let policy = policy(&world).load_timeout(SECOND * 60);
    let manager = Manager::builder(hanging.clone()).policy(policy).build();
    let managed = world.run(manager.runnable());
    (world, hanging, manager, managed)
}

/// 64 loads that hang delay other loads by a quarter of a second.
#[test]
fn loads_that_hang_delay_others_only_briefly() {
    let (world, table, manager, managed) = hanging();
    for number in 0..64 {
        table.rows.insert(format!("hangs {number}"), serve());
    }
    world.settle();
    table.rows.insert("good".to_owned(), serve());
    world.advance(Duration::from_millis(250));
    assert!(manager.get(&"good".to_owned()).is_ok());
    managed.close(&world).unwrap();
}

/// If more loads hang than the limit allows, the manager does not spin, and continues when they time out.
#[test]
fn more_loads_hang_than_the_limit() {
    let (world, table, manager, managed) = hanging();
    for number in 0..5_000 {
        let (manager, key) = (manager.clone(), format!("hangs {number}"));
        world.executor.spawn(async move { manager.start(key).await }).detach();
    }
    world.settle();
    // This load must wait for its turn.
    table.rows.insert("good".to_owned(), serve());
    let began = Instant::now();
    for _ in 0..330 {
        world.clock.advance(Duration::from_millis(250));
        let mut ticks = 0_u32;
        while world.executor.tick() {
            ticks += 1;
            assert!(ticks < 50_000, "it spins");
        }
    }
    assert!(began.elapsed() < LIMIT);
    assert!(table.gets.load(Ordering::SeqCst) > 5_000);
    assert!(manager.get(&"good".to_owned()).is_ok());
    managed.close(&world).unwrap();
}

/// A scan that hangs delays no load and no restart, and times out.
#[test]
fn a_scan_that_hangs() {
    let (world, table, manager, managed) = hanging();
    table.scan_hangs.store(true, Ordering::SeqCst);
    let mut events = manager.events();
    let scan = {
        let manager = manager.clone();
        world.spawn(async move { manager.scan_now().await })
    };
    table.rows.insert("good".to_owned(), serve());
    world.settle();
    assert!(manager.get(&"good".to_owned()).is_ok());
    world.advance(SECOND * 59);
    assert!(!scan.is_finished());
    world.advance(SECOND);
    assert!(matches!(yielded(scan), Err(ManagerError::Scan { .. })));
    let is_told =
        std::iter::from_fn(|| events.try_recv()).any(|event| event.kind() == "table_failed");
    assert!(is_told);
    // The scan is retried.
    table.scan_hangs.store(false, Ordering::SeqCst);
    let scan = {
        let manager = manager.clone();
        world.spawn(async move { manager.scan_now().await })
    };
    world.settle();
    yielded(scan).unwrap();
    managed.close(&world).unwrap();
}

/// A key and an error whose `Display` panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Unspeakable(u8);

impl Display for Unspeakable {
    fn fmt(&self, _: &mut Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for Unspeakable {}

/// Keys and errors whose `Display` panics do no harm, even with a `tracing` subscriber that writes everything.
#[test]
fn keys_and_errors_whose_display_panics() {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
    tracing::subscriber::with_default(subscriber, || {
        let world = World::new();
        let table = MemoryTable::new();
        let fails = body(|run| async move {
            run.ready();
            Err::<(), _>(Unspeakable(0))
        });
        table.insert(Unspeakable(1), fails.clone());
        table.insert(Unspeakable(2), serve());
        let manager = Manager::builder(table.clone()).policy(policy(&world)).build();
        let set = Supervisor::one_for_one([("a", Unit::new(serve())), ("b", Unit::new(fails))]);
        let set = set.policy(policy(&world));
        let (managed, of_set) = (world.run(manager.runnable()), world.run(set.runnable()));
        for _ in 0..5 {
            world.advance(SECOND * 30);
        }
        assert!(manager.list()[0].restarts > 3 && set.list()[1].restarts > 3);
        assert!(manager.get(&Unspeakable(2)).is_ok() && set.get("a").is_ok());
        table.remove(&Unspeakable(1));
        world.settle();
        assert_eq!(manager.list().len(), 1);
        managed.close(&world).unwrap();
        of_set.close(&world).unwrap();
    });
}

/// The next clone of a [`Fragile`] key panics.
static BREAKS: AtomicBool = AtomicBool::new(false);

/// A key whose `Clone` may panic.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Fragile(u8);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!BREAKS.swap(false, Ordering::SeqCst), "no clone");
        Self(self.0)
    }
}

impl Display for Fragile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// If a key panics while the manager forgets its unit, the manager ends, but not before it has stopped its other units.
#[test]
fn a_key_whose_clone_panics() {
    let world = World::new();
    let (release, released) = smol::channel::unbounded::<()>();
    let table = MemoryTable::new();
    table.insert(
        Fragile(1),
        body(move |run| {
            let released = released.clone();
            async move {
                run.ready();
                run.closing().await;
                released.recv().await
            }
        }),
    );
    let manager = Manager::builder(table.clone()).policy(policy(&world)).build();
    let app = world.app();
    let (start, _readiness) = Start::under(&app);
    let run = manager.runnable().start(start).unwrap();
    world.settle();
    let breaks = body(|run| async move {
        run.ready();
        run.closing().await;
        BREAKS.store(true, Ordering::SeqCst);
    });
    table.insert(Fragile(2), breaks);
    world.settle();
    assert_eq!(manager.counts().running, 2);
    table.remove(&Fragile(2));
    world.settle();
    assert!(run.is_closing() && !run.is_closed());
    assert_eq!(manager.counts().stopping, 1);
    release.try_send(()).unwrap();
    world.settle();
    let error = run.outcome().unwrap().unwrap_err();
    assert!(matches!(error, Error::Panicked(_)), "{error}");
    assert!(manager.list().is_empty());
}

/// Extreme settings are clamped.
#[test]
fn extreme_settings() {
    let all_time = Backoff::new(Duration::MAX, Duration::MAX);
    let world = World::new();
    let policy = policy(&world).backoff(all_time);
    let table = crate::faulty::Faulty::new(world.table.clone(), true);
    table.set(crate::faulty::Answers::FailAtOnce);
    let manager = Manager::builder(table).policy(policy.clone()).event_capacity(usize::MAX).build();
    let mut events = manager.events();
    let set = Supervisor::one_for_all([("a", world.units.unit("a"))]).policy(policy);
    let set = set.event_capacity(usize::MAX);
    let (managed, of_set) = (world.run(manager.runnable()), world.run(set.runnable()));
    world.units.tell("a", Message::Fail);
    world.advance(SECOND * 3600);
    assert_eq!(events.try_recv().unwrap().kind(), "table_failed");
    assert_eq!((world.units.runs("a"), set.list()[0].state), (0, State::Waiting));
    managed.close(&world).unwrap();
    of_set.close(&world).unwrap();
}

/// A clock that counts its sleeps.
#[derive(Clone)]
struct Counting(ManualClock, Arc<AtomicUsize>);

impl Clock for Counting {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.sleep_until(deadline)
    }
}

/// Units that are due together restart at the maximum rate. Units that wait for a later period cost nothing meanwhile.
#[test]
fn restarts_follow_the_restart_rate() {
    let world = World::new();
    let sleeps = Arc::new(AtomicUsize::new(0));
    let clock = Counting(world.clock.clone(), sleeps.clone());
    let table = MemoryTable::new();
    let starts = Arc::new(AtomicUsize::new(0));
    let count = starts.clone();
    let fails_once = body(move |run| {
        let start = count.fetch_add(1, Ordering::SeqCst);
        async move {
            run.ready();
            if start < 1_000 {
                return Err("broken");
            }
            run.closing().await;
            Ok(())
        }
    });
    for key in 0..1_000 {
        table.insert(key, fails_once.clone());
    }
    let rate = Rate::new(50, Duration::from_millis(100));
    let policy = Policy::new().clock(clock).backoff(PLAIN);
    let manager = Manager::builder(table).policy(policy).restart_rate(rate).build();
    let managed = world.run(manager.runnable());
    assert_eq!(manager.counts().waiting, 1_000);
    for period in 1..=20 {
        let before = sleeps.load(Ordering::SeqCst);
        world.advance(Duration::from_millis(100));
        assert_eq!(starts.load(Ordering::SeqCst), 1_000 + period * 50);
        assert!(sleeps.load(Ordering::SeqCst) - before < 10);
    }
    assert_eq!(manager.counts().running, 1_000);
    managed.close(&world).unwrap();
}

/// A row that replaces another restarts the unit in place, after its old run has ended.
#[test]
fn replacing_the_row_of_a_running_unit_restarts_it() {
    let mut world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::StopWhenTold);
    let managed = world.start();
    world.happened();
    world.insert(["a"]);
    assert_eq!(world.happened(), ["a changed", "a stopping"]);
    world.insert(["a"]);
    world.settle();
    assert_eq!((world.units.starts("a"), world.state("a")), (1, Some(State::Stopping)));
    world.units.set("a", Behaviour::Serve);
    world.units.tell("a", Message::End);
    world.settle();
    assert_eq!((world.units.starts("a"), world.state("a")), (2, Some(State::Running)));
    managed.close(&world).unwrap();
}

/// A row that changes while a run is ending without a request, or does not end at all, takes effect when the run has
/// ended, unless a call has stopped the unit or the change must wait for the next start.
#[test]
fn a_row_that_changes_while_its_unit_is_ending() {
    let no_pause = &[][..];
    for (pauses, state) in [
        (no_pause, State::Stopping),
        // It has been aborted.
        (&[10], State::Stopping),
        (&[10, 5], State::Stuck),
    ] {
        for (on_change, stops, runs) in [
            (OnChange::Restart, false, 1),
            (OnChange::NextStart, false, 0),
            (OnChange::Restart, true, 0),
        ] {
            let case = format!("{state:?} after {pauses:?}, {on_change:?}, {stops}");
            let world = World::with(|builder, policy| {
                builder.policy(policy.grace(SECOND * 10).abort_grace(SECOND * 5))
            });
            let (release, released) = smol::channel::bounded::<()>(1);
            let old = body(move |run| {
                let released = released.clone();
                async move {
                    run.set_teardown_async(move || async move { released.recv().await })?;
                    run.ready();
                    procession::ok()
                }
            });
            world.table.insert("a", old);
            let managed = world.start();
            pauses.iter().for_each(|seconds| world.advance(SECOND * *seconds));
            assert_eq!(world.state("a"), Some(state), "{case}");
            if stops {
                world.stop_unit("a").detach();
            }
            world.table.insert("a", world.units.unit("a").on_change(on_change));
            world.settle();
            assert_eq!((world.state("a"), world.units.runs("a")), (Some(state), 0), "{case}");
            release.try_send(()).unwrap();
            world.settle();
            assert_eq!(world.units.runs("a"), runs, "{case}");
            let ended = if stops { State::Stopped } else { State::Ended };
            let expected = if runs == 1 { State::Running } else { ended };
            assert_eq!(world.state("a"), Some(expected), "{case}");
            managed.close(&world).unwrap();
        }
    }
}

/// The version decides whether a row has changed, and `OnChange` decides when the change takes effect.
#[test]
fn versions() {
    let world = World::new();
    let row = |version, on_change| {
        world.table.insert("a", world.units.unit("a").version(version).on_change(on_change));
    };
    row(1, OnChange::Restart);
    let managed = world.start();
    row(1, OnChange::Restart);
    world.settle();
    assert_eq!(world.units.starts("a"), 1);
    row(2, OnChange::Restart);
    world.settle();
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (2, 1));
    row(3, OnChange::NextStart);
    world.settle();
    assert_eq!(world.units.starts("a"), 2);
    // The next start uses the current row.
    let manager = world.manager.clone();
    yielded(world.spawn(async move { manager.restart("a").await })).unwrap();
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (3, 1));
    row(3, OnChange::Restart);
    world.settle();
    assert_eq!(world.units.starts("a"), 3);
    managed.close(&world).unwrap();
}

/// A blocking table that reports its changes.
struct Reporting {
    rows: Arc<Mutex<BTreeMap<Key, Unit>>>,
    changes: Mutex<Option<mpsc::Receiver<Change<Key>>>>,
}

impl BlockingTable<Key> for Reporting {
    fn get(&self, key: &Key) -> Result<Option<Unit>, BoxError> {
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }

    fn iter(&self) -> Result<RowIterator<'_, Key>, BoxError> {
        let rows = self.rows.lock().unwrap().clone();
        Ok(Box::new(rows.into_iter().map(|(key, unit)| Ok(Row::new(key, Ok(unit))))))
    }

    fn changes(&self) -> Option<ChangeIterator<Key>> {
        Some(Box::new(self.changes.lock().unwrap().take()?.into_iter()))
    }
}

/// The changes of a blocking table take effect, and `scan_now` and `restart` read it even without a change.
#[test]
fn a_blocking_table_that_reports_changes() {
    let world = World::new();
    let (tell, changes) = mpsc::channel();
    let rows = Arc::new(Mutex::new(BTreeMap::new()));
    let table = Reporting { rows: rows.clone(), changes: Mutex::new(Some(changes)) };
    let manager = Manager::builder(Blocking::new(table)).policy(policy(&world)).build();
    let managed = world.run(manager.runnable());
    world.until(|| managed.body_began());
    let put = |key, version| {
        rows.lock().unwrap().insert(key, world.units.unit(key).version(version));
    };
    put("a", 1);
    tell.send(Change::Row("a")).unwrap();
    world.until(|| world.units.runs("a") == 1);
    put("a", 2);
    tell.send(Change::Any).unwrap();
    world.until(|| world.units.starts("a") == 2 && manager.get(&"a").is_ok());
    // Without a change.
    put("a", 3);
    put("b", 1);
    let scan = {
        let manager = manager.clone();
        world.spawn(async move { manager.scan_now().await })
    };
    world.until(|| scan.is_finished());
    yielded(scan).unwrap();
    world.until(|| world.units.starts("a") == 3 && world.units.runs("b") == 1);
    world.until(|| manager.get(&"b").is_ok());
    let restart = {
        let manager = manager.clone();
        world.spawn(async move { manager.restart("b").await })
    };
    world.until(|| restart.is_finished());
    yielded(restart).unwrap();
    assert_eq!((world.units.starts("b"), world.units.runs("b")), (2, 1));
    drop(tell);
    managed.close(&world).unwrap();
}

/// A unit that was stuck is not listed once its thread has ended, even while the manager is not running.
#[test]
fn a_stuck_unit_that_has_ended_is_not_listed() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    world.table.insert("stubborn", thread);
    let (thread, release_of_set, runs_of_set) = stubborn();
    let set = Supervisor::one_for_one([("stubborn", thread)]).policy(policy(&world));
    let (managed, of_set) = (world.start(), world.run(set.runnable()));
    runs.recv_timeout(LIMIT).unwrap();
    runs_of_set.recv_timeout(LIMIT).unwrap();
    world.until(|| managed.body_began() && of_set.body_began());
    let mut events = set.events();
    managed.app.close();
    of_set.app.close();
    world.advance(SECOND * 10);
    world.advance(SECOND * 5);
    managed.outcome().unwrap_err();
    of_set.outcome().unwrap_err();
    assert_eq!((world.state("stubborn"), world.manager.counts().stuck), (Some(State::Stuck), 1));
    assert_eq!((set.list()[0].state, set.counts().stuck), (State::Stuck, 1));
    drop((release, release_of_set));
    world.until(|| world.manager.list().is_empty() && set.list().is_empty());
    assert_eq!((world.manager.counts().units, set.counts().units), (0, 0));
    let last = std::iter::from_fn(|| events.try_recv()).last().unwrap();
    assert_eq!(in_words(&last), "stubborn stopped by force");
}

/// Names and errors are escaped wherever they are shown.
#[test]
fn hostile_names_are_escaped() {
    const HOSTILE: &str = "two\nlines \u{1b}[31mred";
    let is_tame = |text: String| {
        assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text:?}");
        assert!(text.contains("two"), "{text:?}");
    };
    let world = World::new();
    world.table.insert(HOSTILE, body(|_| async { Err::<(), _>(HOSTILE) }));
    let manager =
        Manager::builder(world.table.clone()).name(HOSTILE).policy(policy(&world)).build();
    let mut events = manager.events();
    let managed = world.run(manager.runnable());
    let status = manager.list().remove(0);
    is_tame(status.to_string());
    for event in std::iter::from_fn(|| events.try_recv()) {
        is_tame(event.to_string());
    }
    is_tame(manager.get(&HOSTILE).unwrap_err().to_string());
    let missing = "two other\n";
    is_tame(manager.get(&missing).unwrap_err().to_string());
    managed.close(&world).unwrap();

    let (thread, release, runs) = stubborn();
    let set = Supervisor::one_for_one([(HOSTILE, thread)]).policy(policy(&world)).name(HOSTILE);
    let managed = world.run(set.runnable());
    runs.recv_timeout(LIMIT).unwrap();
    world.until(|| managed.body_began());
    managed.app.close();
    world.advance(SECOND * 10);
    world.advance(SECOND * 5);
    let error = managed.outcome().unwrap_err();
    is_tame(error.with_causes().to_string());
    let Error::Failed(failed) = &error else { panic!("{error:?}") };
    let Some(ManagerError::Stuck { report, .. }) = failed.get().downcast_ref() else { panic!() };
    report.lines().for_each(|line| is_tame(line.to_owned()));
    assert_eq!(report.lines().count(), 1, "{report}");
    drop(release);
}
