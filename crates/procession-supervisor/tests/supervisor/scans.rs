//! Tables that come and go, fail, panic, hang and block.

use std::sync::atomic::Ordering;
use std::time::Duration;

use procession::BoxError;
use procession_supervisor::{
    Blocking, BlockingTable, Happening, Manager, ManagerError, MemoryTable, Row, RowIterator,
    State, Unit,
};

use crate::faulty::{Answers, Faulty};
use crate::world::{Behaviour, Key, Message, PLAIN, SECOND, World, yielded};

fn world(tells_changes: bool) -> (World, Faulty) {
    let rows = MemoryTable::new();
    let faulty = Faulty::new(rows.clone(), tells_changes);
    (
        World::of(rows, faulty.clone(), |builder, policy| builder.policy(policy.backoff(PLAIN))),
        faulty,
    )
}

/// If the table reports no changes, the next scan finds the rows that come and go.
#[test]
fn rows_come_and_go() {
    for tells_changes in [true, false] {
        let (world, faulty) = world(tells_changes);
        world.insert(["a"]);
        let managed = world.start();
        world.insert(["b"]);
        world.table.remove(&"a");
        world.settle();
        assert_eq!(
            (world.units.runs("a"), world.units.runs("b")),
            if tells_changes { (0, 1) } else { (1, 0) }
        );
        world.advance(SECOND * 59);
        assert_eq!(faulty.scans.load(Ordering::SeqCst), 1);
        world.advance(SECOND);
        assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 1));
        assert_eq!((world.state("a"), faulty.scans.load(Ordering::SeqCst)), (None, 2));
        managed.close(&world).unwrap();
    }
}

/// With `stop_vanished(false)`, a unit whose row is gone continues, but is not restarted.
#[test]
fn vanished_units_can_continue() {
    let world = World::with(|builder, policy| builder.policy(policy).stop_vanished(false));
    world.insert(["a"]);
    let managed = world.start();
    world.table.remove(&"a");
    world.advance(SECOND * 60);
    assert_eq!(world.units.runs("a"), 1);
    world.units.tell("a", Message::Fail);
    world.advance(SECOND * 60);
    assert_eq!((world.units.starts("a"), world.state("a")), (1, None));
    managed.close(&world).unwrap();
}

/// A scan that fails, at once or half-way, stops no unit. It is retried after growing pauses until it succeeds.
#[test]
fn a_failed_scan_is_retried() {
    let all = [Answers::FailAtOnce, Answers::FailHalfWay, Answers::Panic, Answers::PanicOnDrop];
    for answers in all {
        let (mut world, faulty) = world(false);
        world.insert(["a", "b"]);
        let managed = world.start();
        faulty.set(answers);
        world.happened();
        world.advance(SECOND * 60);
        let why = match answers {
            Answers::Panic => "the table panicked: in iter",
            Answers::PanicOnDrop => "the table panicked: (the panic's payload is not a string)",
            _ => "no connection",
        };
        assert_eq!(world.happened(), [format!("not scanned: {why}, again in 100ms")]);
        world.advance(PLAIN.first);
        assert_eq!(world.happened(), [format!("not scanned: {why}, again in 200ms")]);
        assert_eq!((world.units.runs("a"), world.units.runs("b")), (1, 1));
        faulty.set(Answers::Well);
        world.insert(["c"]);
        world.advance(PLAIN.first * 2);
        assert_eq!(world.units.runs("c"), 1);
        managed.close(&world).unwrap();
    }
}

/// A table that cannot be read when the manager starts delays the body only until the start limit.
#[test]
fn a_failed_first_scan_does_not_block_the_body() {
    for answers in [Answers::FailAtOnce, Answers::Never] {
        let (world, faulty) = world(true);
        faulty.set(answers);
        world.insert(["a"]);
        let managed = world.start();
        assert!(!managed.body_began());
        world.advance(SECOND);
        assert!(managed.body_began());
        managed.close(&world).unwrap();
    }
}

/// Rows that cannot be loaded are reported and skipped. A running unit continues, and a waiting unit restarts once its
/// row can be loaded.
#[test]
fn rows_that_cannot_be_loaded() {
    let (mut world, faulty) = world(false);
    world.insert(["a", "b"]);
    faulty.set(Answers::FailEachRow);
    let managed = world.start();
    let mut happened = world.happened();
    happened.sort();
    let not_loaded = |key| format!("{key} not loaded: a bad row, again in None");
    assert_eq!(happened, [not_loaded("a"), not_loaded("b")]);
    assert!(world.manager.list().is_empty());
    let refused = yielded(world.start_unit("a")).unwrap_err();
    assert_eq!(refused.with_causes().to_string(), "unit `a` could not be loaded: no connection");
    assert_eq!(world.state("a"), None);

    faulty.set(Answers::Well);
    world.advance(SECOND * 60);
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (1, 1));
    faulty.set(Answers::FailEachRow);
    world.units.tell("a", Message::Fail);
    world.happened();
    world.advance(PLAIN.first);
    assert_eq!(
        world.happened().last().unwrap(),
        "a not loaded: no connection, again in Some(200ms)"
    );
    let list = world.manager.list();
    let waiting = list.iter().find(|status| status.key == "a").unwrap();
    assert_eq!((waiting.state, waiting.restarts), (State::Waiting, 1));
    assert!(matches!(waiting.last_error, Some(ManagerError::Load { .. })));
    world.advance(SECOND * 60);
    assert_eq!((world.units.runs("a"), world.units.runs("b")), (0, 1));
    faulty.set(Answers::Well);
    world.advance(SECOND * 60);
    assert_eq!(world.units.runs("a"), 1);
    managed.close(&world).unwrap();
}

/// A panic of a table counts as its failure. A table that never answers delays nothing else.
#[test]
fn tables_that_panic_or_hang() {
    let (mut world, faulty) = world(true);
    world.insert(["a", "b"]);
    let managed = world.start();
    faulty.set(Answers::Panic);
    world.units.tell("a", Message::Fail);
    world.advance(PLAIN.first);
    let last = world.happened().pop().unwrap();
    assert_eq!(last, "a not loaded: the table panicked: in get, again in Some(200ms)");
    faulty.set(Answers::Never);
    world.advance(SECOND);
    assert_eq!(world.state("a"), Some(State::Loading));
    world.advance(SECOND * 100);
    yielded(world.stop_unit("b")).unwrap();
    yielded(world.stop_unit("a")).unwrap();
    managed.close(&world).unwrap();
}

/// A panic in the drop of a table's future is caught, and counts as an error of the table if the future has completed.
/// It is also caught if the manager stops first.
#[test]
fn a_future_that_panics_when_it_is_dropped() {
    let (mut world, faulty) = world(true);
    world.insert(["a", "b"]);
    let managed = world.start();
    faulty.set(Answers::PanicOnDrop);
    world.units.tell("a", Message::Fail);
    world.advance(PLAIN.first);
    let last = world.happened().pop().unwrap();
    assert_eq!(last, "a not loaded: the table panicked: dropped, again in Some(200ms)");
    faulty.set(Answers::Never);
    world.advance(SECOND);
    assert_eq!(world.state("a"), Some(State::Loading));
    managed.close(&world).unwrap();
    assert_eq!(world.units.runs("b"), 0);
}

/// If a row goes and comes back while its unit stops, the unit restarts once it has stopped.
#[test]
fn a_row_that_comes_back_while_its_unit_stops() {
    let world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::IgnoreClosing);
    let managed = world.start();
    world.table.remove(&"a");
    world.settle();
    assert_eq!(world.state("a"), Some(State::Stopping));
    world.units.set("a", Behaviour::Serve);
    world.insert(["a"]);
    world.advance(SECOND);
    assert_eq!(world.units.starts("a"), 1);
    world.advance(SECOND * 9);
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (2, 1));
    managed.close(&world).unwrap();
}

/// If a call stops a unit that is already stopping because of its row, the unit stays stopped even if the row comes
/// back.
#[test]
fn a_stop_by_a_call_overrides_the_row() {
    let world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::StopWhenTold);
    let managed = world.start();
    world.table.remove(&"a");
    world.settle();
    world.insert(["a"]);
    world.settle();
    let stopping = world.stop_unit("a");
    world.units.tell("a", Message::End);
    world.settle();
    yielded(stopping).unwrap();
    assert_eq!((world.state("a"), world.units.starts("a")), (Some(State::Stopped), 1));
    managed.close(&world).unwrap();
}

/// A unit that a call has started restarts like any other once its row has been seen.
#[test]
fn a_unit_that_a_call_started_restarts_like_any_other() {
    let (world, faulty) = world(false);
    let managed = world.start();
    world.insert(["a"]);
    yielded(world.start_unit("a")).unwrap();
    faulty.set(Answers::FailEachRow);
    world.units.tell("a", Message::Fail);
    world.advance(SECOND);
    assert_eq!(world.state("a"), Some(State::Waiting));
    faulty.set(Answers::Well);
    world.advance(SECOND * 10);
    assert_eq!(world.units.runs("a"), 1);
    managed.close(&world).unwrap();
}

/// The deadline of a stopped run does not apply to the next run.
#[test]
fn a_grace_ends_with_its_run() {
    let mut world = World::new();
    world.insert(["a"]);
    world.units.set("a", Behaviour::StopWhenTold);
    let managed = world.start();
    world.table.remove(&"a");
    world.settle();
    world.units.set("a", Behaviour::Serve);
    world.insert(["a"]);
    world.settle();
    world.units.tell("a", Message::End);
    world.settle();
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (2, 1));
    world.advance(SECOND * 10);
    assert_eq!((world.units.starts("a"), world.units.runs("a")), (2, 1));
    assert!(!world.happened().iter().any(|event| event.starts_with("a aborted")));
    managed.close(&world).unwrap();
}

/// A table whose calls block.
struct File(World);

impl BlockingTable<Key> for File {
    fn get(&self, key: &Key) -> Result<Option<Unit>, BoxError> {
        Ok((*key != "none").then(|| self.0.units.unit(key)))
    }

    fn iter(&self) -> Result<RowIterator<'_, Key>, BoxError> {
        let row = |key| Ok(Row::new(key, Ok(self.0.units.unit(key))));
        Ok(Box::new(["a", "b"].into_iter().map(row).chain([Err("the end is gone".into())])))
    }
}

#[test]
fn a_blocking_table() {
    let manager = Manager::new(Blocking::new(File(World::new())));
    let mut events = manager.events();
    manager
        .run_blocking(|_| {
            let running = |key: &Key| manager.get(key).is_ok();
            assert!(running(&"a") && running(&"b"));
            manager.start_blocking("c").unwrap();
            let none = manager.start_blocking("none").unwrap_err();
            assert!(matches!(none, ManagerError::NotFound { .. }));
        })
        .unwrap();
    let events = std::iter::from_fn(|| events.try_recv());
    let failed = |event: procession_supervisor::Event<Key>| event.kind() == "table_failed";
    assert!({ events }.any(failed));
}

/// A scan that cannot begin.
struct Closed;

impl BlockingTable<Key> for Closed {
    fn get(&self, _: &Key) -> Result<Option<Unit>, BoxError> {
        Err("it is closed".into())
    }

    fn iter(&self) -> Result<RowIterator<'_, Key>, BoxError> {
        Err("it is closed".into())
    }
}

#[test]
fn a_blocking_table_that_cannot_be_read() {
    let manager = Manager::builder(Blocking::new(Closed)).start_limit(Duration::ZERO).build();
    let mut events = manager.events();
    let ended = manager.run_blocking(|_| {
        let event = events.recv_blocking().unwrap();
        let Happening::TableFailed { error, .. } = &event.what else { panic!("{event}") };
        assert_eq!(error.to_string(), "it is closed");
        let refused = manager.start_blocking("a").unwrap_err();
        assert_eq!(refused.with_causes().to_string(), "unit `a` could not be loaded: it is closed");
    });
    ended.unwrap();
}
