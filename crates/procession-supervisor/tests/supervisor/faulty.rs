//! A table with faults, around a table in memory.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_lite::{StreamExt, stream};
use procession::BoxError;
use procession_supervisor::{BoxFuture, BoxStream, Change, MemoryTable, Row, Table, Unit};

use crate::world::Key;

/// How a table answers its calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answers {
    Well,
    /// A scan fails after the first row.
    FailHalfWay,
    FailAtOnce,
    /// Each row of a scan fails, and so does each load.
    FailEachRow,
    /// No call is answered. Dropping the future of a load panics.
    Never,
    Panic,
    /// A load succeeds, and dropping its future panics; a scan panics with a payload whose drop panics.
    PanicOnDrop,
}

/// A table with a fault. It may report changes or not.
#[derive(Clone)]
pub(crate) struct Faulty {
    rows: MemoryTable<Key>,
    answers: Arc<Mutex<Answers>>,
    tells_changes: bool,
    pub(crate) scans: Arc<AtomicUsize>,
    /// Has a call begun that will never be answered?
    hangs: Arc<AtomicBool>,
}

impl Faulty {
    pub(crate) fn new(rows: MemoryTable<Key>, tells_changes: bool) -> Self {
        let answers = Arc::new(Mutex::new(Answers::Well));
        Self { rows, answers, tells_changes, scans: Arc::default(), hangs: Arc::default() }
    }

    pub(crate) fn set(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    fn answers(&self) -> Answers {
        let answers = *self.answers.lock().unwrap();
        self.hangs.fetch_or(answers == Answers::Never, Ordering::SeqCst);
        answers
    }

    /// Returns whether a call has begun that will never be answered.
    pub(crate) fn is_hanging(&self) -> bool {
        self.hangs.load(Ordering::SeqCst)
    }
}

/// A value whose drop panics.
struct PanicsOnDrop<T>(T);

impl<T> Drop for PanicsOnDrop<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new("dropped"));
        }
    }
}

impl<F: Future + Unpin> Future for PanicsOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Table<Key> for Faulty {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        match self.answers() {
            Answers::FailEachRow | Answers::FailAtOnce => {
                Box::pin(async { Err("no connection".into()) })
            }
            Answers::Never => Box::pin(PanicsOnDrop(std::future::pending())),
            Answers::Panic => panic!("in get"),
            Answers::PanicOnDrop => Box::pin(PanicsOnDrop(self.rows.get(key))),
            Answers::Well | Answers::FailHalfWay => self.rows.get(key),
        }
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<Key>, BoxError>> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        let lost = || stream::once(Err("no connection".into()));
        match self.answers() {
            Answers::Well => self.rows.iter(),
            Answers::FailHalfWay => Box::pin(self.rows.iter().take(1).chain(lost())),
            Answers::FailAtOnce => Box::pin(lost()),
            Answers::FailEachRow => Box::pin(
                self.rows
                    .iter()
                    .map(|row| row.map(|row| Row::new(row.key, Err("a bad row".into())))),
            ),
            Answers::Never => Box::pin(stream::pending()),
            Answers::Panic => panic!("in iter"),
            Answers::PanicOnDrop => resume_unwind(Box::new(PanicsOnDrop(()))),
        }
    }

    fn changes(&self) -> Option<BoxStream<'static, Change<Key>>> {
        self.rows.changes().filter(|_| self.tells_changes)
    }
}
