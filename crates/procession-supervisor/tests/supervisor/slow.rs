//! Tables that take their time: what is read of a row may be old when it comes.

use std::sync::{Arc, Mutex};

use futures_lite::{StreamExt, stream};
use procession::BoxError;
use procession_supervisor::{BoxFuture, BoxStream, Change, MemoryTable, Row, Table, Unit};
use smol::channel::{Receiver, Sender, unbounded};

use crate::world::{Key, World};

/// A table that answers when it is let: with what was there when it was asked.
#[derive(Clone)]
struct Slow {
    rows: MemoryTable<Key>,
    is_slow: Arc<Mutex<bool>>,
    let_get: Receiver<()>,
    let_row: Receiver<()>,
}

/// Lets a slow table answer.
struct Gate {
    is_slow: Arc<Mutex<bool>>,
    get: Sender<()>,
    row: Sender<()>,
}

impl Slow {
    fn new(rows: MemoryTable<Key>) -> (Self, Gate) {
        let ((get, let_get), (row, let_row)) = (unbounded(), unbounded());
        let is_slow = Arc::new(Mutex::new(false));
        let slow = Self { rows, is_slow: is_slow.clone(), let_get, let_row };
        (slow, Gate { is_slow, get, row })
    }

    async fn wait(&self, gate: &Receiver<()>) -> Result<(), BoxError> {
        let is_slow = *self.is_slow.lock().unwrap();
        if is_slow { Ok(gate.recv().await?) } else { Ok(()) }
    }
}

impl Table<Key> for Slow {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        let answer = self.rows.get(key);
        Box::pin(async move {
            self.wait(&self.let_get).await?;
            answer.await
        })
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<Key>, BoxError>> {
        Box::pin(self.rows.iter().then(|row| async {
            self.wait(&self.let_row).await?;
            row
        }))
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<Key>>> {
        self.rows.changes()
    }
}

fn world() -> (World, Gate) {
    let rows = MemoryTable::new();
    let (slow, gate) = Slow::new(rows.clone());
    (World::of(rows, slow, |builder, policy| builder.policy(policy)), gate)
}

/// A row that changes while it is read is read once more.
#[test]
fn a_row_that_changes_while_it_is_read() {
    let (world, gate) = world();
    let managed = world.start();
    *gate.is_slow.lock().unwrap() = true;
    world.insert(["a"]);
    world.settle();
    world.table.remove(&"a");
    world.settle();
    // It was there when it was asked for, and has gone since.
    gate.get.try_send(()).unwrap();
    world.settle();
    assert_eq!(world.units.starts("a"), 0);
    world.insert(["a"]);
    world.settle();
    // It was gone when it was asked for, and is there again.
    gate.get.try_send(()).unwrap();
    world.settle();
    assert_eq!(world.units.starts("a"), 0);
    gate.get.try_send(()).unwrap();
    world.settle();
    assert_eq!(world.units.runs("a"), 1);
    managed.close(&world).unwrap();
}

/// A row that a scan has read before it went is not started when the scan comes to tell of it.
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

/// A table that tells of more changes than are looked at in one go.
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
