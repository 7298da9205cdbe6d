//! [`Units`]: the handle of operators to a shared table.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::{fmt, thread};

use procession::support::{block_on, catch};

use super::table::{ManagerId, ManagerRow, Session, SharedTable, TableError, UnitRow};
use crate::engine::reply::{self, reply};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Says which units of a [`SharedTable`] should run, and shows where they do. Clones are the same handle.
///
/// It needs no manager: a command-line tool, a deployment or a web page for operators uses it on its own.
///
/// Each call returns an [`Answer`], which is a future and has a blocking [`wait`](Answer::wait). The handle has one
/// thread, which opens a session with the first call, performs the calls in their order, and opens another session when
/// the store could not be reached. So it can be used from any executor.
///
/// ```
/// use procession_supervisor::shared::{MemorySharedTable, Units};
///
/// let units = Units::new(MemorySharedTable::new());
/// units.put("mailbox-1", "unit", "alice@example.org").wait()?;
/// units.want_stop("mailbox-1").wait()?;
///
/// let mut after = None;
/// loop {
///     let page = units.list(after.as_deref(), 100).wait()?;
///     let Some(last) = page.last() else { break };
///     after = Some(last.key.clone());
///     for row in page {
///         println!("{}: wanted {:?}, owner {:?}", row.key, row.desired, row.owner);
///     }
/// }
/// # Ok::<(), procession_supervisor::shared::TableError>(())
/// ```
#[derive(Clone)]
pub struct Units {
    table: Arc<dyn SharedTable>,
    thread: Arc<OnceLock<mpsc::Sender<Job>>>,
}

impl Units {
    /// Makes a handle.
    pub fn new(table: impl SharedTable) -> Self {
        Self { table: Arc::new(table), thread: Arc::default() }
    }

    /// [`Session::put`].
    pub fn put(&self, key: &str, kind: &str, spec: &str) -> Answer<u64> {
        let [key, kind, spec] = [key, kind, spec].map(str::to_owned);
        self.call(move |session| session.put(&key, &kind, &spec))
    }

    /// [`Session::want_run`].
    pub fn want_run(&self, key: &str) -> Answer<()> {
        self.call_on(key, |session, key| session.want_run(key))
    }

    /// [`Session::want_stop`].
    pub fn want_stop(&self, key: &str) -> Answer<()> {
        self.call_on(key, |session, key| session.want_stop(key))
    }

    /// [`Session::remove`].
    pub fn remove(&self, key: &str) -> Answer<()> {
        let is_repeated = Cell::new(false);
        self.call_on(key, move |session, key| match session.remove(key) {
            // The first call has removed it, and its answer was lost.
            Err(TableError::NotFound { .. }) if is_repeated.get() => Ok(()),
            result => {
                is_repeated.set(true);
                result
            }
        })
    }

    /// [`Session::clear_quarantine`].
    pub fn clear_quarantine(&self, key: &str) -> Answer<()> {
        self.call_on(key, |session, key| session.clear_quarantine(key))
    }

    /// [`Session::get`].
    pub fn get(&self, key: &str) -> Answer<Option<UnitRow>> {
        self.call_on(key, |session, key| session.get(key))
    }

    /// Returns a page: at most `limit` units in the order of the bytes of their keys, from the first one after the key
    /// `after`.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Answer<Vec<UnitRow>> {
        let after = after.map(str::to_owned);
        self.call(move |session| session.scan(after.as_deref(), limit))
    }

    /// [`Session::managers`].
    pub fn managers(&self) -> Answer<Vec<ManagerRow>> {
        self.call(|session| session.managers())
    }

    /// Makes a manager give its units away, as if its program had called
    /// [`SharedManager::hand_over`](super::SharedManager::hand_over). This is [`Session::drain`].
    pub fn hand_over(&self, manager: ManagerId) -> Answer<()> {
        self.call(move |session| session.drain(manager))
    }

    /// [`Session::expire`].
    pub fn expire(&self, manager: ManagerId) -> Answer<()> {
        self.call(move |session| session.expire(manager))
    }

    fn call_on<T: Send + 'static>(
        &self,
        key: &str,
        call: impl Fn(&mut dyn Session, &str) -> Result<T, TableError> + Send + 'static,
    ) -> Answer<T> {
        let key = key.to_owned();
        self.call(move |session| call(session, &key))
    }

    /// Calls a function with the session, on the thread.
    fn call<T: Send + 'static>(
        &self,
        call: impl Fn(&mut dyn Session) -> Result<T, TableError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = reply();
        let job: Job = Box::new(move |connection| reply.give(connection.call(call)));
        // If there is no thread, the job is dropped, and the answer is an error.
        let _sent = self.thread.get_or_init(|| start(self.table.clone())).send(job);
        Answer { answer }
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Units").finish_non_exhaustive()
    }
}

/// Starts the thread, which ends when all handles were dropped.
fn start(table: Arc<dyn SharedTable>) -> mpsc::Sender<Job> {
    let (jobs, from) = mpsc::channel::<Job>();
    let work = move || {
        let mut connection = Connection { table, session: None };
        for job in from {
            // The store is code of others.
            if catch(|| job(&mut connection)).is_err() {
                let session = connection.session.take();
                let _caught = catch(|| drop(session));
            }
        }
        drop(catch(|| drop(connection)));
    };
    let _spawned = thread::Builder::new().name("units".to_owned()).spawn(work);
    jobs
}

struct Connection {
    table: Arc<dyn SharedTable>,
    session: Option<Box<dyn Session>>,
}

impl Connection {
    /// Performs a call. If the session is an old one that has lost the store, the call is repeated once with a new one.
    fn call<T>(
        &mut self,
        call: impl Fn(&mut dyn Session) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        if let Some(mut session) = self.session.take() {
            match call(&mut *session) {
                Err(TableError::Unavailable(_)) => {}
                result => {
                    self.session = Some(session);
                    return result;
                }
            }
        }
        let mut session = self.table.open()?;
        let result = call(&mut *session);
        if !matches!(result, Err(TableError::Unavailable(_))) {
            self.session = Some(session);
        }
        result
    }
}

/// The answer to a call of [`Units`]: a future of the result, and a blocking wait. The call is performed even if its
/// answer is dropped.
#[must_use = "the call may fail: `wait` for the answer, or await it"]
pub struct Answer<T> {
    answer: reply::Answer<Result<T, TableError>>,
}

impl<T> Answer<T> {
    /// Waits for the result.
    ///
    /// # Blocking
    ///
    /// Blocks the thread. In async code, await the answer instead.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub fn wait(self) -> Result<T, TableError> {
        block_on(self)
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, TableError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = || Err(TableError::Unavailable("the session of the table has panicked".into()));
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or_else(lost))
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
