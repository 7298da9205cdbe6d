//! Running a runnable: around a body ([`run_in`]), to its end ([`run_to_end`]), or as a program ([`run`],
//! [`run_with`]).

use std::future::{Future, pending};

#[cfg(not(loom))]
use procession::support::{block_on, program_is_ready};
use procession::support::{close_when_at, run_at, run_blocking_at, wait_for_own_children};
use procession::{BoxError, Error, IntoOutcome, Process, Reason, Site};
#[cfg(not(loom))]
use procession::{ChildFailure, Exit, Main};

use crate::errors::Errors;
use crate::ready::NotReady;
use crate::runnable::Runnable;
use crate::start::{Start, below};

/// Starts `runnable` under `parent`, runs `body` once it is ready, and stops it once the body has ended.
///
/// The body does not run if the runnable fails to start, or if `parent` closes first. If the runnable fails while the
/// body runs, the process of the body closes. All errors are in the outcome, with the body's error before those of the
/// runnable. Hooks above are called once for each failure.
///
/// # Errors
///
/// Those of the outcome. [`NotReady::Ended`] if the runnable ends without an error before it is ready.
/// [`Error::Closed`] if the teardown of `parent` has started.
///
/// # Cancel safety
///
/// If the future is dropped before its end, the body is dropped and the runnable closes.
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

/// [`run_in`], with an explicit site.
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
    run_at(site, parent, move |p| run_around(site, p, runnable, body))
}

/// [`run_in_at`], blocking: the future of the body is polled on this thread, which waits for the end of the run.
///
/// # Errors
///
/// Those of [`run_in`], and [`Error::Deadlock`].
#[doc(hidden)]
pub fn run_in_blocking_at<F, Fut>(
    site: Site,
    parent: &Process,
    runnable: &Runnable,
    body: F,
) -> Result<(), Error>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let runnable = runnable.clone();
    run_blocking_at(site, parent, move |p| run_around(site, p, runnable, body))
}

/// The body of a process that runs `runnable` around `body`.
async fn run_around<F, Fut>(
    site: Site,
    process: Process,
    runnable: Runnable,
    body: F,
) -> Result<(), BoxError>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    if process.is_closing() {
        return Ok(());
    }
    let mut errors = Errors::of_parts(&process);
    let (start, readiness) = Start::under(&process);
    let started = match runnable.start(start) {
        Ok(started) => started,
        Err(error) => {
            errors.add_refused(error);
            return errors.into_result();
        }
    };
    match readiness.until_closing(&process).await {
        Ok(()) if !process.is_closing() => {
            let inside = run_inside(site, &process, &started, body);
            match wait_for_own_children(&process, inside).await {
                Ok(outcome) => errors.add_outcome(outcome),
                Err(error) => errors.add_own(error),
            }
        }
        Err(NotReady::Ended(label)) => errors.add_own(NotReady::of(label)),
        // The outcome of the run has the details.
        Ok(()) | Err(NotReady::Failed | NotReady::Closed) => {}
    }
    // This also shows in snapshots that the run is ending.
    process.close();
    errors.add_outcome(wait_for_own_children(&process, started.closed()).await);
    errors.into_result()
}

/// Runs `body` in a process below `process` that closes if `started` fails, and returns the outcome of the body.
async fn run_inside<F, Fut>(
    site: Site,
    process: &Process,
    started: &Process,
    body: F,
) -> Result<Result<(), Error>, Error>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let inside = below(process).build()?;
    close_when_at(site, &inside, failure_of(started))?;
    let outcome = match run_at(site, &inside, body).await {
        // The runnable failed before the body could begin.
        Err(Error::Closed(label)) if label == inside.label() => Ok(()),
        outcome => outcome,
    };
    inside.close();
    Ok(outcome)
}

/// Is ready when the run begins to close because it has failed, and never if it begins to close for another reason.
fn failure_of(started: &Process) -> impl Future<Output = ()> + Send + use<> {
    let started = started.clone();
    async move {
        started.closing().await;
        if !matches!(started.reason(), Some(Reason::BodyFailed | Reason::ChildFailed(_))) {
            pending::<()>().await;
        }
    }
}

/// Starts `runnable` under `parent` at once, and returns a future that waits for its end.
///
/// # Errors
///
/// Those of the outcome, and those of [`Runnable::start`].
///
/// # Cancel safety
///
/// If the future is dropped before its end, the runnable continues.
pub fn run_to_end(
    parent: &Process,
    runnable: &Runnable,
) -> impl Future<Output = Result<(), Error>> + Send + use<> {
    let started = runnable.start(Start::under(parent).0);
    async move { started?.closed().await }
}

/// Runs `runnable` as a program, as [`procession::main`] runs a body. Signals close it.
///
/// The outcome of the runnable is that of the program. To change the settings of [`Main`], such as the grace, use
/// [`run_with`].
///
/// # Blocking
///
/// Blocks the thread until the runnable is Closed.
///
/// ```no_run
/// use procession_runnable::{named, run, sequential, start_stop};
///
/// fn main() -> procession::Exit {
///     let database = start_stop(|_| async { println!("open") }, || async { println!("close") });
///     run(&sequential([named("database", database)]))
/// }
/// ```
#[cfg(not(loom))]
#[track_caller]
pub fn run(runnable: &Runnable) -> Exit {
    run_with(Main::new(), runnable)
}

/// The async form of [`run`].
///
/// # Cancel safety
///
/// If the future is dropped before its end, the runnable closes.
#[cfg(not(loom))]
#[track_caller]
pub fn run_async(runnable: &Runnable) -> impl Future<Output = Exit> + use<> {
    run_with_async(Main::new(), runnable)
}

/// [`run`], with the settings of [`Main`].
///
/// Whatever [`Main::on_child_failure`] says, the failure of the runnable becomes the outcome of the program, and is
/// reported once, when the program ends. Failures below the runnable are reported as usual. A runnable that ends before
/// it is ready has failed, with [`NotReady::Ended`].
///
/// # Blocking
///
/// Blocks the thread until the runnable is Closed.
///
/// ```no_run
/// use procession::Main;
/// use procession_runnable::{named, run_with, sequential, start_stop};
/// use std::time::Duration;
///
/// fn main() -> procession::Exit {
///     let database = start_stop(|_| async { println!("open") }, || async { println!("close") });
///     let main = Main::new().name("app").grace(Duration::from_secs(30));
///     run_with(main, &sequential([named("database", database)]))
/// }
/// ```
#[cfg(not(loom))]
#[track_caller]
pub fn run_with(main: Main, runnable: &Runnable) -> Exit {
    as_program(main).run(|root| block_on(start_in_root(root, runnable.clone())))
}

/// The async form of [`run_with`].
///
/// # Cancel safety
///
/// If the future is dropped before its end, the runnable closes.
#[cfg(not(loom))]
#[track_caller]
pub fn run_with_async(main: Main, runnable: &Runnable) -> impl Future<Output = Exit> + use<> {
    let runnable = runnable.clone();
    as_program(main).run_async(move |root| start_in_root(root, runnable))
}

/// With this setting, the failure of the runnable closes the root, and is part of its outcome.
#[cfg(not(loom))]
fn as_program(main: Main) -> Main {
    main.on_child_failure(ChildFailure::Close)
}

/// The body of the root: starts the runnable, and ends once the runnable is ready or can no longer become ready. The
/// root stays open until the runnable, its child, is Closed. Because the body has ended by then, a closing that takes
/// long lists only the runnable.
#[cfg(not(loom))]
async fn start_in_root(root: Process, runnable: Runnable) -> Result<(), Error> {
    let (start, readiness) = Start::under(&root);
    drop(runnable.start(start)?);
    match readiness.until_closing(&root).await {
        Ok(()) => {
            program_is_ready(&root);
            Ok(())
        }
        Err(NotReady::Ended(label)) => Err(NotReady::of(label)),
        // The outcome of the runnable has the details.
        Err(NotReady::Failed | NotReady::Closed) => Ok(()),
    }
}
