//! [`Blocking`]: an adapter for tables whose calls block.
//!
//! 1. A row that hangs uses at most one thread, however often it is loaded (U7), and so do scans that hang. Argument: a
//!    call that is given up is kept in [`GivenUp`] until its thread has ended, and the next call for the same row waits
//!    for that before it uses a thread. The answer of a call that was given up is dropped, because it may be out of
//!    date.
//! 2. No code of a key runs under the lock (I10). Argument: the map is taken out of the lock while it is used.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::mem::{replace, take};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use async_channel::{Receiver, bounded};
use blocking::Task;
use futures_lite::{FutureExt, StreamExt, stream};
use procession::BoxError;

use crate::sync::Mutex;
use crate::table::{BoxFuture, BoxStream, Change, Key, Row, Table};
use crate::unit::Unit;

/// The number of rows that a scan may read ahead.
const READ_AHEAD: usize = 64;
/// The minimum number of calls that were given up at which those that have ended are removed.
const SWEPT_AT: usize = 64;

/// A [`Table`] whose calls block, such as a file or a database with a blocking driver.
pub trait BlockingTable<K>: Send + Sync + 'static {
    /// The blocking form of [`Table::get`].
    ///
    /// # Errors
    ///
    /// Those of [`Table::get`].
    fn get(&self, key: &K) -> Result<Option<Unit>, BoxError>;

    /// The blocking form of [`Table::iter`].
    ///
    /// # Errors
    ///
    /// An error means that the scan could not begin.
    fn iter(&self) -> Result<RowIterator<'_, K>, BoxError>;

    /// The blocking form of [`Table::changes`]: an iterator whose `next` waits for a change. `None` if the table cannot
    /// report its changes.
    ///
    /// The manager's task calls this method directly, so it should return at once. Only `next` may block.
    fn changes(&self) -> Option<ChangeIterator<K>> {
        None
    }
}

/// The rows that [`BlockingTable::iter`] yields. An item that is an error ends the scan.
pub type RowIterator<'a, K> = Box<dyn Iterator<Item = Result<Row<K>, BoxError>> + 'a>;

/// The changes that [`BlockingTable::changes`] reports.
pub type ChangeIterator<K> = Box<dyn Iterator<Item = Change<K>> + Send>;

/// Makes a [`Table`] from a [`BlockingTable`]. Its reads, and the `next` of its iterators, run on the thread pool of
/// the crate `blocking`.
///
/// ```
/// use procession::BoxError;
/// use procession_runnable::nop;
/// use procession_supervisor::{Blocking, BlockingTable, Manager, Row, RowIterator, Unit};
///
/// struct File;
///
/// impl BlockingTable<String> for File {
///     fn get(&self, key: &String) -> Result<Option<Unit>, BoxError> {
///         Ok((key == "job").then(|| nop().into()))
///     }
///
///     fn iter(&self) -> Result<RowIterator<'_, String>, BoxError> {
///         Ok(Box::new(std::iter::once(Ok(Row::new("job".to_owned(), Ok(nop().into()))))))
///     }
/// }
///
/// let manager = Manager::new(Blocking::new(File));
/// # let _ = manager;
/// ```
pub struct Blocking<K, T> {
    table: Arc<T>,
    loads: Arc<GivenUp<K>>,
    scans: Arc<GivenUp<()>>,
}

impl<K: Key, T: BlockingTable<K>> Blocking<K, T> {
    /// Adapts `table`.
    pub fn new(table: T) -> Self {
        Self { table: Arc::new(table), loads: GivenUp::new(), scans: GivenUp::new() }
    }
}

/// The calls that nobody waits for any more, and whose threads may still be blocked.
struct GivenUp<K>(Mutex<Calls<K>>);

struct Calls<K> {
    tasks: HashMap<K, Task<()>>,
    /// The number of tasks at which those that have ended are removed, so that the cost of this is linear.
    swept_at: usize,
}

impl<K> Default for Calls<K> {
    fn default() -> Self {
        Self { tasks: HashMap::new(), swept_at: SWEPT_AT }
    }
}

impl<K: Eq + Hash> GivenUp<K> {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Calls::default())))
    }

    /// Calls `f` with the calls. Those that are added meanwhile are kept.
    fn with<R>(&self, f: impl FnOnce(&mut Calls<K>) -> R) -> R {
        let mut calls = take(&mut *self.0.lock());
        let result = f(&mut calls);
        loop {
            let others = replace(&mut *self.0.lock(), calls);
            if others.tasks.is_empty() {
                return result;
            }
            calls = take(&mut *self.0.lock());
            calls.tasks.extend(others.tasks);
        }
    }

    fn add(&self, key: K, task: Task<()>) {
        self.with(|calls| {
            if calls.tasks.len() >= calls.swept_at {
                calls.tasks.retain(|_, task| !task.is_finished());
                calls.swept_at = SWEPT_AT.max(2 * calls.tasks.len());
            }
            calls.tasks.insert(key, task);
        });
    }
}

/// A call that is running. If it is dropped before its end, the call is given up.
struct Running<K: Eq + Hash> {
    given_up: Arc<GivenUp<K>>,
    /// `None` once it has been given up.
    key: Option<K>,
    task: Option<Task<()>>,
}

impl<K: Eq + Hash> Running<K> {
    /// Waits until an earlier call for this key has ended, if there is one. Then runs `call` on a thread.
    async fn begin(
        given_up: Arc<GivenUp<K>>,
        key: K,
        call: impl FnOnce() + Send + 'static,
    ) -> Self {
        let task = given_up.with(|calls| calls.tasks.remove(&key));
        let mut running = Self { given_up, key: Some(key), task };
        // A panic of the earlier call concerns nobody any more.
        let _ended = AssertUnwindSafe(running.end()).catch_unwind().await;
        running.task = Some(blocking::unblock(call));
        running
    }

    /// Waits for the end of the call. If it has panicked, so does this.
    async fn end(&mut self) {
        if let Some(task) = &mut self.task {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            self.task = None;
            ended.unwrap_or_else(|payload| resume_unwind(payload));
        }
    }
}

impl<K: Eq + Hash> Drop for Running<K> {
    fn drop(&mut self) {
        let task = self.task.take().filter(|task| !task.is_finished());
        if let (Some(task), Some(key)) = (task, self.key.take()) {
            self.given_up.add(key, task);
        }
    }
}

impl<K: Key, T: BlockingTable<K>> Table<K> for Blocking<K, T> {
    fn get<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        let (table, own) = (self.table.clone(), key.clone());
        let (sender, answer) = bounded(1);
        // If nobody waits for the answer any more, it is dropped on that thread.
        let call = move || drop(sender.send_blocking(table.get(&own)));
        Box::pin(async move {
            let mut running = Running::begin(self.loads.clone(), key.clone(), call).await;
            match answer.recv().await {
                Ok(answer) => answer,
                Err(_) => {
                    running.end().await;
                    unreachable!("a call that does not panic answers")
                }
            }
        })
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<K>, BoxError>> {
        let (sender, rows) = bounded(READ_AHEAD);
        let table = self.table.clone();
        // An error of the channel means that the scan was dropped.
        let read = move || match table.iter() {
            Ok(mut found) => drop(found.try_for_each(|row| sender.send_blocking(row))),
            Err(error) => drop(sender.send_blocking(Err(error))),
        };
        let begin = Running::begin(self.scans.clone(), (), read);
        let read_on =
            async |(rows, mut running): (Receiver<_>, Running<()>)| match rows.recv().await {
                Ok(row) => Some((row, (rows, running))),
                Err(_) => {
                    running.end().await;
                    None
                }
            };
        let scan = async move { stream::unfold((rows, begin.await), read_on) };
        Box::pin(stream::once_future(scan).flatten())
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        Some(Box::pin(blocking::Unblock::new(self.table.changes()?)))
    }
}

impl<K, T> fmt::Debug for Blocking<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}
