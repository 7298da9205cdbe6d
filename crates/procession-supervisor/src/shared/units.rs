//! [`Units`]: the handle of operators to a shared table.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::{fmt, io, thread};

use procession::support::{block_on, catch};

use super::table::{ManagerId, ManagerRow, Session, SharedTable, TableError, UnitRow};
use crate::engine::reply::{self, reply};
use crate::sync::Mutex;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;
type Jobs = mpsc::Sender<Job>;

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
    /// The way to the thread, if there is one.
    jobs: Arc<Mutex<Option<Jobs>>>,
}

impl Units {
    /// Makes a handle.
    pub fn new(table: impl SharedTable) -> Self {
        Self { table: Arc::new(table), jobs: Arc::default() }
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
        match running(&self.jobs, || start(self.table.clone())) {
            Ok(jobs) => {
                let job: Job = Box::new(move |connection| reply.give(connection.call(call)));
                // The thread ends only when nobody can send any more.
                let _sent = jobs.send(job);
            }
            Err(error) => {
                let error = format!("no thread for the session of the table: {error}");
                reply.give(Err(TableError::Unavailable(error.into())));
            }
        }
        Answer { answer }
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Units").finish_non_exhaustive()
    }
}

/// Returns the way to the thread, which `start` starts if there is none. If that fails, the next call tries again.
fn running(
    jobs: &Mutex<Option<Jobs>>,
    start: impl FnOnce() -> io::Result<Jobs>,
) -> io::Result<Jobs> {
    let mut jobs = jobs.lock();
    match &*jobs {
        Some(jobs) => Ok(jobs.clone()),
        None => Ok(jobs.insert(start()?).clone()),
    }
}

/// Starts the thread, which ends when all handles were dropped.
fn start(table: Arc<dyn SharedTable>) -> io::Result<Jobs> {
    let (jobs, from) = mpsc::channel::<Job>();
    let work = move || {
        let mut connection = Connection { table, session: None };
        for job in from {
            // The answer of the job may be dropped here.
            let _caught = catch(|| job(&mut connection));
        }
        drop(catch(|| drop(connection)));
    };
    thread::Builder::new().name("units".to_owned()).spawn(work)?;
    Ok(jobs)
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
        if let Some(session) = self.session.take() {
            match self.call_with(|_| Ok(session), &call) {
                Err(TableError::Unavailable(_)) => {}
                result => return result,
            }
        }
        self.call_with(|table| table.open(), &call)
    }

    /// Performs a call with this session, which is kept unless it has lost the store. The store is code of others: if
    /// it panics, the session is not used again.
    fn call_with<T>(
        &mut self,
        session: impl FnOnce(&dyn SharedTable) -> Result<Box<dyn Session>, TableError>,
        call: &impl Fn(&mut dyn Session) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let table = &*self.table;
        let called = catch(|| {
            let mut session = session(table)?;
            let result = call(&mut *session);
            // A session that has lost the store is dropped here.
            let is_lost = matches!(result, Err(TableError::Unavailable(_)));
            Ok((result, (!is_lost).then_some(session)))
        });
        match called {
            Ok(Ok((result, session))) => {
                self.session = session;
                result
            }
            Ok(Err(error)) => Err(error),
            Err(message) => Err(TableError::Unavailable(format!("it panicked: {message}").into())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_could_not_be_started_is_started_by_the_next_call() {
        let jobs = Mutex::new(None);
        let fails = || Err(io::Error::other("the limit is reached"));
        assert!(running(&jobs, fails).is_err());
        let (sender, _receiver) = mpsc::channel();
        assert!(running(&jobs, || Ok(sender)).is_ok());
        assert!(running(&jobs, fails).is_ok(), "there is one now");
    }
}
