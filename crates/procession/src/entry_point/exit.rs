//! [`Exit`]: how a program ended.

use std::process::{ExitCode, Termination};

use super::reporter::write;
use super::shared::{FORCED, Facts, code_of};
use crate::process::Process;
use crate::run::catch::catch;
use crate::value::{Error, Forced, ProcessId, Reason};

/// How a program ended: the outcome of its root and the exit status. When it is returned from `fn main`, the error is
/// printed with its causes, and the exit status is set.
///
/// ```
/// let exit = procession::main(|p| {
///     p.close();
///     Err(std::io::Error::other("disk full"))
/// });
/// assert_eq!(exit.code(), 1);
/// let Err(procession::Error::Failed(failed)) = exit.result() else { panic!() };
/// assert_eq!(failed.get().to_string(), "disk full"); // the body's error itself
/// ```
#[derive(Clone, Debug)]
#[must_use = "return it from `main`, or look at its result"]
pub struct Exit {
    outcome: Result<(), Error>,
    code: u8,
    is_quiet: bool,
    /// The id of the root. That it was closed by force was already reported.
    root: ProcessId,
}

/// How the root ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// Everything that was aborted.
    pub(super) forced: Option<Forced>,
    /// The number of failures, including those of the root.
    pub(super) failures: usize,
}

impl Ended {
    pub(super) fn of(
        root: &Process,
        outcome: Result<(), Error>,
        facts: Facts,
        is_quiet: bool,
    ) -> Self {
        let errors = outcome.as_ref().err().map_or(&[][..], Error::each);
        // Only an `Error::Forced` of the root counts. Its outcome may also contain that of another process.
        let is_own = |forced: &&Forced| forced.process().id() == root.id();
        let forced = errors.iter().find_map(|error| match error {
            Error::Forced(forced) => Some(forced).filter(is_own),
            _ => None,
        });
        let own_failures = errors
            .iter()
            .filter(|error| !matches!(error, Error::Forced(forced) if is_own(&forced)));
        // Failures that the body has returned may be among the reported ones, so the numbers are not added.
        let failures = facts.failures.max(own_failures.count());
        // The root may have been Closed before the abort.
        let aborted_by = facts.aborted_by.filter(|_| root.is_aborting());
        let code = match (&aborted_by, forced, root.reason()) {
            (Some(aborted), ..) => code_of(aborted.signal),
            (None, Some(_), Some(Reason::Signal(signal))) => code_of(signal),
            (None, Some(_), _) => FORCED,
            (None, None, _) => u8::from(outcome.is_err() || failures > 0),
        };
        let forced = forced.cloned().or_else(|| aborted_by.map(|aborted| aborted.forced));
        Self { exit: Exit { outcome, code, is_quiet, root: root.id() }, forced, failures }
    }
}

impl Exit {
    /// The outcome of the root. An error that the body returned is in it [unchanged](crate::Failed::get).
    ///
    /// # Errors
    ///
    /// Those of the outcome.
    pub fn result(self) -> Result<(), Error> {
        self.outcome
    }

    /// The exit status. The first of these rules that applies decides:
    ///
    /// 1. 128 + n if signal n aborted the root, or began the grace that did;
    /// 2. 70 if a grace that was not begun by a signal had to abort it;
    /// 3. 1 if the outcome is an error, or if a failure was [not handled](crate::ChildFailure::Report);
    /// 4. 0.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code)
    }
}

/// Prints the error, if there is one, to standard error, or records it as an event if a subscriber wants the `tracing`
/// events of [`Main`](crate::Main). With [`quiet`](crate::Main::quiet), nothing is reported.
impl Termination for Exit {
    fn report(self) -> ExitCode {
        let is_reported = |error: &Error| matches!(error, Error::Forced(forced) if forced.process().id() == self.root);
        if let Err(error) = self.outcome.as_ref().map_err(Error::each) {
            let others = error.iter().filter(|error| !is_reported(error)).cloned();
            Error::all(others).err().iter().filter(|_| !self.is_quiet).for_each(print);
        }
        self.into()
    }
}

fn print(error: &Error) {
    #[cfg(feature = "tracing")]
    if catch(super::events::are_wanted).unwrap_or(false) {
        return crate::run::reports::record_outcome(error);
    }
    // A user's `Display` may panic.
    if let Ok(text) = catch(|| format!("{}\n", error.with_causes())) {
        write(&text);
    }
}
