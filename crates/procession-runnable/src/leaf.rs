//! Runnables that combine no others: closures, [`leaf`], [`start_stop`], [`nop`].

use std::future::Future;
use std::sync::Arc;

use procession::{Error, IntoOutcome, Process};

use crate::runnable::{Run, Runnable, Start, below};

/// An async closure: it is ready when it says so, and ends on its own or when it is asked to.
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

/// A blocking closure, which has a thread while it runs: [`body`] in every other respect.
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

/// Runs `run`, and calls `graceful_stop` on closing, while `run` goes on: it is to make `run` end, and sees
/// [`aborting`](Process::aborting) of the process that it is given as its deadline.
///
/// The run ends after both have. Its outcome has the error of `graceful_stop` before that of `run`.
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
///             told.recv().await // serve, until told to stop
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
    leaf_of(body(run), move |process| {
        let graceful_stop = graceful_stop.clone();
        below(process).spawn(move |process| graceful_stop(process)).map(Some)
    })
}

/// [`leaf`], with blocking functions, each of which has a thread while it runs.
#[track_caller]
pub fn leaf_thread<F, R, S, Stopped>(run: F, graceful_stop: S) -> Runnable
where
    F: Fn(Run) -> R + Send + Sync + 'static,
    R: IntoOutcome,
    S: Fn(Process) -> Stopped + Send + Sync + 'static,
    Stopped: IntoOutcome,
{
    let graceful_stop = Arc::new(graceful_stop);
    leaf_of(body_thread(run), move |process| {
        let graceful_stop = graceful_stop.clone();
        below(process).spawn_thread(move |process| graceful_stop(process)).map(Some)
    })
}

/// A leaf without a graceful stop: closing aborts `run`. A future is dropped; that is its end, and no
/// failure.
#[track_caller]
pub fn leaf_without_stop<F, Fut>(run: F) -> Runnable
where
    F: Fn(Run) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    leaf_of(body(run), |_| Ok(None))
}

/// [`leaf_without_stop`], with a blocking function: it sees [`aborting`](Process::aborting).
#[track_caller]
pub fn leaf_thread_without_stop<F, R>(run: F) -> Runnable
where
    F: Fn(Run) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    leaf_of(body_thread(run), |_| Ok(None))
}

/// `stop` starts the graceful stop, if there is one.
#[track_caller]
fn leaf_of(
    work: Runnable,
    stop: impl Fn(&Process) -> Result<Option<Process>, Error> + Send + Sync + 'static,
) -> Runnable {
    let stop = Arc::new(stop);
    Runnable::new(move |start| {
        let (work, stop) = (work.clone(), stop.clone());
        start.spawn(move |run| async move {
            let working = work.start(Start::part_of(&run, run.sure()))?;
            let ended = run.run_until_closing(working.closed()).await;
            // A run that ended because it saw the closing is stopped all the same.
            if let (Some(ended), false) = (ended, run.is_closing()) {
                return ended;
            }
            let stopped = match stop(&run)? {
                Some(stopping) => stopping.closed().await,
                None => {
                    working.abort();
                    Ok(())
                }
            };
            let worked = match working.closed().await {
                // What was to end so has not failed.
                Err(Error::Aborted(_)) => Ok(()),
                worked => worked,
            };
            Error::all([stopped, worked].into_iter().filter_map(Result::err))
        })
    })
}

/// Ready when `start` has returned; `stop` runs on closing, as the teardown. If `start` fails, that is the
/// outcome, and `stop` is not called.
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
            functions.0(run.process().clone()).await.into_outcome()?;
            run.set_teardown_async(move || functions.1())?;
            run.ready();
            run.closing().await;
            procession::ok()
        }
    })
}

/// [`start_stop`], with blocking functions: `start` has a thread while it runs, `stop` a pooled one; between
/// them there is none.
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
            let starting = functions.clone();
            let started = below(&run).spawn_thread(move |process| starting.0(process))?;
            started.closed().await?;
            run.set_teardown(move || functions.1())?;
            run.ready();
            run.closing().await;
            procession::ok()
        }
    })
}

/// Nothing: ready at once, and ended at once.
#[track_caller]
pub fn nop() -> Runnable {
    body(|run| async move { run.ready() })
}

/// Names a runnable: its process is called so, and with that its errors. A name within a name stands after
/// it: `outer/inner`.
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
#[track_caller]
pub fn named(name: impl Into<Arc<str>>, runnable: Runnable) -> Runnable {
    let name = name.into();
    Runnable::new(move |start| runnable.start(start.named(&name)))
}
