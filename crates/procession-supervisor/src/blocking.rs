//! [`Blocking`]: an adapter for tables whose calls block.

use std::fmt;
use std::sync::Arc;

use async_channel::bounded;
use futures_lite::stream;
use procession::BoxError;

use crate::table::{BoxFuture, BoxStream, Change, Key, Row, Table};
use crate::unit::Unit;

/// The number of rows that a scan may read ahead.
const READ_AHEAD: usize = 64;

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
pub struct Blocking<T> {
    table: Arc<T>,
}

impl<T> Blocking<T> {
    /// Adapts `table`.
    pub fn new(table: T) -> Self {
        Self { table: Arc::new(table) }
    }
}

impl<K: Key, T: BlockingTable<K>> Table<K> for Blocking<T> {
    fn get<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        let (table, key) = (self.table.clone(), key.clone());
        Box::pin(blocking::unblock(move || table.get(&key)))
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<K>, BoxError>> {
        let (sender, rows) = bounded(READ_AHEAD);
        let table = self.table.clone();
        let reading = blocking::unblock(move || -> Result<(), BoxError> {
            for row in table.iter()? {
                // An error means that the scan was dropped.
                if sender.send_blocking(row).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Box::pin(stream::unfold((rows, Some(reading)), async |(rows, mut reading)| {
            if let Ok(row) = rows.recv().await {
                return Some((row, (rows, reading)));
            }
            let ended = reading.take()?.await;
            Some((Err(ended.err()?), (rows, None)))
        }))
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        Some(Box::pin(blocking::Unblock::new(self.table.changes()?)))
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}
