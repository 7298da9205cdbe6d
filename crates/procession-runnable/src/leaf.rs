//! Runnables that combine no others: closures, [`leaf`], [`start_stop`], [`nop`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use procession::support::wait_for_own_children;
use procession::{Error, IntoOutcome, Process};

use crate::errors::Errors;
use crate::runnable::Runnable;
use crate::start::{Run, Start, below};
use crate::wraps::Wrap;

/// An async closure. It calls [`Run::ready`] when it is ready, and ends when it returns: when its work is done, or
/// because it was asked to stop.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{body, run_in};
///
/// let server = body(|run| async move {
///     // bind
///     run.ready();
///     run.closing().await;
/// });
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &server, |_| async { println!("serving") }))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn body<F, Fut>(body: F) -> Runnable
where
    F: Fn(Run) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    let body = Arc::new(body);
    Runnable::new(move |start| {
        let body = body.clone();
        start.spawn(move |run| body(run))
    })
}

/// [`body`] with a blocking closure, which has a thread of its own while it runs.
#[track_caller]
pub fn body_thread<F, R>(body: F) -> Runnable
where
    F: Fn(Run) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    let body = Arc::new(body);
    Runnable::new(move |start| {
        let body = body.clone();
        start.spawn_thread(move |run| body(run))
    })
}

/// Runs `run`, and on closing calls `graceful_stop`, which must make `run` end. Both run at the same time.
/// `graceful_stop` may take until the process that it is given is [`aborting`](Process::aborting).
///
/// The runnable ends once both have ended. In its outcome, the error of `graceful_stop` comes before that of `run`. If
/// `run` ends because closing aborts it, that is not an error.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{leaf, run_in};
///
/// let (tell, told) = smol::channel::bounded(1);
/// let server = leaf(
///     move |run| {
///         let told = told.clone();
///         async move {
///             run.ready();
///             told.recv().await // serves until it is told to stop
///         }
///     },
///     move |_| {
///         let tell = tell.clone();
///         async move { tell.send(()).await }
///     },
/// );
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &server, |_| async {}))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn leaf<F, Fut, S, Stop>(run: F, graceful_stop: S) -> Runnable
where
    F: Fn(Run) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
    S: Fn(Process) -> Stop + Send + Sync + 'static,
    Stop: Future<Output: IntoOutcome> + Send + 'static,
{
    let graceful_stop = Arc::new(graceful_stop);
    leaf_of(body(run), move |process, _| {
        let graceful_stop = graceful_stop.clone();
        below(process).spawn(move |process| graceful_stop(process)).map(Some)
    })
}

/// [`leaf`] with blocking functions, each of which has a thread of its own while it runs.
#[track_caller]
pub fn leaf_thread<F, R, S, Stopped>(run: F, graceful_stop: S) -> Runnable
where
    F: Fn(Run) -> R + Send + Sync + 'static,
    R: IntoOutcome,
    S: Fn(Process) -> Stopped + Send + Sync + 'static,
    Stopped: IntoOutcome,
{
    let graceful_stop = Arc::new(graceful_stop);
    leaf_of(body_thread(run), move |process, _| {
        let graceful_stop = graceful_stop.clone();
        below(process).spawn_thread(move |process| graceful_stop(process)).map(Some)
    })
}

/// [`leaf`] without a graceful stop: closing drops the future of `run` and aborts the processes below it, which does
/// not count as a failure.
#[track_caller]
pub fn leaf_without_stop<F, Fut>(run: F) -> Runnable
where
    F: Fn(Run) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    let run = Arc::new(run);
    let work = body(move |working| {
        let run = run.clone();
        async move {
            match working.run_until_closing(run(working.clone())).await {
                Some(result) => result.into_outcome(),
                None => {
                    working.abort();
                    Ok(())
                }
            }
        }
    });
    leaf_of(work, |_, _| Ok(None))
}

/// [`leaf_without_stop`] with a blocking function, which must return once its process is
/// [`aborting`](Process::aborting).
#[track_caller]
pub fn leaf_thread_without_stop<F, R>(run: F) -> Runnable
where
    F: Fn(Run) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    leaf_of(body_thread(run), |_, working| {
        working.abort();
        Ok(None)
    })
}

/// `stop` is called on closing, with the process of the leaf and the process of `work`. It returns the process of the
/// graceful stop, if there is one.
#[track_caller]
fn leaf_of(
    work: Runnable,
    stop: impl Fn(&Process, &Process) -> Result<Option<Process>, Error> + Send + Sync + 'static,
) -> Runnable {
    let stop = Arc::new(stop);
    Runnable::new(move |start| {
        let (work, stop) = (work.clone(), stop.clone());
        start.spawn(move |run| async move {
            let mut errors = Errors::of_parts(&run);
            let working = match work.start(Start::part_of(&run, run.readiness_of_parts())) {
                Ok(working) => working,
                Err(error) => {
                    errors.add_refused(error);
                    return errors.into_result();
                }
            };
            let ended = run.run_until_closing(working.closed()).await;
            // A run that ended because it saw closing begin is stopped as well.
            if let (Some(ended), false) = (ended, run.is_closing()) {
                errors.add_outcome(ended);
                return errors.into_result();
            }
            match stop(&run, &working) {
                Ok(Some(stopping)) => {
                    errors.add_outcome(wait_for_own_children(&run, stopping.closed()).await);
                }
                Ok(None) => {}
                Err(error) => errors.add_refused(error),
            }
            match wait_for_own_children(&run, working.closed()).await {
                // Its own abort ended it. That of another process would be an error like any other.
                Err(Error::Aborted(label)) if label.id() == working.id() => {}
                worked => errors.add_outcome(worked),
            }
            errors.into_result()
        })
    })
}

/// A function that starts something and one that stops it. The runnable is ready once `start` has succeeded, and `stop`
/// runs on closing, as the teardown.
///
/// `stop` runs exactly once for each `start` that succeeds, even if the runnable is aborted. If `start` fails, or an
/// abort drops its future, `stop` does not run.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{run_in, start_stop};
///
/// let cache = start_stop(|_| async { println!("filled") }, || async { println!("saved") });
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &cache, |_| async { println!("used") }))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn start_stop<F, Fut, S, Stop>(start: F, stop: S) -> Runnable
where
    F: Fn(Process) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
    S: Fn() -> Stop + Send + Sync + 'static,
    Stop: Future<Output: IntoOutcome> + Send + 'static,
{
    let functions = Arc::new((start, stop));
    body(move |run| {
        let functions = functions.clone();
        async move {
            {
                let mut start = pin!((functions.0)(run.process().clone()));
                start.as_mut().await.into_outcome()?;
                // The future is dropped after this, because its drop may panic.
                let stop = move || (functions.1)();
                match run.set_teardown_async(stop.clone()) {
                    // `start` has set a teardown of its own.
                    Err(Error::TeardownSet(_)) => drop(below(&run).teardown_async(stop).build()?),
                    result => result?,
                }
            }
            run.ready();
            run.closing().await;
            procession::ok()
        }
    })
}

/// [`start_stop`] with blocking functions: `start` has a thread of its own while it runs, and `stop` runs on a thread
/// of a pool. In between, the runnable has no thread. An abort does not interrupt `start`: if `start` succeeds after
/// the abort, `stop` runs.
#[track_caller]
pub fn start_stop_thread<F, R, S, Stopped>(start: F, stop: S) -> Runnable
where
    F: Fn(Process) -> R + Send + Sync + 'static,
    R: IntoOutcome,
    S: Fn() -> Stopped + Send + Sync + 'static,
    Stopped: IntoOutcome,
{
    let functions = Arc::new((start, stop));
    body(move |run| {
        let functions = functions.clone();
        async move {
            let mut errors = Errors::of_parts(&run);
            let process = run.process().clone();
            // The thread itself sets the teardown, because an abort may have dropped this future by then. The teardown
            // of `process` cannot have started by then, because `process` waits for the thread.
            let starting = below(&run).spawn_thread(move |starting| {
                (functions.0)(starting).into_outcome()?;
                let stop = move || (functions.1)();
                match process.set_teardown(stop.clone()) {
                    Err(Error::TeardownSet(_)) => drop(below(&process).teardown(stop).build()?),
                    result => result?,
                }
                procession::ok()
            });
            match starting {
                Ok(starting) => {
                    errors.add_outcome(wait_for_own_children(&run, starting.closed()).await);
                }
                Err(error) => errors.add_refused(error),
            }
            errors.into_result()?;
            run.ready();
            run.closing().await;
            procession::ok()
        }
    })
}

/// Nothing: it is ready at once, and ends at once.
#[track_caller]
pub fn nop() -> Runnable {
    body(|run| async move { run.ready() })
}

/// Gives a runnable a name, which its process and its errors have. If the runnable already has a name, the result is
/// `outer/inner`.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{body, named, run_in};
///
/// let database = named("database", body(|_| async { Err("no such file") }));
/// let app = Process::new();
/// let ended = futures_lite::future::block_on(run_in(&app, &database, |_| async {}));
/// assert_eq!(ended.unwrap_err().with_causes().to_string(), "process `database` failed: no such file");
/// ```
pub fn named(name: impl Into<Arc<str>>, runnable: Runnable) -> Runnable {
    runnable.wrapped(Wrap::Name(name.into()))
}
