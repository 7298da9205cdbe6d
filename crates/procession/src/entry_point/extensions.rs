//! Functions of users that `Main` calls with the root at the start and at the end of the program: what other crates extend
//! it with.
//!
//! Those for the end run on the reporter thread, in a catch, and with no lock held. *A forced end waits for them, but not
//! for long*, because the thread that ends the program waits with a limit.

use std::sync::Arc;
use std::time::Duration;

use super::Main;
use crate::process::Process;
use crate::run::catch::catch;
use crate::value::{BoxError, IntoOutcome};

/// A function for the start.
pub(super) type OnStart = Arc<dyn Fn(&Process) + Send + Sync>;

/// A function for the end.
pub(super) type AtEnd = Arc<dyn Fn(&Process) -> Result<(), BoxError> + Send + Sync>;

/// The time that a regular end waits for the functions.
pub(super) const REGULAR_LIMIT: Duration = Duration::from_secs(10);

/// The time that a forced end waits for them.
pub(super) const FORCED_LIMIT: Duration = Duration::from_secs(1);

impl Main {
    /// Calls `on_start` with the root before the body starts and before signals are bound, to set hooks on the root or to
    /// add children. There may be several. If it panics, the body does not run, and the outcome is an error.
    ///
    /// ```
    /// let main = procession::Main::new().on_start(|root| root.on_event(|event| println!("{event}")));
    /// # let exit = main.signals([]).run(|p| drop(p.close()));
    /// # assert_eq!(exit.code(), 0);
    /// ```
    pub fn on_start(mut self, on_start: impl Fn(&Process) + Send + Sync + 'static) -> Self {
        self.on_start.push(Arc::new(on_start));
        self
    }

    /// Calls `at_end` with the root when the program ends, for example to write what it has recorded: when the root is
    /// Closed, before [`run`](Self::run) returns, and before a third signal or the end of the
    /// [abort grace](Self::abort_grace) ends the program by force. There may be several.
    ///
    /// An error is reported like a failure, and changes neither the outcome nor the exit status. A regular end waits for
    /// the functions for at most 10 s, and a forced one for at most 1 s. They are not called if the future of
    /// [`run_async`](Self::run_async) is dropped early or if something else ends the program.
    ///
    /// ```
    /// let main = procession::Main::new().at_end(|root| println!("{:?}", root.outcome()));
    /// # let exit = main.signals([]).run(|p| drop(p.close()));
    /// # assert_eq!(exit.code(), 0);
    /// ```
    pub fn at_end<F, R>(mut self, at_end: F) -> Self
    where
        F: Fn(&Process) -> R + Send + Sync + 'static,
        R: IntoOutcome,
    {
        self.at_end.push(Arc::new(move |root| at_end(root).into_outcome()));
        self
    }
}

/// Calls the functions for the start.
pub(super) fn start(on_start: &[OnStart], root: &Process) -> Result<(), BoxError> {
    on_start.iter().try_for_each(|on_start| {
        let panicked = |message| format!("a function for the start panicked: {message}").into();
        catch(|| on_start(root)).map_err(panicked)
    })
}

/// Calls the functions for the end. Returns their errors.
pub(super) fn end(at_end: &[AtEnd], root: &Process) -> Vec<BoxError> {
    let call = |at_end: &AtEnd| match catch(|| at_end(root)) {
        Ok(outcome) => outcome.err(),
        Err(message) => Some(format!("a function for the end panicked: {message}").into()),
    };
    at_end.iter().filter_map(call).collect()
}
