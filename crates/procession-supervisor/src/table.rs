//! [`Table`]: where the units come from.

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

/// What tells the units of a table apart. A unit's process is named by it.
///
/// It is implemented for all types that have what it asks for: strings, numbers, enums that can be displayed.
pub trait Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static> Key for K {}

/// Keys and units, possibly remote and shared: every call may fail or be slow, and rows come and go between
/// calls. No snapshot is promised.
///
/// [`MemoryTable`](crate::MemoryTable) is one in memory; [`Blocking`](crate::Blocking) makes one of a
/// [`BlockingTable`](crate::BlockingTable).
///
/// ```
/// use futures_lite::stream;
/// use procession::BoxError;
/// use procession_runnable::body;
/// use procession_supervisor::{BoxFuture, BoxStream, Row, Table, Unit};
///
/// /// Two workers, for ever.
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
///         Box::pin(stream::iter((0..2).map(|key| Ok(Row { key, unit: Ok(worker(key)) }))))
///     }
/// }
/// ```
pub trait Table<K>: Send + Sync + 'static {
    /// The unit of this key; `None` if there is no such row.
    ///
    /// # Errors
    ///
    /// That the row could not be loaded: it is no absence.
    fn get<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Unit>, BoxError>>;

    /// All rows. A row that cannot be loaded is an item with an error in it, and the scan goes on; an item
    /// that is an error is the end of the scan, which then has told nothing of the rows that it did not
    /// reach.
    fn iter(&self) -> BoxStream<'_, Result<Row<K>, BoxError>>;

    /// Reports what changes from now on, so that a change takes effect before the next scan. `None` if it cannot.
    fn changes(&self) -> Option<BoxStream<'static, Change<K>>> {
        None
    }
}

/// A row of a table.
#[derive(Debug)]
pub struct Row<K> {
    /// What it is found by.
    pub key: K,
    /// The unit, or why it could not be loaded.
    pub unit: Result<Unit, BoxError>,
}

/// What has changed in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<K> {
    /// The row of this key has come, gone or changed.
    Row(K),
    /// Any row may have changed.
    Any,
}
