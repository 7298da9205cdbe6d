//! [`Table`]: the source of a manager's units.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;

use futures_lite::Stream;
use procession::BoxError;

use crate::unit::Unit;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A boxed stream.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// Identifies a unit of a table, and names its process.
///
/// Every type that satisfies the bounds implements it, such as strings, numbers, and enums that implement `Display`. A
/// manager calls the key's `Clone`, `Eq` and `Hash` while its units are locked, so these must not call the manager.
pub trait Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static> Key for K {}

/// Maps keys to units. A table may be remote and shared: every call may fail or be slow, and rows may come and go
/// between calls. A scan need not be a consistent snapshot.
///
/// [`MemoryTable`](crate::MemoryTable) keeps its rows in memory; [`Blocking`](crate::Blocking) adapts a
/// [`BlockingTable`](crate::BlockingTable). For units that several programs share, see
/// [`SharedTable`](crate::shared::SharedTable) instead.
///
/// ```
/// use futures_lite::stream;
/// use procession::BoxError;
/// use procession_runnable::body;
/// use procession_supervisor::{BoxFuture, BoxStream, Row, Table, Unit};
///
/// /// Always lists the same two workers.
/// struct Workers;
///
/// fn worker(number: u32) -> Unit {
///     Unit::new(body(move |run| async move {
///         println!("worker {number}");
///         run.ready();
///         run.closing().await;
///     }))
/// }
///
/// impl Table<u32> for Workers {
///     fn get<'a>(&'a self, key: &'a u32) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
///         Box::pin(async move { Ok((*key < 2).then(|| worker(*key))) })
///     }
///
///     fn iter(&self) -> BoxStream<'_, Result<Row<u32>, BoxError>> {
///         Box::pin(stream::iter((0..2).map(|key| Ok(Row::new(key, Ok(worker(key)))))))
///     }
/// }
/// ```
pub trait Table<K>: Send + Sync + 'static {
    /// Loads the unit with this key. `None` means that there is no such row.
    ///
    /// # Errors
    ///
    /// An error means that the row could not be loaded, not that it is absent.
    fn get<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Unit>, BoxError>>;

    /// Scans all rows. If one row cannot be loaded, yield it with an error in [`Row::unit`], and continue. An item that
    /// is itself an error ends the scan; the manager then assumes nothing about the rows that the scan did not reach.
    fn iter(&self) -> BoxStream<'_, Result<Row<K>, BoxError>>;

    /// Reports changes from now on, so that they take effect before the next scan. `None` if the table cannot report
    /// changes.
    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        None
    }
}

/// A row of a table.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row<K> {
    /// The key of the row.
    pub key: K,
    /// The unit, or why it could not be loaded.
    pub unit: Result<Unit, BoxError>,
}

impl<K> Row<K> {
    /// Makes a row. If `unit` is an error, this row could not be loaded, and the scan continues.
    pub fn new(key: K, unit: Result<Unit, BoxError>) -> Self {
        Self { key, unit }
    }
}

/// A change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<K> {
    /// The row with this key was added, removed or changed.
    Row(K),
    /// Any row may have changed.
    Any,
}
