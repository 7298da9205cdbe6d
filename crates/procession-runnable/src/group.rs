//! Groups whose parts run together: [`parallel`], [`sequential`], [`chain`].
//!
//! A group is a process, and its parts are its children. What is said here holds for any number of parts:
//! with one, the group is that part; with none, it is [`nop`].
//!
//! - The group is ready when all its parts are.
//! - A part that fails, before it is ready or after, closes the group, and so the other parts, gracefully.
//!   All errors are in the outcome of the group, that of the part which failed first before the others.
//! - A part that ends without an error before it was ready has not started: the group fails with
//!   [`NotReady`].
//! - A part that ends without an error after it was ready just ends. The group ends when all its parts have.
//! - When the group closes, what has started is stopped, and what has not is not started.

use std::sync::Arc;

use procession::{Error, Label, Process};

use crate::leaf::nop;
use crate::ready::{Ready, Sure, Unready};
use crate::runnable::{Run, Runnable, Start};

/// A part ended without an error and had not said that it was ready.
///
/// It is the [source](std::error::Error::source) of the [`Error::Failed`] of the group.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{label} ended before it was ready")]
pub struct NotReady {
    label: Label,
}

/// All at once: started side by side, stopped side by side.
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
        match run.run_until_closing(readiness).await {
            Some(Ok(())) => run.ready(),
            other => return not_ready(&run, other.and_then(Result::err)),
        }
        Ok(())
    })
}

/// One after the other: each starts when the one before is ready, and each begins to stop when the one after
/// it is Closed.
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

/// Nested: as [`sequential`], and each runs inside the one before, as a child of its process: it is closed
/// with that, and that is not Closed before it.
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
            Stop::Yes(result) => return result,
            Stop::No(process) => process,
        };
        if let (Some(before), true) = (&last, nested) {
            // One that has ended well lets what is inside it go on.
            let _ended = before.add_child(&process);
        }
        match run.run_until_closing(readiness).await {
            Some(Ok(())) => last = Some(process),
            other => return not_ready(&run, other.and_then(Result::err)),
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
    whole(parts, move |parts, start| {
        let drive = drive.clone();
        start.spawn_group(move |run| drive(parts, run))
    })
}

/// What none and one part are, in every combination: nothing, and itself.
#[track_caller]
pub(crate) fn whole<S>(parts: impl IntoIterator<Item = Runnable>, start_whole: S) -> Runnable
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

/// Starts all parts, or hands back what the group comes to instead.
pub(crate) fn start_all(
    parts: &[Runnable],
    run: &Run,
    all: Sure,
) -> Result<Vec<Process>, Result<(), Error>> {
    let mut processes = Vec::with_capacity(parts.len());
    for (part, ready) in parts.iter().zip(all.split(parts.len())) {
        match start_part(run, part, Start::part_of(run, ready)) {
            Stop::Yes(result) => return Err(result),
            Stop::No(process) => processes.push(process),
        }
    }
    Ok(processes)
}

/// Does the group go on after the start of a part?
pub(crate) enum Stop {
    Yes(Result<(), Error>),
    No(Process),
}

/// Starts a part, unless the group closes.
pub(crate) fn start_part(run: &Run, part: &Runnable, start: Start<'_>) -> Stop {
    if run.is_closing() {
        run.not_ready();
        return Stop::Yes(Ok(()));
    }
    match part.start(start) {
        Ok(process) => Stop::No(process),
        // It was not to be started any more.
        Err(_) if run.is_closing() => Stop::Yes(Ok(())),
        Err(error) => Stop::Yes(Err(error)),
    }
}

/// The outcome of a group with a part that is not ready. If the part failed, its error closes the group anyway; if no
/// part was lost, the group is closing.
fn not_ready(run: &Run, lost: Option<Unready>) -> Result<(), Error> {
    match lost {
        Some(Unready::Ended(label)) => Err(NotReady::of(label)),
        Some(Unready::Failed) | None => {
            run.not_ready();
            Ok(())
        }
    }
}

impl NotReady {
    /// The error of a group, or of a run, whose part `label` ended so.
    pub fn of(label: Label) -> Error {
        Error::failed(label.clone(), Box::new(Self { label }))
    }

    /// The part.
    pub fn process(&self) -> &Label {
        &self.label
    }
}
