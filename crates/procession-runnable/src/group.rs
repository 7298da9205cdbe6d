//! Groups whose parts run together: [`parallel`], [`sequential`], [`chain`].
//!
//! A group is a process, and its parts are its children. These rules hold for any number of parts; with one part, the
//! group is that part, and with none, it is [`nop`].
//!
//! - The group is ready once all its parts are.
//! - A part that fails, before it is ready or after, closes the group, and with it the other parts, gracefully. All
//!   errors are in the outcome of the group, beginning with that of the part that failed first.
//! - A part that ends without an error before it was ready has not started: the group fails with
//!   [`NotReady::Ended`].
//! - A part may end without an error after it was ready. The group ends when all its parts have.
//! - When the group closes, the parts that have started are stopped, and the others are not started.

use std::ops::ControlFlow;
use std::sync::Arc;

use procession::support::{catch, panicked};
use procession::{Error, Process};

use crate::errors::is_failure_of_part;
use crate::leaf::nop;
use crate::ready::{NotReady, Ready};
use crate::runnable::Runnable;
use crate::start::{Run, Start};

/// Starts all parts at once, and stops all at once.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{body, named, parallel, run_in};
///
/// let part = |name| {
///     named(name, body(|run| async move {
///         run.ready();
///         run.closing().await;
///     }))
/// };
/// let both = parallel([part("left"), part("right")]);
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &both, |_| async { println!("both are ready") }))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn parallel(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    group(parts, |parts, run| async move {
        let (all, readiness) = Ready::pair();
        if let Err(result) = start_all(&parts, &run, all) {
            return result;
        }
        match readiness.until_closing(&run).await {
            Ok(()) => run.ready(),
            Err(not_ready) => return end(&run, not_ready),
        }
        Ok(())
    })
}

/// Starts one part after the other: each starts once the previous one is ready, and each begins to stop once the next
/// one is Closed.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{run_in, sequential, start_stop};
/// use std::sync::{Arc, Mutex};
///
/// let steps = Arc::new(Mutex::new(Vec::new()));
/// let part = |name: &'static str| {
///     let (up, down) = (steps.clone(), steps.clone());
///     start_stop(
///         move |_| { up.lock().unwrap().push(format!("{name} up")); async {} },
///         move || { down.lock().unwrap().push(format!("{name} down")); async {} },
///     )
/// };
/// let app = Process::new();
/// let stack = sequential([part("database"), part("http")]);
/// futures_lite::future::block_on(run_in(&app, &stack, |_| async {}))?;
/// assert_eq!(*steps.lock().unwrap(), ["database up", "http up", "http down", "database down"]);
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn sequential(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    group(parts, |parts, run| one_by_one(parts, run, false))
}

/// [`sequential`], but each part also is a child of the process of the previous part. So a part that closes, for
/// whatever reason, closes the next part and waits for it.
///
/// In [`sequential`], a part that closes without an error does not affect the other parts.
#[track_caller]
pub fn chain(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    group(parts, |parts, run| one_by_one(parts, run, true))
}

async fn one_by_one(parts: Arc<[Runnable]>, run: Run, nested: bool) -> Result<(), Error> {
    let mut last: Option<Process> = None;
    for part in &*parts {
        let (ready, readiness) = Ready::pair();
        let mut start = Start::part_of(&run, ready);
        if let Some(before) = &last {
            start = start.after(before);
        }
        let process = match start_part(&run, part, start) {
            ControlFlow::Break(result) => return result,
            ControlFlow::Continue(process) => process,
        };
        if let (Some(before), true) = (&last, nested) {
            // This is refused if the previous part has ended without an error. Then the parts inside it continue.
            let _ended = before.add_child(&process);
        }
        match readiness.until_closing(&run).await {
            Ok(()) => last = Some(process),
            Err(not_ready) => return end(&run, not_ready),
        }
    }
    run.ready();
    Ok(())
}

#[track_caller]
fn group<F, Fut>(parts: impl IntoIterator<Item = Runnable>, drive: F) -> Runnable
where
    F: Fn(Arc<[Runnable]>, Run) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    combine(parts, move |parts, start| {
        let drive = drive.clone();
        start.spawn_group(move |run| drive(parts, run))
    })
}

/// Combines parts. A single part is returned as it is, and no parts are [`nop`].
#[track_caller]
pub(crate) fn combine<S>(parts: impl IntoIterator<Item = Runnable>, start_whole: S) -> Runnable
where
    S: Fn(Arc<[Runnable]>, Start<'_>) -> Result<Process, Error> + Send + Sync + 'static,
{
    let parts: Arc<[Runnable]> = parts.into_iter().collect();
    match &*parts {
        [] => nop(),
        [one] => one.clone(),
        _ => Runnable::new(move |start| start_whole(parts.clone(), start)),
    }
}

/// Starts all parts. `Err` has the result of the group if a part cannot be started. A panic ends the loop, as does any
/// error that is not a failure of the part, so one catch around the loop is enough.
pub(crate) fn start_all(
    parts: &[Runnable],
    run: &Run,
    all: Ready,
) -> Result<(), Result<(), Error>> {
    let started = catch(|| {
        for (part, ready) in parts.iter().zip(all.split(parts.len())) {
            let start = || part.start_uncaught(Start::part_of(run, ready));
            if let ControlFlow::Break(result) = start_part_with(run, start) {
                return Err(result);
            }
        }
        Ok(())
    });
    started.unwrap_or_else(|message| Err(Err(panicked(run.label(), message))))
}

/// Starts a part, unless the group is closing. `Break` has the result of the group if the group ends instead. The group
/// must be one that the failure of a part closes.
pub(crate) fn start_part(
    run: &Run,
    part: &Runnable,
    start: Start<'_>,
) -> ControlFlow<Result<(), Error>, Process> {
    start_part_with(run, || part.start(start))
}

/// [`start_part`], with a function that starts the part.
#[inline]
fn start_part_with(
    run: &Run,
    start: impl FnOnce() -> Result<Process, Error>,
) -> ControlFlow<Result<(), Error>, Process> {
    if run.is_closing() {
        run.not_ready();
        return ControlFlow::Break(Ok(()));
    }
    match start() {
        Ok(process) => ControlFlow::Continue(process),
        // The failure of the part closes the group.
        Err(error) if is_failure_of_part(&error) => {
            run.not_ready();
            ControlFlow::Break(Ok(()))
        }
        // The process that the part would have run under was closed first.
        Err(Error::Link(_)) if run.is_closing() => {
            run.not_ready();
            ControlFlow::Break(Ok(()))
        }
        Err(error) => ControlFlow::Break(Err(error)),
    }
}

/// The result of a group with a part that cannot become ready. If the part failed, its error is not returned here,
/// because the failure itself closes the group.
fn end(run: &Run, not_ready: NotReady) -> Result<(), Error> {
    match not_ready {
        NotReady::Ended(label) => Err(NotReady::of(label)),
        NotReady::Failed | NotReady::Closed => {
            run.not_ready();
            Ok(())
        }
    }
}
