//! [`MemoryTable`]: a table in memory that reports its changes.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_lite::{Stream, stream};
use procession::BoxError;
use procession::support::{Sleeper, register, wake_sleeper};

use crate::sync::Mutex;
use crate::table::{BoxFuture, BoxStream, Change, Key, Row, Table};
use crate::unit::Unit;

/// The maximum number of unread changes of a reader. Beyond that, they are replaced by [`Change::Any`].
const MAX_UNREAD: usize = 1024;

/// A table in memory. Clones share its rows.
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
    /// The number of insertions so far, which is the version of units that have none of their own.
    revision: u64,
    readers: Vec<Weak<Mutex<Unread<K>>>>,
}

/// The changes that a reader has not read yet.
struct Unread<K> {
    changes: VecDeque<Change<K>>,
    sleeper: Option<Sleeper>,
}

/// Reads the changes of a table.
struct Changes<K> {
    unread: Arc<Mutex<Unread<K>>>,
}

impl<K: Key> MemoryTable<K> {
    /// An empty table.
    pub fn new() -> Self {
        let shared = Shared { rows: HashMap::new(), revision: 0, readers: Vec::new() };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Adds or replaces a row, and returns the unit that it replaces.
    ///
    /// Unless the unit has a [version](Unit::version) of its own, each insertion counts as a new version, which takes
    /// effect as its [`OnChange`](crate::OnChange) says. By default, a unit that is starting or running, is waiting for
    /// its restart, has ended, or was given up is restarted. A unit whose run is still ending starts again after that.
    /// A unit that a call has stopped stays stopped.
    pub fn insert(&self, key: K, unit: impl Into<Unit>) -> Option<Unit> {
        let mut unit = unit.into();
        let row = key.clone();
        let before = {
            let mut shared = self.shared.lock();
            shared.revision += 1;
            let version = unit.rules.version().unwrap_or(shared.revision);
            unit.rules.set_version(Some(version));
            shared.rows.insert(row, unit)
        };
        self.tell(key);
        before
    }

    /// Removes a row, and returns its unit.
    pub fn remove(&self, key: &K) -> Option<Unit> {
        let removed = self.shared.lock().rows.remove(key)?;
        self.tell(key.clone());
        Some(removed)
    }

    /// Notifies the readers. It must be called with no lock of the table held, because it calls their wakers.
    fn tell(&self, key: K) {
        let readers: Vec<_> = {
            let mut shared = self.shared.lock();
            shared.readers.retain(|reader| reader.strong_count() > 0);
            shared.readers.iter().filter_map(Weak::upgrade).collect()
        };
        for reader in readers {
            // Cloned before the reader's lock is taken, because `Clone` of a key is foreign code.
            let change = Change::Row(key.clone());
            let mut unread = reader.lock();
            if unread.changes.len() < MAX_UNREAD {
                unread.changes.push_back(change);
            } else {
                unread.changes.clear();
                unread.changes.push_back(Change::Any);
            }
            let sleeper = unread.sleeper.take();
            drop(unread);
            wake_sleeper(sleeper);
        }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.shared.lock().rows.len()
    }

    /// Returns whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        Box::pin(stream::iter(rows.into_iter().map(|(key, unit)| Ok(Row::new(key, Ok(unit))))))
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        let unread = Arc::new(Mutex::new(Unread { changes: VecDeque::new(), sleeper: None }));
        self.shared.lock().readers.push(Arc::downgrade(&unread));
        Some(Box::pin(Changes { unread }))
    }
}

impl<K: Key> Stream for Changes<K> {
    type Item = Change<K>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change<K>>> {
        let mut change = None;
        let replaced = register(&self.unread, context.waker(), |unread| {
            change = change.take().or_else(|| unread.changes.pop_front());
            change.is_none().then_some(&mut unread.sleeper)
        });
        drop(replaced);
        change.map_or(Poll::Pending, |change| Poll::Ready(Some(change)))
    }
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
    fn a_reader_that_falls_behind_must_scan_all_rows() {
        let table = MemoryTable::new();
        let mut changes = table.changes().unwrap();
        let mut next = || block_on(poll_once(changes.next())).flatten();
        table.insert(1, nop());
        assert_eq!((next(), next()), (Some(Change::Row(1)), None));
        (0..MAX_UNREAD).for_each(|key| drop(table.insert(key, nop())));
        table.remove(&1);
        table.remove(&2);
        assert_eq!((next(), next(), next()), (Some(Change::Any), Some(Change::Row(2)), None));
    }

    #[test]
    fn dropped_readers_are_forgotten() {
        let table = MemoryTable::new();
        let _changes = table.changes();
        for _ in 0..10 {
            drop(table.changes());
            table.insert(1, nop());
            assert_eq!(table.shared.lock().readers.len(), 1);
        }
    }
}
