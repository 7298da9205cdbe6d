//! Tracing: [`task`] and [`trace_region`] (feature `tracing`, on by default).

use std::sync::Arc;

use procession::Error;
use procession::support::text::Escaped;
use procession::support::wait_for_own_children;

use crate::errors::{Errors, is_failure_of_part};
use crate::runnable::Runnable;
use crate::start::Start;
use crate::wraps::Wrap;

/// The error of a [`task`] that failed, with the kind of the task.
///
/// It is the [source](std::error::Error::source) of the [`Error::Failed`] of the task's process.
#[derive(Clone, Debug, thiserror::Error)]
#[error("task `{}` failed", Escaped::name(task))]
pub struct TaskError {
    task: Arc<str>,
    source: Error,
}

/// Runs `runnable` in a `tracing` span named `task`, with the field `kind`. If the runnable fails, the error is a
/// [`TaskError`].
///
/// Hooks above are called once, with the error of the runnable and not with the [`TaskError`].
///
/// ```
/// use procession::{Error, Process};
/// use procession_runnable::{TaskError, body, run_to_end, task};
///
/// let import = task("import", body(|_| async { Err("no such table") }));
/// let app = Process::new();
/// let ended = futures_lite::future::block_on(run_to_end(&app, &import));
/// let Err(Error::Failed(failed)) = ended else { panic!() };
/// let error = failed.get().downcast_ref::<TaskError>().unwrap();
/// assert_eq!(error.task(), "import");
/// ```
#[track_caller]
pub fn task(kind: impl Into<Arc<str>>, runnable: Runnable) -> Runnable {
    let kind = kind.into();
    Runnable::new(move |start| {
        let (kind, runnable) = (kind.clone(), runnable.clone());
        start.in_task(&kind).spawn(move |run| async move {
            let mut errors = Errors::of_parts(&run);
            let failed = |source| {
                let error = TaskError { task: kind, source };
                Error::failed(run.label(), Box::new(error))
            };
            match runnable.start(Start::part_of(&run, run.readiness_of_parts())) {
                Ok(started) => {
                    let ended = wait_for_own_children(&run, started.closed()).await;
                    errors.add_outcome(ended.map_err(failed));
                }
                Err(error) if is_failure_of_part(&error) => errors.add_outcome(Err(failed(error))),
                Err(error) => errors.add_own(failed(error)),
            }
            errors.into_result()
        })
    })
}

/// Runs `runnable` in a `tracing` span named `region`, with the field `kind`. Errors are not changed.
pub fn trace_region(kind: impl Into<Arc<str>>, runnable: Runnable) -> Runnable {
    runnable.wrapped(Wrap::Region(kind.into()))
}

impl TaskError {
    /// The kind of the task.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The error that it failed with.
    pub fn error(&self) -> &Error {
        &self.source
    }
}
