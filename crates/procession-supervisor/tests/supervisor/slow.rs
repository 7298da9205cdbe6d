//! Slow tables: a row may be out of date when it arrives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::yield_now;
use std::time::Instant;

use futures_lite::future::{block_on, poll_once};
use futures_lite::{StreamExt, stream};
use procession::BoxError;
use procession_runnable::nop;
use procession_supervisor::{
    Blocking, BlockingTable, BoxFuture, BoxStream, Change, MemoryTable, Row, RowIterator, Table,
    Unit,
};
use smol::channel::{Receiver, Sender, unbounded};

use crate::world::{Key, LIMIT, World};

/// A table that answers only when its gate opens, with the rows that it had when the call began.
#[derive(Clone)]
struct Slow {
    rows: MemoryTable<Key>,
    is_slow: Arc<Mutex<bool>>,
    let_get: Receiver<()>,
    let_row: Receiver<()>,
    tell_any: Receiver<()>,
    asked: Arc<Asked>,
}

/// Counts the calls of a table.
#[derive(Default)]
struct Asked {
    gets: AtomicUsize,
    scans: AtomicUsize,
}

/// Lets a slow table answer.
struct Gate {
    is_slow: Arc<Mutex<bool>>,
    get: Sender<()>,
    row: Sender<()>,
    any: Sender<()>,
    asked: Arc<Asked>,
}

impl Slow {
    fn new(rows: MemoryTable<Key>) -> (Self, Gate) {
        let ((get, let_get), (row, let_row), (any, tell_any)) =
            (unbounded(), unbounded(), unbounded());
        let (is_slow, asked) = (Arc::new(Mutex::new(false)), Arc::<Asked>::default());
        let gate = Gate { is_slow: is_slow.clone(), get, row, any, asked: asked.clone() };
        (Self { rows, is_slow, let_get, let_row, tell_any, asked }, gate)
    }

    async fn wait(&self, gate: &Receiver<()>) -> Result<(), BoxError> {
        let is_slow = *self.is_slow.lock().unwrap();
        if is_slow { Ok(gate.recv().await?) } else { Ok(()) }
    }
}

impl Table<Key> for Slow {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        let answer = self.rows.get(key);
        self.asked.gets.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.wait(&self.let_get).await?;
            answer.await
        })
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<Key>, BoxError>> {
        self.asked.scans.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.rows.iter().then(|row| async {
            self.wait(&self.let_row).await?;
            row
        }))
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<Key>>> {
        let any = self.tell_any.clone().map(|()| Change::Any);
        Some(Box::pin(self.rows.changes()?.or(any)))
    }
}

fn world() -> (World, Gate) {
    let rows = MemoryTable::new();
    let (slow, gate) = Slow::new(rows.clone());
    (World::of(rows, slow, |builder, policy| builder.policy(policy)), gate)
}

/// A row that changes while it is loaded is loaded once more.
#[test]
fn a_row_that_changes_while_it_is_loaded() {
    let (world, gate) = world();
    let managed = world.start();
    *gate.is_slow.lock().unwrap() = true;
    world.insert(["a"]);
    world.settle();
    world.table.remove(&"a");
    world.settle();
    // The row existed when the load began, and is gone since.
    gate.get.try_send(()).unwrap();
    world.settle();
    assert_eq!(world.units.starts("a"), 0);
    world.insert(["a"]);
    world.settle();
    // The row was gone when the load began, and is back since.
    gate.get.try_send(()).unwrap();
    world.settle();
    assert_eq!(world.units.starts("a"), 0);
    gate.get.try_send(()).unwrap();
    world.settle();
    assert_eq!(world.units.runs("a"), 1);
    managed.close(&world).unwrap();
}

/// A unit does not start if its row is removed after the scan has read it, but before the scan delivers it.
#[test]
fn a_row_that_goes_while_a_scan_reads() {
    let (world, gate) = world();
    *gate.is_slow.lock().unwrap() = true;
    world.insert(["a"]);
    let managed = world.start();
    world.table.remove(&"a");
    gate.get.try_send(()).unwrap();
    world.settle();
    gate.row.try_send(()).unwrap();
    world.settle();
    assert!(managed.body_began());
    assert_eq!((world.units.starts("a"), world.state("a")), (0, None));
    managed.close(&world).unwrap();
}

/// Rows are loaded concurrently, up to a limit.
#[test]
fn rows_are_loaded_concurrently() {
    let keys: Vec<Key> = (0..100).map(|number| &*number.to_string().leak()).collect();
    let (world, gate) = world();
    let managed = world.start();
    *gate.is_slow.lock().unwrap() = true;
    keys.iter().for_each(|key| world.insert([*key]));
    world.settle();
    assert_eq!(gate.asked.gets.load(Ordering::SeqCst), 64);
    for _ in &keys {
        gate.get.try_send(()).unwrap();
    }
    world.settle();
    assert_eq!(world.manager.list().len(), keys.len());
    managed.close(&world).unwrap();
}

/// `Change::Any` starts a scan at once. If one is under way already, another one follows it.
#[test]
fn a_change_of_any_row_starts_a_scan() {
    let (world, gate) = world();
    world.insert(["a"]);
    let managed = world.start();
    let scans = || gate.asked.scans.load(Ordering::SeqCst);
    assert_eq!(scans(), 1);
    gate.any.try_send(()).unwrap();
    world.settle();
    assert_eq!(scans(), 2);
    *gate.is_slow.lock().unwrap() = true;
    for _ in 0..3 {
        gate.any.try_send(()).unwrap();
        world.settle();
        assert_eq!(scans(), 3);
    }
    gate.row.try_send(()).unwrap();
    world.settle();
    assert_eq!(scans(), 4);
    gate.row.try_send(()).unwrap();
    world.settle();
    assert_eq!(scans(), 4);
    managed.close(&world).unwrap();
}

/// A table that reports more changes at once than one batch holds.
struct Restless(MemoryTable<Key>);

impl Table<Key> for Restless {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        self.0.get(key)
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<Key>, BoxError>> {
        Box::pin(stream::empty())
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<Key>>> {
        let many = stream::iter((0..100_000).map(|_| Change::Row("none")));
        Some(Box::pin(many.chain(stream::once(Change::Row("last"))).chain(stream::pending())))
    }
}

#[test]
fn many_changes_at_once() {
    let rows = MemoryTable::new();
    let world = World::of(rows.clone(), Restless(rows), |builder, policy| builder.policy(policy));
    world.insert(["last"]);
    let managed = world.start();
    assert_eq!(world.units.runs("last"), 1);
    managed.close(&world).unwrap();
}

/// A blocking table: its scans and the loads of `hangs` end when its gate is open.
#[derive(Clone, Default)]
struct Hanging(Arc<HangingState>);

#[derive(Default)]
struct HangingState {
    is_open: Mutex<bool>,
    opened: Condvar,
    asked: Asked,
}

impl Hanging {
    fn hang(&self) {
        let is_open = self.0.is_open.lock().unwrap();
        let (_is_open, timeout) =
            self.0.opened.wait_timeout_while(is_open, LIMIT, |is_open| !*is_open).unwrap();
        assert!(!timeout.timed_out());
    }
}

impl BlockingTable<Key> for Hanging {
    fn get(&self, key: &Key) -> Result<Option<Unit>, BoxError> {
        self.0.asked.gets.fetch_add(1, Ordering::SeqCst);
        if *key == "hangs" {
            self.hang();
        }
        Ok(Some(nop().into()))
    }

    fn iter(&self) -> Result<RowIterator<'_, Key>, BoxError> {
        self.0.asked.scans.fetch_add(1, Ordering::SeqCst);
        self.hang();
        Ok(Box::new(std::iter::once(Ok(Row::new("hangs", Ok(nop().into()))))))
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end);
        yield_now();
    }
}

/// A call that was given up still uses a thread, so the next one for the same row waits for its end (U7).
#[test]
fn a_row_that_hangs_uses_one_thread_however_often_it_is_loaded() {
    let hanging = Hanging::default();
    let Asked { gets, scans } = &hanging.0.asked;
    let table = Blocking::new(hanging.clone());
    for _ in 0..5 {
        let mut load = table.get(&"hangs");
        assert!(block_on(poll_once(&mut load)).is_none());
        let mut rows = table.iter();
        assert!(block_on(poll_once(rows.next())).is_none());
        wait_until(|| gets.load(Ordering::SeqCst) >= 1 && scans.load(Ordering::SeqCst) >= 1);
        // Both are given up.
    }
    assert!(block_on(table.get(&"another")).unwrap().is_some());
    assert_eq!((gets.load(Ordering::SeqCst), scans.load(Ordering::SeqCst)), (2, 1));
    *hanging.0.is_open.lock().unwrap() = true;
    hanging.0.opened.notify_all();
    // The earlier answers may be out of date.
    assert!(block_on(table.get(&"hangs")).unwrap().is_some());
    assert_eq!(block_on(table.iter().count()), 1);
    assert_eq!((gets.load(Ordering::SeqCst), scans.load(Ordering::SeqCst)), (3, 2));
}
