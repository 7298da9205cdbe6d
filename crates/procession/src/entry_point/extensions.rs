//! The functions of users that `Main` calls with the root at the start and at the end of the program. Other crates use
//! them to extend it.
//!
//! Functions for the end run on the reporter thread, in a catch, and with no lock held. *A forced end does not wait for
//! them for long*, because the thread that ends the program waits with a timeout.

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

/// How much longer a regular end waits if there are functions to call.
pub(super) const REGULAR_EXTENSION: Duration = Duration::from_secs(10);

/// How much longer a forced end waits if there are functions to call.
pub(super) const FORCED_EXTENSION: Duration = Duration::from_secs(1);

impl Main {
    /// Calls `on_start` with the root before the body starts and before signals are bound, for example to set hooks on
    /// the root or to add children. There may be several. If one panics, the body does not run, and the outcome is an
    /// error.
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

    /// Calls `at_end` with the root when the program ends, for example to write a recording to a file. That is when the
    /// root is Closed, before [`run`](Self::run) returns, or when a third signal or the end of the [abort
    /// grace](Self::abort_grace) is about to end the program by force. There may be several.
    ///
    /// An error is reported like a failure, and changes neither the outcome nor the exit status. A regular end waits
    /// about 10 s for the functions, and a forced end about 1 s. They are not called if the future of
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
        let panicked =
            |message| format!("a function given to `on_start` panicked: {message}").into();
        catch(|| on_start(root)).map_err(panicked)
    })
}

/// Calls the functions for the end. Returns their errors.
pub(super) fn end(at_end: &[AtEnd], root: &Process) -> Vec<BoxError> {
    let call = |at_end: &AtEnd| match catch(|| at_end(root)) {
        Ok(outcome) => outcome.err(),
        Err(message) => Some(format!("a function given to `at_end` panicked: {message}").into()),
    };
    at_end.iter().filter_map(call).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Main;
    use crate::value::Error;
    use crate::value::sync::Mutex;

    fn main() -> (Main, Arc<Mutex<Vec<&'static str>>>) {
        let main = Main::new().name("app").signals([]).no_exit();
        (main, Arc::default())
    }

    #[test]
    fn the_functions_are_called_around_the_body() {
        let (main, steps) = main();
        let step = |name| {
            let steps = steps.clone();
            move || steps.lock().push(name)
        };
        let (start, body, first, second) =
            (step("start"), step("body"), step("first"), step("second"));
        let main = main
            .on_start(move |root| {
                assert!(!root.is_closing());
                start();
            })
            .at_end(move |root| {
                assert!(root.is_closed());
                first();
                panic!("the others are called all the same");
            })
            .at_end(move |_| second());
        let exit = main.quiet().run(move |p| {
            body();
            drop(p.close());
        });
        assert_eq!(exit.code(), 0);
        assert_eq!(*steps.lock(), ["start", "body", "first", "second"]);
    }

    #[test]
    fn an_error_at_the_end_changes_nothing() {
        let (main, _) = main();
        let exit = main.quiet().at_end(|_| Err("disk full")).run(|p| drop(p.close()));
        assert_eq!(exit.code(), 0);
        assert!(exit.result().is_ok());
    }

    #[test]
    fn a_panic_at_the_start_prevents_the_body() {
        let (main, steps) = main();
        let body = steps.clone();
        let main = main.quiet().on_start(|_| panic!("no listener"));
        let exit = main.run(move |_| body.lock().push("body"));
        assert_eq!(exit.code(), 1);
        let error = exit.result().unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{error}");
        assert!(error.with_causes().to_string().contains("panicked: no listener"));
        assert!(steps.lock().is_empty());
    }

    #[test]
    fn the_async_form_calls_the_functions_too() {
        let (main, steps) = main();
        let end = steps.clone();
        let main = main.quiet().at_end(move |_| end.lock().push("end"));
        let exit = crate::run::park::block_on(main.run_async(|p| async move { drop(p.close()) }));
        assert_eq!(exit.code(), 0);
        assert_eq!(*steps.lock(), ["end"]);
    }
}
