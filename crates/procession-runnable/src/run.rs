//! Running a runnable: around a body ([`run_in`]), to its end ([`run_to_end`]), or as a program ([`run`]).

use std::future::{Future, pending};

use procession::support::{close_when_at, ignore_failures_of_children, run_at};
#[cfg(all(unix, not(loom)))]
use procession::{ChildFailure, Exit, Main};
use procession::{Error, IntoOutcome, Process, Reason, Site};

use crate::group::NotReady;
use crate::ready::Unready;
use crate::runnable::{Runnable, Start, below};

/// Starts `runnable` under `parent`, runs `body` when it is ready, and stops it when the body has ended.
///
/// The body is not run if the runnable fails to start, or if closing comes first. If the runnable fails while
/// the body runs, the process of the body closes. The outcome has the body's error before those of the
/// runnable; none is lost.
///
/// # Errors
///
/// The outcome's; [`NotReady`] if the runnable ends without an error before it is ready; [`Error::Closed`] if
/// the teardown of `parent` has started.
///
/// # Cancel safety
///
/// Dropping the future half-way drops the body and closes the runnable.
///
/// ```
/// use procession::{BoxError, Process};
/// use procession_runnable::{body, run_in};
///
/// let begun = Process::new();
/// let has_begun = begun.clone();
/// let fails = body(move |run| {
///     let has_begun = has_begun.closed();
///     async move {
///         run.ready();
///         has_begun.await?;
///         Err::<(), BoxError>("the disk is gone".into())
///     }
/// });
/// let app = Process::new();
/// let ended = run_in(&app, &fails, |p| async move {
///     begun.close();
///     p.closing().await; // the runnable has failed
///     Err("and so has the body")
/// });
/// let error = futures_lite::future::block_on(ended).unwrap_err();
/// assert!(error.to_string().starts_with("2 errors:"));
/// ```
#[track_caller]
pub fn run_in<F, Fut>(
    parent: &Process,
    runnable: &Runnable,
    body: F,
) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    run_in_at(Site::caller(), parent, runnable, body)
}

/// [`run_in`], with the place where its processes are said to be made.
#[doc(hidden)]
pub fn run_in_at<F, Fut>(
    site: Site,
    parent: &Process,
    runnable: &Runnable,
    body: F,
) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let runnable = runnable.clone();
    run_at(site, parent, move |p| async move {
        if p.is_closing() {
            return Ok(());
        }
        // The outcomes of both children are read here.
        ignore_failures_of_children(&p);
        let (start, readiness) = Start::under(&p);
        let started = runnable.start(start)?;
        match p.run_until_closing(readiness).await {
            Some(Ok(())) => {}
            Some(Err(Unready::Ended(label))) => {
                let ended = started.close().await.err();
                return Error::all(ended.into_iter().chain([NotReady::of(label)]));
            }
            Some(Err(Unready::Failed)) | None => return started.close().await,
        }
        let inside = below(&p).build()?;
        close_when_at(site, &inside, failing(&started))?;
        let result = match run_at(site, &inside, body).await {
            // The runnable has failed before the body could begin.
            Err(Error::Closed(label)) if label == inside.label() => Ok(()),
            result => result,
        };
        inside.close();
        let stopped = started.close().await;
        Error::all([result, stopped].into_iter().filter_map(Result::err))
    })
}

/// Ends when the run begins to close since it failed; one that ends well leaves the body alone.
fn failing(started: &Process) -> impl Future<Output = ()> + Send + use<> {
    let started = started.clone();
    async move {
        started.closing().await;
        if !matches!(started.reason(), Some(Reason::BodyFailed | Reason::ChildFailed(_))) {
            pending::<()>().await;
        }
    }
}

/// Starts `runnable` under `parent`, and waits for its end.
///
/// # Errors
///
/// The outcome's; [`Error::Link`] if the teardown of `parent` has started.
pub fn run_to_end(
    parent: &Process,
    runnable: &Runnable,
) -> impl Future<Output = Result<(), Error>> + Send + use<> {
    let started = runnable.start(Start::under(parent).0);
    async move { started?.closed().await }
}

/// Runs `runnable` as a program: what [`procession::main`] is for a body. Signals close it.
///
/// # Blocking
///
/// Blocks the thread until all of it is Closed.
///
/// ```no_run
/// use procession_runnable::{named, run, sequential, start_stop};
///
/// fn main() -> procession::Exit {
///     let database = start_stop(|_| async { println!("open") }, || async { println!("close") });
///     run(&sequential([named("database", database)]))
/// }
/// ```
#[cfg(all(unix, not(loom)))]
#[track_caller]
pub fn run(runnable: &Runnable) -> Exit {
    // The outcome of the runnable is that of the program.
    let main = Main::new().on_child_failure(ChildFailure::Ignore);
    main.run(|p| {
        let started = runnable.start(Start::under(&p).0)?;
        started.closed().wait()
    })
}

/// The async form of [`run`].
#[cfg(all(unix, not(loom)))]
#[track_caller]
pub fn run_async(runnable: &Runnable) -> impl Future<Output = Exit> + use<> {
    let runnable = runnable.clone();
    let main = Main::new().on_child_failure(ChildFailure::Ignore);
    main.run_async(move |p| async move { run_to_end(&p, &runnable).await })
}
