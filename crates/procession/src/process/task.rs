//! [`Task`]: a body with a value.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::outcome_reader::OutcomeReader;
use super::timeout::Timeout;
use super::{Builder, Closed, Process};
use crate::run::body::{BodyEnd, ErrorRecipient};
use crate::run::foreign::Foreign;
use crate::value::sync::Mutex;
use crate::value::{BoxError, Error, Site};

/// A body with a value, and a waiter for the value. Made by [`Process::spawn_task`], [`Process::spawn_task_thread`] and
/// the methods of the same names of [`Builder`].
///
/// Conceptually, a task is a [`Closed`] waiter that also carries the value of the body.
///
/// It is a future that can also block a thread. It is ready when the process of the body is Closed, that is, when the
/// body, the children of the process and its teardown have ended. It yields the value only if the outcome is `Ok`.
/// Otherwise it yields the error of the outcome, and a thread of the library drops the value.
///
/// Dropping a task detaches it: the body goes on, and a thread of the library drops its value. If the body fails,
/// nobody reads the error, so it is [reported](crate::ChildFailure::Report).
///
/// # When not to use it
///
/// If a body has no value, use [`Process::spawn`] or [`Process::spawn_thread`]. They return the process, and a failure
/// that nothing handles is reported when it happens, not when the task is dropped.
///
/// # Cancel safety
///
/// A wait can be cancelled at any time, for example by a [timeout](Self::timeout): the value is kept for the next wait,
/// and nothing is lost. Dropping the task itself detaches it.
///
/// ```
/// use procession::{Error, Process, ok_with};
///
/// let app = Process::new();
/// let sum = app.spawn_task(|_| async { ok_with(1 + 1) })?;
/// let port = app.spawn_task_thread(|_| "eighty".parse::<u16>())?;
///
/// assert_eq!(futures_lite::future::block_on(sum)?, 2);
/// assert!(matches!(port.wait(), Err(Error::Failed(_))));
/// # Ok::<(), procession::BoxError>(())
/// ```
#[must_use = "a task that is dropped is detached: `.await` it, or call `wait`, for its value"]
pub struct Task<T: Send + 'static> {
    process: Process,
    closed: Closed,
    value: Value<T>,
    was_read: bool,
    reader: OutcomeReader,
}

/// The shared place in which the body stores its value.
struct Value<T: Send + 'static>(Arc<Mutex<Option<Foreign<T>>>>);

impl<T: Send + 'static> Task<T> {
    fn new(process: Process, value: Value<T>, reader: OutcomeReader) -> Self {
        let closed = process.closed();
        Self { process, closed, value, was_read: false, reader }
    }

    /// Starts the blocking body. If the OS cannot create a thread for it, the caller gets that error.
    fn on_thread<F>(process: Process, end: BodyEnd, value: Value<T>, body: F) -> Result<Self, Error>
    where
        F: FnOnce(Process) -> Result<(), BoxError> + Send + 'static,
    {
        let mut reader = OutcomeReader::new(&process);
        if let Err(error) = process.start_thread(end, ErrorRecipient::Caller, body) {
            reader.mark_read();
            return Err(error);
        }
        Ok(Self::new(process, value, reader))
    }

    /// The process of the body.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Blocks until the process is Closed, and returns the value.
    ///
    /// # Errors
    ///
    /// Those of the outcome; or [`Error::Deadlock`] at once, as with [`Closed::wait`](crate::Closed::wait), and the
    /// task is then detached.
    ///
    /// # Panics
    ///
    /// If the task has already yielded its value or its error.
    #[doc = include_str!("../../docs/blocking.md")]
    ///
    /// ```
    /// use procession::{Process, ok_with};
    ///
    /// let app = Process::new();
    /// let answer = app.spawn_task_thread(|_| ok_with(42))?;
    /// assert_eq!(answer.wait()?, 42);
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    pub fn wait(mut self) -> Result<T, Error> {
        let outcome = self.closed.wait();
        self.read(outcome)
    }

    /// Blocks until the process is Closed, and returns the value; `None` if the timeout comes first.
    ///
    /// # Errors
    ///
    /// Those of the outcome. A wait with a timeout is never refused, unless the timeout is longer than a clock can
    /// measure.
    ///
    /// # Panics
    ///
    /// If the task has already yielded its value or its error.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<T, Error>> {
        let outcome = self.closed.wait_timeout(timeout)?;
        Some(self.read(outcome))
    }

    /// [`wait_timeout`](Self::wait_timeout), with a deadline.
    ///
    /// # Errors
    ///
    /// Those of the outcome. A wait with a deadline is never refused.
    ///
    /// # Panics
    ///
    /// If the task has already yielded its value or its error.
    #[doc = include_str!("../../docs/blocking-timeout.md")]
    pub fn wait_deadline(&mut self, deadline: Instant) -> Option<Result<T, Error>> {
        let outcome = self.closed.wait_deadline(deadline)?;
        Some(self.read(outcome))
    }

    /// The async form of [`wait_timeout`](Self::wait_timeout): yields `None` if the timeout ends first. The task and
    /// its value are kept.
    ///
    /// # Errors
    ///
    /// Those of the outcome.
    ///
    /// # Panics
    ///
    /// When it is polled, if the task has already yielded its value or its error.
    ///
    /// ```
    /// use procession::{Process, ok_with};
    /// use std::time::Duration;
    ///
    /// # futures_lite::future::block_on(async {
    /// let app = Process::new();
    /// let mut page = app.spawn_task(|_| async { ok_with("<html>") })?;
    /// let page = loop {
    ///     match page.timeout(Duration::from_secs(1)).await {
    ///         Some(page) => break page?,
    ///         None => println!("still loading"),
    ///     }
    /// };
    /// assert_eq!(page, "<html>");
    /// # procession::ok()
    /// # }).unwrap()
    /// ```
    pub fn timeout(&mut self, timeout: Duration) -> Timeout<&mut Self> {
        Timeout::new(self, timeout)
    }

    /// Has the task yielded its value or its error?
    fn was_read(&self) -> bool {
        self.was_read
    }

    /// Turns the outcome into the result that the task yields.
    fn read(&mut self, outcome: Result<(), Error>) -> Result<T, Error> {
        assert!(!self.was_read(), "a task yields its value once");
        self.was_read = true;
        // If the wait was refused, the outcome has not been read.
        if self.process.is_closed() {
            self.reader.mark_read();
        }
        let value = self.value.take();
        // A body whose outcome is `Ok` has stored its value, unless a test has injected a fault that ended it early.
        let none = || Error::Aborted(self.process.label());
        outcome.and_then(|()| Ok(value.ok_or_else(none)?.into_inner()))
    }
}

impl<T: Send + 'static> Future for Task<T> {
    type Output = Result<T, Error>;

    /// # Panics
    ///
    /// If the task has already yielded its value or its error.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.closed).poll(context).map(|outcome| self.read(outcome))
    }
}

impl<T: Send + 'static> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("process", &self.process)
            .field("was_read", &self.was_read())
            .finish()
    }
}

impl<T: Send + 'static> Value<T> {
    fn new() -> (Self, Self) {
        let place = Arc::<Mutex<Option<Foreign<T>>>>::default();
        (Self(place.clone()), Self(place))
    }

    /// Stores the value of a body that succeeded. If the task was dropped, a thread of the library drops the value.
    fn put<E: Into<BoxError>>(self, result: Result<T, E>) -> Result<(), BoxError> {
        let value = Foreign::new(result.map_err(Into::into)?);
        *self.0.lock() = Some(value);
        Ok(())
    }

    fn take(&self) -> Option<Foreign<T>> {
        self.0.lock().take()
    }
}

impl Process {
    /// Runs `body` on the spawner, as [`spawn`](Self::spawn) does, and returns a [`Task`] for its value.
    ///
    /// The body returns a `Result`, whose error becomes part of the outcome of its process. If nothing in the body
    /// fixes the type of the error, end the body with [`procession::ok_with(value)`](crate::ok_with).
    ///
    /// # Errors
    ///
    /// Those of `spawn`. Then the body is not run.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// # futures_lite::future::block_on(async {
    /// let app = Process::new();
    /// let port = app.spawn_task(|_| async { "80".parse::<u16>() })?;
    /// assert_eq!(port.await?, 80);
    /// # procession::ok()
    /// # }).unwrap()
    /// ```
    #[track_caller]
    pub fn spawn_task<F, Fut, T, E>(&self, body: F) -> Result<Task<T>, Error>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<BoxError>,
    {
        let (value, place) = Value::new();
        let (process, end) = self.child_with_body(Site::caller())?;
        let reader = OutcomeReader::new(&process);
        process.start(end, |p| async move { place.put(body(p).await) });
        Ok(Task::new(process, value, reader))
    }

    /// Runs `body` on a new thread, as [`spawn_thread`](Self::spawn_thread) does, and returns a [`Task`] for its value.
    ///
    /// The body returns a `Result`, as that of [`spawn_task`](Self::spawn_task) does.
    ///
    /// # Errors
    ///
    /// Those of `spawn_thread`. Then the body is not run.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let size = app.spawn_task_thread(|_| {
    ///     let text = String::from_utf8(b"four".to_vec())?;
    ///     procession::ok_with(text.len())
    /// })?;
    /// assert_eq!(size.wait()?, 4);
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    #[track_caller]
    pub fn spawn_task_thread<F, T, E>(&self, body: F) -> Result<Task<T>, Error>
    where
        F: FnOnce(Self) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Into<BoxError>,
    {
        let (value, place) = Value::new();
        let (process, end) = self.child_with_body(Site::caller())?;
        Task::on_thread(process, end, value, |p| place.put(body(p)))
    }
}

impl Builder<'_> {
    /// Makes the process with an async body that has a value, as [`Process::spawn_task`] does, and with everything that
    /// was set on this builder. The process waits for the body.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn). Then the body is not run.
    ///
    /// ```
    /// use procession::{Process, ok_with};
    ///
    /// let app = Process::new();
    /// let index = Process::builder().name("index").parent(&app);
    /// let index = index.spawn_task(|_| async { ok_with(vec![1, 2, 3]) })?;
    /// assert_eq!(index.process().name().as_deref(), Some("index"));
    /// assert_eq!(index.wait()?, [1, 2, 3]);
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    #[track_caller]
    pub fn spawn_task<F, Fut, T, E>(self, body: F) -> Result<Task<T>, Error>
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<BoxError>,
    {
        let (value, place) = Value::new();
        let (process, end) = self.make_unstarted(Site::caller())?.into_parts();
        let reader = OutcomeReader::new(&process);
        process.start(end, |p| async move { place.put(body(p).await) });
        Ok(Task::new(process, value, reader))
    }

    /// Makes the process with a blocking body that has a value, as [`Process::spawn_task_thread`] does, and with
    /// everything that was set on this builder. The process waits for the body.
    ///
    /// # Errors
    ///
    /// Those of [`spawn_thread`](Self::spawn_thread). Then the body is not run.
    #[track_caller]
    pub fn spawn_task_thread<F, T, E>(self, body: F) -> Result<Task<T>, Error>
    where
        F: FnOnce(Process) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Into<BoxError>,
    {
        let (value, place) = Value::new();
        let (process, end) = self.make_unstarted(Site::caller())?.into_parts();
        Task::on_thread(process, end, value, |p| place.put(body(p)))
    }
}
