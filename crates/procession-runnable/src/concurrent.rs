//! Work that runs to its end: [`concurrent`], [`concurrent_group`], [`sequence`].
//!
//! With one part, each of them is that part; with none, it is [`nop`](crate::nop). Callers usually wait for the end of
//! such work, so the parts need not report that they are ready. The whole is ready once all its parts are.

use std::ops::ControlFlow;

use procession::support::wait_for_own_children;

use crate::errors::Errors;
use crate::group::{combine, start_all, start_part};
use crate::ready::{NotReady, Ready};
use crate::runnable::Runnable;
use crate::start::Start;

/// Runs all parts at once, each to its end, even if another part fails. All errors are in the outcome, in the order of
/// the parts.
///
/// ```
/// use procession::{Error, Process};
/// use procession_runnable::{body, concurrent, run_to_end};
///
/// let fails = |why: &'static str| body(move |_| async move { Err(why) });
/// let app = Process::new();
/// let both = concurrent([fails("no disk"), fails("no network")]);
/// let ended = futures_lite::future::block_on(run_to_end(&app, &both));
/// let Err(Error::Many(errors)) = ended else { panic!() };
/// assert_eq!(errors.iter().count(), 2);
/// ```
#[track_caller]
pub fn concurrent(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    combine(parts, |parts, start| {
        start.spawn(move |run| async move {
            let mut errors = Errors::of_parts(&run);
            let mut started = Vec::with_capacity(parts.len());
            for (part, ready) in parts.iter().zip(run.readiness_of_parts().split(parts.len())) {
                if run.is_closing() {
                    break;
                }
                started.push(part.start(Start::part_of(&run, ready)));
            }
            for started in started {
                match started {
                    Ok(process) => {
                        errors.add_outcome(wait_for_own_children(&run, process.closed()).await);
                    }
                    Err(error) => errors.add_refused(error),
                }
            }
            errors.into_result()
        })
    })
}

/// Runs all parts at once, each to its end. The first error closes the other parts, and the group ends once they have
/// ended.
///
/// When the group has ended, so have all processes that the parts started, even if no part failed.
#[track_caller]
pub fn concurrent_group(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    combine(parts, |parts, start| {
        start.spawn_group(move |run| async move {
            let (all, readiness) = Ready::pair();
            if let Err(result) = start_all(&parts, &run, all) {
                return result;
            }
            match readiness.until_closing(&run).await {
                Ok(()) => run.ready(),
                // A part may finish without having been ready.
                Err(NotReady::Ended(_)) => {}
                // The error of the part that failed closes the group.
                Err(NotReady::Failed | NotReady::Closed) => run.not_ready(),
            }
            Ok(())
        })
    })
}

/// Runs one part after the other, each to its end. The first error ends the sequence, and the remaining parts are not
/// started.
#[track_caller]
pub fn sequence(parts: impl IntoIterator<Item = Runnable>) -> Runnable {
    combine(parts, |parts, start| {
        start.spawn_group(move |run| async move {
            for (part, ready) in parts.iter().zip(run.readiness_of_parts().split(parts.len())) {
                let process = match start_part(&run, part, Start::part_of(&run, ready)) {
                    ControlFlow::Break(result) => return result,
                    ControlFlow::Continue(process) => process,
                };
                if wait_for_own_children(&run, process.closed()).await.is_err() {
                    // The error of the part closes the sequence.
                    break;
                }
            }
            Ok(())
        })
    })
}
