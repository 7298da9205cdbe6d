//! Tracing: [`task`] and [`trace_region`] (feature `tracing`, on by default).

use std::sync::Arc;

use procession::Error;
use tracing::info_span;

use crate::runnable::{Runnable, Start};

/// A task failed: what kind of task, and with what.
///
/// It is the [source](std::error::Error::source) of the [`Error::Failed`] of the task's process.
#[derive(Clone, Debug, thiserror::Error)]
#[error("task `{task}` failed")]
pub struct TaskError {
    task: Arc<str>,
    source: Error,
}

/// Runs `runnable` in a `tracing` span named `task`, whose field `kind` is `kind`; if it fails, the error is
/// a [`TaskError`].
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
        let span = info_span!(parent: start.span(), "task", kind = &*kind);
        start.in_span(span).spawn(move |run| async move {
            let started = runnable.start(Start::part_of(&run, run.sure()))?;
            let ended = started.closed().await;
            ended.map_err(|source| {
                Error::failed(run.label(), Box::new(TaskError { task: kind, source }))
            })
        })
    })
}

/// Runs `runnable` in a `tracing` span named `region`, whose field `kind` is `kind`. Its errors are as they
/// are.
#[track_caller]
pub fn trace_region(kind: impl Into<Arc<str>>, runnable: Runnable) -> Runnable {
    let kind = kind.into();
    Runnable::new(move |start| {
        let span = info_span!(parent: start.span(), "region", kind = &*kind);
        runnable.start(start.in_span(span))
    })
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
