//! Work that runs to its end: [`concurrent`], [`concurrent_group`], [`sequence`].
//!
//! With one part, each of them is that part; with none, it is [`nop`](crate::nop). Who starts them waits for their end,
//! so that it matters little whether a part says that it is ready; the whole is ready when all its parts have
//! said it.

use procession::Error;

use crate::group::{Stop, start_all, start_part, whole};
use crate::ready::{Ready, Unready};
use crate::runnable::{Runnable, Start};

/// All at once, each to its end, also when another fails. All errors are in the outcome, in the order of the
/// parts.
///
/// ```
/// use procession::{Error, Process};
/// use procession_runnable::{body, concurrent, run_to_end};
///
/// let fails = |what: &'static str| body(move |_| async move { Err(what) });
/// let app = Process::new();
/// let both = concurrent([fails("no disk"), fails("no network")]);
/// let ended = futures_lite::future::block_on(run_to_end(&app, &both));
/// let Err(Error::Many(errors)) = ended else { panic!() };
/// assert_eq!(errors.iter().count(), 2);
/// ```
#[track_caller]
pub fn concurrent(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    whole(parts, |parts, start| {
        start.spawn(move |run| async move {
            let processes = match start_all(&parts, &run, run.sure()) {
                Ok(processes) => processes,
                Err(result) => return result,
            };
            let mut errors = Vec::new();
            for process in processes {
                errors.extend(process.closed().await.err());
            }
            Error::all(errors)
        })
    })
}

/// All at once; the first error closes the others, and waits for them. On the happy path too, nothing is left
/// running.
#[track_caller]
pub fn concurrent_group(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    whole(parts, |parts, start| {
        start.spawn_group(move |run| async move {
            let (all, readiness) = Ready::pair();
            if let Err(result) = start_all(&parts, &run, all) {
                return result;
            }
            match run.run_until_closing(readiness).await {
                Some(Ok(())) => run.ready(),
                // The error of the part which failed closes the group.
                Some(Err(Unready::Failed)) | None => run.not_ready(),
                // It may well be done without having been ready.
                Some(Err(Unready::Ended(_))) => {}
            }
            Ok(())
        })
    })
}

/// One after the other, each to its end; the first error ends it, and the rest is never started.
#[track_caller]
pub fn sequence(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    whole(parts, |parts, start| {
        start.spawn(move |run| async move {
            for (part, ready) in parts.iter().zip(run.sure().split(parts.len())) {
                let process = match start_part(&run, part, Start::part_of(&run, ready)) {
                    Stop::Yes(result) => return result,
                    Stop::No(process) => process,
                };
                process.closed().await?;
            }
            Ok(())
        })
    })
}
