//! [`Service`]: a runnable that is started and stopped by calls.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use procession::support::{block_on, deadline_after, with_causes};
use procession::{ChildFailure, Clock, Closed, Error, Process, SystemClock};

use crate::group::NotReady;
use crate::ready::{Readiness, Unready, Watch};
use crate::runnable::{Runnable, Start};
use crate::sync::Mutex;

/// One run of a runnable, started and stopped by calls, from any thread or task. Clones are the same service.
///
/// It is started once. When its last clone is dropped, it stops.
///
/// ```
/// use procession_runnable::{Service, State, start_stop};
///
/// let service = Service::new(start_stop(|_| async { println!("up") }, || async { println!("down") }));
/// assert_eq!(service.state(), State::Initial);
/// service.start_blocking()?;
/// assert_eq!(service.state(), State::Running);
/// service.stop_blocking()?;
/// assert_eq!(service.state(), State::Stopped);
/// # Ok::<(), procession_runnable::ServiceError>(())
/// ```
#[derive(Clone)]
pub struct Service {
    runnable: Runnable,
    process: Process,
    /// `None` until it is started.
    started: Arc<Mutex<Option<Watch>>>,
}

/// Where a [`Service`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not started.
    Initial,
    /// Started, and not ready.
    Starting,
    /// Ready.
    Running,
    /// At its end: stopped, ended or failed.
    Stopped,
}

/// Why a call on a [`Service`] failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The call does not fit the state.
    #[error("cannot {call} while the service is {state}")]
    InvalidState {
        /// The state.
        state: State,
        /// The call: `start` or `stop`.
        call: &'static str,
    },
    /// The time limit was over, and the service was aborted.
    #[error("{call} took longer than {limit:?}, so the service was aborted")]
    TimedOut {
        /// The call: `start` or `stop`.
        call: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// It was stopped while it started.
    #[error("the service was stopped while it started")]
    Stopped,
    /// It failed: its outcome.
    #[error(transparent)]
    Failed(Error),
}

impl Service {
    /// A service that hangs under nothing.
    #[track_caller]
    pub fn new(runnable: Runnable) -> Self {
        let built = Process::builder().on_child_failure(ChildFailure::Close).build();
        Self::of(runnable, built.unwrap_or_default())
    }

    /// A service that is closed with `parent`, which waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Link`] if the teardown of `parent` has started.
    #[track_caller]
    pub fn under(parent: &Process, runnable: Runnable) -> Result<Self, Error> {
        let builder = Process::builder().parent(parent).on_child_failure(ChildFailure::Close);
        Ok(Self::of(runnable, builder.build()?))
    }

    fn of(runnable: Runnable, process: Process) -> Self {
        Self { runnable, process, started: Arc::default() }
    }

    /// Starts it, and returns when it is ready.
    ///
    /// # Errors
    ///
    /// [`ServiceError::InvalidState`] if it was started or stopped before; [`ServiceError::Failed`] if it
    /// fails to start, or ends before it is ready; [`ServiceError::Stopped`] if it is stopped meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the service to itself: it goes on to start.
    pub async fn start(&self) -> Result<(), ServiceError> {
        let readiness = self.begin()?;
        match or(async { Some(readiness.await) }, async {
            drop(self.process.closed().await);
            None
        })
        .await
        {
            Some(Ok(())) => Ok(()),
            Some(Err(Unready::Ended(label))) => {
                self.process.close();
                Err(ServiceError::Failed(NotReady::of(label)))
            }
            Some(Err(Unready::Failed)) | None => {
                let ended = self.process.close().await;
                Err(ended.err().map_or(ServiceError::Stopped, ServiceError::Failed))
            }
        }
    }

    /// [`start`](Self::start), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn start_blocking(&self) -> Result<(), ServiceError> {
        block_on(self.start())
    }

    /// [`start`](Self::start), with a time limit: past it, the service is aborted.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), and [`ServiceError::TimedOut`].
    pub async fn start_within(&self, limit: Duration) -> Result<(), ServiceError> {
        self.within("start", limit, self.start()).await
    }

    /// [`start_within`](Self::start_within), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`start_within`](Self::start_within).
    pub fn start_blocking_within(&self, limit: Duration) -> Result<(), ServiceError> {
        block_on(self.start_within(limit))
    }

    /// Stops it gracefully, and returns when it has stopped. One that was not started cannot be started after
    /// that.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Failed`] with the outcome; [`ServiceError::InvalidState`] if it had stopped already: how,
    /// tells [`outcome`](Self::outcome).
    pub async fn stop(&self) -> Result<(), ServiceError> {
        self.check_stop()?;
        self.process.close().await.map_err(ServiceError::Failed)
    }

    /// [`stop`](Self::stop), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop); [`Error::Deadlock`] in it if the caller is a body that the service
    /// waits for.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn stop_blocking(&self) -> Result<(), ServiceError> {
        self.check_stop()?;
        self.process.close_blocking().map_err(ServiceError::Failed)
    }

    /// [`stop`](Self::stop), with a time limit: past it, the service is aborted, and this returns without
    /// waiting for what ignores that.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), and [`ServiceError::TimedOut`].
    pub async fn stop_within(&self, limit: Duration) -> Result<(), ServiceError> {
        self.within("stop", limit, self.stop()).await
    }

    /// [`stop_within`](Self::stop_within), blocking.
    ///
    /// # Errors
    ///
    /// Those of [`stop_within`](Self::stop_within).
    pub fn stop_blocking_within(&self, limit: Duration) -> Result<(), ServiceError> {
        block_on(self.stop_within(limit))
    }

    /// Waits until it has stopped, and yields the outcome; it does not stop it.
    pub fn done(&self) -> Closed {
        self.process.closed()
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        if self.process.is_closed() {
            return State::Stopped;
        }
        match &*self.started.lock() {
            None => State::Initial,
            Some(started) if started.is_ready() => State::Running,
            Some(_) => State::Starting,
        }
    }

    /// The outcome, when it has stopped.
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        self.process.outcome()
    }

    fn check_stop(&self) -> Result<(), ServiceError> {
        match self.state() {
            state @ State::Stopped => Err(ServiceError::InvalidState { state, call: "stop" }),
            _ => Ok(()),
        }
    }

    fn begin(&self) -> Result<Readiness, ServiceError> {
        let (start, readiness) = Start::under(&self.process);
        let mut started = self.started.lock();
        if started.is_some() || self.process.is_closing() {
            drop(started);
            return Err(ServiceError::InvalidState { state: self.state(), call: "start" });
        }
        *started = Some(readiness.watch());
        drop(started);
        let started = self.runnable.start(start);
        // It stops when its run has ended.
        self.process.close_after_children();
        match started {
            Ok(_) => Ok(readiness),
            Err(_) if self.process.is_closing() => Err(ServiceError::Stopped),
            Err(error) => Err(ServiceError::Failed(error)),
        }
    }

    async fn within(
        &self,
        call: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<(), ServiceError>>,
    ) -> Result<(), ServiceError> {
        // A limit beyond what a clock can say is none.
        let Some(deadline) = deadline_after(limit) else { return work.await };
        or(work, async {
            SystemClock.sleep_until(deadline).await;
            self.process.abort();
            Err(ServiceError::TimedOut { call, limit })
        })
        .await
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("state", &self.state())
            .field("process", &self.process)
            .finish()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "initial",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

impl ServiceError {
    /// Displays the error with its causes, separated by colons.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        with_causes(self)
    }
}
