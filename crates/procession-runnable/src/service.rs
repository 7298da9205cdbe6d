//! [`Service`]: a runnable that is started and stopped by calls.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use procession::support::text::Span;
use procession::support::{block_on, deadline_after, with_causes};
use procession::{ChildFailure, Clock, Closed, Error, Process, SystemClock};

use crate::errors::is_failure_of_part;
use crate::ready::{NotReady, Readiness, Ready};
use crate::runnable::Runnable;
use crate::start::Start;
use crate::state::State;
use crate::sync::Mutex;

/// One run of a runnable that is started and stopped by calls, from any thread or task. Clones refer to the same
/// service.
///
/// A service can be started once. It stops when its last clone is dropped, unless it has a [parent](Self::under), which
/// keeps it running.
///
/// Conceptually, a service is a switch that can be turned on once and off once. To run a runnable around a body, use
/// [`run_in`](crate::run_in); to restart one that fails, use a supervisor of the crate `procession-supervisor`.
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
    started: Arc<Mutex<Option<Started>>>,
}

/// The run of a service.
struct Started {
    ready: Ready,
    /// `None` until it is made, and if that fails.
    run: Option<Process>,
}

/// Why a call on a [`Service`] failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The call is not possible in this state.
    #[error("cannot {call} while the service is {state}")]
    InvalidState {
        /// The state.
        state: State,
        /// The call: `start` or `stop`.
        call: &'static str,
    },
    /// The call took longer than its timeout, and the service was aborted.
    #[error("{call} took longer than {}, so the service was aborted", Span(*limit))]
    TimedOut {
        /// The call: `start` or `stop`.
        call: &'static str,
        /// The timeout.
        limit: Duration,
    },
    /// The service was stopped before it was ready.
    #[error("the service was stopped while it started")]
    Stopped,
    /// The service failed. This is its outcome. If the run ended before it was ready, [`NotReady::Ended`] is part of
    /// it.
    #[error(transparent)]
    Failed(Error),
}

impl Service {
    /// A service without a parent.
    #[track_caller]
    pub fn new(runnable: Runnable) -> Self {
        let built = Process::builder().on_child_failure(ChildFailure::Close).build();
        Self::of(runnable, built.unwrap_or_default())
    }

    /// A service that `parent` closes and waits for.
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

    /// Starts the service, and returns once it is ready or, if it cannot become ready, once it has stopped.
    ///
    /// # Errors
    ///
    /// [`ServiceError::InvalidState`] if it was started or stopped before. [`ServiceError::Failed`] with all errors if
    /// it fails to start, or ends before it is ready. [`ServiceError::Stopped`] if it is stopped before it is ready,
    /// and ends without an error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the service still starts.
    pub async fn start(&self) -> Result<(), ServiceError> {
        let error = match self.begin()? {
            Ok(readiness) => match readiness.until_closing(&self.process).await {
                Ok(()) => return Ok(()),
                Err(NotReady::Ended(label)) => Some(NotReady::of(label)),
                Err(NotReady::Failed | NotReady::Closed) => None,
            },
            // It is part of the outcome, or the service was closed before its run was made.
            Err(error) if is_failure_of_part(&error) || matches!(error, Error::Link(_)) => None,
            Err(error) => Some(error),
        };
        let outcome = self.process.close().await;
        match Error::all(error.into_iter().chain(outcome.err())) {
            Ok(()) => Err(ServiceError::Stopped),
            Err(errors) => Err(ServiceError::Failed(errors)),
        }
    }

    /// The blocking form of [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the service is ready or has stopped.
    pub fn start_blocking(&self) -> Result<(), ServiceError> {
        block_on(self.start())
    }

    /// [`start`](Self::start) with a timeout. After `limit`, it aborts the service and returns without waiting for code
    /// that ignores the abort.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), and [`ServiceError::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the service still starts, without the timeout.
    pub async fn start_within(&self, limit: Duration) -> Result<(), ServiceError> {
        self.within("start", limit, self.start()).await
    }

    /// The blocking form of [`start_within`](Self::start_within).
    ///
    /// # Errors
    ///
    /// Those of [`start_within`](Self::start_within).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the service is ready or has stopped, but for at most `limit`.
    pub fn start_blocking_within(&self, limit: Duration) -> Result<(), ServiceError> {
        block_on(self.start_within(limit))
    }

    /// Stops the service gracefully, and returns once it has stopped. A service that was never started can no longer be
    /// started then.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Failed`] with the outcome, if the service failed. [`ServiceError::InvalidState`] if it had
    /// already stopped; its [`outcome`](Self::outcome) is still available.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the service still stops.
    pub async fn stop(&self) -> Result<(), ServiceError> {
        self.check_stop()?;
        self.process.close().await.map_err(ServiceError::Failed)
    }

    /// The blocking form of [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop). [`ServiceError::Failed`] with [`Error::Deadlock`] if the service waits for the
    /// caller.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the service has stopped.
    pub fn stop_blocking(&self) -> Result<(), ServiceError> {
        self.check_stop()?;
        self.process.close_blocking().map_err(ServiceError::Failed)
    }

    /// [`stop`](Self::stop) with a timeout. After `limit`, it aborts the service and returns without waiting for code
    /// that ignores the abort.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), and [`ServiceError::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the service still stops, without the timeout.
    pub async fn stop_within(&self, limit: Duration) -> Result<(), ServiceError> {
        self.within("stop", limit, self.stop()).await
    }

    /// The blocking form of [`stop_within`](Self::stop_within).
    ///
    /// # Errors
    ///
    /// Those of [`stop_within`](Self::stop_within).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the service has stopped, but for at most `limit`.
    pub fn stop_blocking_within(&self, limit: Duration) -> Result<(), ServiceError> {
        block_on(self.stop_within(limit))
    }

    /// A waiter for the end of the service, which yields its outcome. It does not stop the service.
    pub fn done(&self) -> Closed {
        self.process.closed()
    }

    /// The state. A service that has begun to stop, for whatever reason, is `Stopping` until it is `Stopped`.
    pub fn state(&self) -> State {
        if self.process.is_closed() {
            return State::Stopped;
        }
        let started = self.started.lock();
        let run_is_closing =
            |started: &Started| started.run.as_ref().is_some_and(|run| run.is_closing());
        match &*started {
            _ if self.process.is_closing() => State::Stopping,
            None => State::Initial,
            Some(started) if run_is_closing(started) => State::Stopping,
            Some(started) if started.ready.is_ready() => State::Running,
            Some(_) => State::Starting,
        }
    }

    /// The outcome, once the service has stopped.
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        self.process.outcome()
    }

    fn check_stop(&self) -> Result<(), ServiceError> {
        match self.state() {
            state @ State::Stopped => Err(ServiceError::InvalidState { state, call: "stop" }),
            _ => Ok(()),
        }
    }

    /// Starts the run, unless the service was started or stopped before. The inner error is the one of the run's start.
    fn begin(&self) -> Result<Result<Readiness, Error>, ServiceError> {
        let (start, readiness) = Start::under(&self.process);
        let mut started = self.started.lock();
        if started.is_some() || self.process.is_closing() {
            drop(started);
            return Err(ServiceError::InvalidState { state: self.state(), call: "start" });
        }
        *started = Some(Started { ready: start.ready(), run: None });
        drop(started);
        let run = self.runnable.start(start);
        if let (Ok(run), Some(started)) = (&run, &mut *self.started.lock()) {
            started.run = Some(run.clone());
        }
        // The service stops when its run has ended.
        self.process.close_after_children();
        Ok(run.map(|_| readiness))
    }

    async fn within(
        &self,
        call: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<(), ServiceError>>,
    ) -> Result<(), ServiceError> {
        // A timeout that is longer than a clock can measure never expires.
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

impl ServiceError {
    /// Displays the error with its causes, separated by colons.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        with_causes(self)
    }
}
