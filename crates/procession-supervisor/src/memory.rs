//! [`MemoryTable`]: a table in memory, that tells of its changes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_channel::{Receiver, Sender, TrySendError, bounded};
use futures_lite::stream;
use parking_lot::Mutex;
use procession::BoxError;

use crate::table::{BoxFuture, BoxStream, Change, Key, Row, Table};
use crate::unit::Unit;

/// How many changes a reader may be behind before it is told to look at all rows instead.
const BEHIND: usize = 1024;

/// A table in memory. Clones are the same table.
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::{Manager, MemoryTable};
///
/// let table = MemoryTable::new();
/// table.insert("poller", body(|run| async move {
///     run.ready();
///     run.closing().await;
/// }));
/// let manager = Manager::new(table.clone());
/// futures_lite::future::block_on(manager.run(|_| async {
///     assert!(manager.get(&"poller").is_ok());
/// }))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryTable<K> {
    shared: Arc<Mutex<Shared<K>>>,
}

struct Shared<K> {
    rows: HashMap<K, Unit>,
    readers: Vec<Reader<K>>,
}

/// Who is told of changes.
#[derive(Clone)]
struct Reader<K> {
    changes: Sender<Change<K>>,
    missed: Arc<AtomicBool>,
}

impl<K: Key> MemoryTable<K> {
    /// An empty table.
    pub fn new() -> Self {
        let shared = Shared { rows: HashMap::new(), readers: Vec::new() };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Adds a row, or changes it: the unit that was there is returned. A change is taken when the unit is started
    /// again: one that runs goes on, and one that has ended, or was stopped or given up, stays so until a call
    /// starts it.
    pub fn insert(&self, key: K, unit: impl Into<Unit>) -> Option<Unit> {
        let unit = unit.into();
        let before = self.shared.lock().rows.insert(key.clone(), unit);
        self.tell(key);
        before
    }

    /// Removes a row: the unit that was there is returned.
    pub fn remove(&self, key: &K) -> Option<Unit> {
        let removed = self.shared.lock().rows.remove(key)?;
        self.tell(key.clone());
        Some(removed)
    }

    /// Tells the readers, with no lock held, since that wakes them.
    fn tell(&self, key: K) {
        let readers = self.shared.lock().readers.clone();
        let change = Change::Row(key);
        for reader in &readers {
            reader.tell(&change);
        }
        if readers.iter().any(|reader| reader.changes.is_closed()) {
            let gone = |reader: &Reader<K>| reader.changes.is_closed();
            self.shared.lock().readers.retain(|reader| !gone(reader));
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.shared.lock().rows.len()
    }

    /// Is there no row?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Key> Reader<K> {
    fn tell(&self, change: &Change<K>) {
        if let Err(TrySendError::Full(_)) = self.changes.try_send(change.clone()) {
            self.missed.store(true, Ordering::Release);
            // What the reader reads after this makes it see that; and there is something for it to read.
            let _full_still = self.changes.try_send(change.clone());
        }
    }
}

impl<K: Key> Table<K> for MemoryTable<K> {
    fn get<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        let unit = self.shared.lock().rows.get(key).cloned();
        Box::pin(std::future::ready(Ok(unit)))
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<K>, BoxError>> {
        let rows: Vec<_> = {
            let shared = self.shared.lock();
            shared.rows.iter().map(|(key, unit)| (key.clone(), unit.clone())).collect()
        };
        Box::pin(stream::iter(rows.into_iter().map(|(key, unit)| Ok(Row { key, unit: Ok(unit) }))))
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        let (tell, told) = bounded(BEHIND);
        let missed = Arc::new(AtomicBool::new(false));
        self.shared.lock().readers.push(Reader { changes: tell, missed: missed.clone() });
        Some(Box::pin(stream::unfold((told, missed), next_change)))
    }
}

/// Who has missed some has more to read, and is told so when it reads on.
async fn next_change<K>(
    reading: (Receiver<Change<K>>, Arc<AtomicBool>),
) -> Option<(Change<K>, (Receiver<Change<K>>, Arc<AtomicBool>))> {
    let change = reading.0.recv().await.ok()?;
    let missed = reading.1.swap(false, Ordering::Acquire);
    Some((if missed { Change::Any } else { change }, reading))
}

impl<K: Key> Default for MemoryTable<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for MemoryTable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTable").field("rows", &self.shared.lock().rows.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::StreamExt;
    use futures_lite::future::{block_on, poll_once};
    use procession_runnable::nop;

    use super::*;

    #[test]
    fn a_reader_that_is_behind_is_told_to_look_at_all() {
        let table = MemoryTable::new();
        let mut changes = table.changes().unwrap();
        table.insert(1, nop());
        assert_eq!(block_on(changes.next()), Some(Change::Row(1)));
        (0..2 * BEHIND).for_each(|key| drop(table.insert(key, nop())));
        table.remove(&1);
        assert_eq!(block_on(changes.next()), Some(Change::Any));
        let mut behind = 1;
        while let Some(change) = block_on(poll_once(changes.next())) {
            assert!(matches!(change, Some(Change::Row(_))));
            behind += 1;
        }
        assert!(behind >= BEHIND);
        drop(changes);
        table.insert(1, nop());
        assert!(table.shared.lock().readers.is_empty());
    }
}
