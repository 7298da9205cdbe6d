//! [`main`]: a program as one process, from `fn main` (feature `signal`, on by default; Unix).

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use crate::process::Process;
use crate::run::body::{Body, BodyEnd};
use crate::run::catch::contain;
use crate::run::{Inherited, Seed, deadlines, inherited_from_context};
use crate::signal::{self, SIGINT, SIGTERM, Stages};
use crate::value::{Error, IntoOutcome, Reason, Site};

/// Runs `body` as the body of the program's root, and returns when the root is Closed.
///
/// The root is named after the program and bound to SIGINT and SIGTERM: the first signal closes it, the second
/// aborts it, the third ends the program.
///
/// The body ends like any other body. After `Ok`, its children finish: a body that started servers just returns, and
/// one that no longer needs them calls [`close`](Process::close) first. After an error or a panic, the children are
/// closed.
///
/// [`Main`] adds a grace.
///
/// # Blocking
///
/// Blocks the thread until the root is Closed. In the body, `close_blocking` on the root returns an
/// [`Error::Deadlock`], because the root waits for its body.
///
/// ```no_run
/// fn main() -> procession::Exit {
///     procession::main(|p| {
///         p.spawn_thread(|worker| worker.closing().wait())?;
///         procession::ok() // until SIGINT or SIGTERM
///     })
/// }
/// ```
#[track_caller]
pub fn main<F, R>(body: F) -> Exit
where
    F: FnOnce(Process) -> R,
    R: IntoOutcome,
{
    Main::new().run(body)
}

/// The async form of [`main`], for any executor.
///
/// # Cancel safety
///
/// Dropping the future before the body has ended drops the body and closes the root.
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> procession::Exit {
///     procession::main_async(|p| async move {
///         p.spawn(|worker| async move { worker.closing().await })?;
///         procession::ok()
///     })
///     .await
/// }
/// ```
#[track_caller]
pub fn main_async<F, Fut>(body: F) -> impl Future<Output = Exit> + use<F, Fut>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    Main::new().run_async(body)
}

/// [`main`] with a grace.
///
/// ```no_run
/// use std::time::Duration;
///
/// fn main() -> procession::Exit {
///     procession::Main::new().grace(Duration::from_secs(30)).run(|p| p.closing().wait())
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing runs until `run` or `run_async`"]
pub struct Main {
    grace: Option<Duration>,
}

impl Main {
    /// A program without a grace: unless a second signal aborts it, closing takes as long as it needs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Aborts the root if it is still Closing after `grace`.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Runs the program as [`main`] does, with these settings.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the root is Closed.
    #[track_caller]
    pub fn run<F, R>(self, body: F) -> Exit
    where
        F: FnOnce(Process) -> R,
        R: IntoOutcome,
    {
        let (root, end) = self.root(Site::caller());
        let aborted_by = bind(&root);
        match &aborted_by {
            Ok(_) => end.run(|| body(root.clone())),
            Err(error) => end.refuse(error.clone()),
        }
        Exit::of(&root, root.closed().wait(), aborted_by)
    }

    /// Runs the program as [`main_async`] does, with these settings.
    ///
    /// # Cancel safety
    ///
    /// That of [`main_async`].
    #[track_caller]
    pub fn run_async<F, Fut>(self, body: F) -> impl Future<Output = Exit> + use<F, Fut>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let (root, end) = self.root(Site::caller());
        let process = root.clone();
        let bound = match bind(&root) {
            Ok(aborted_by) => {
                let future = async move { body(process).await.into_outcome() };
                Ok((aborted_by, Body::of_caller(end, future)))
            }
            Err(error) => {
                end.refuse(error.clone());
                Err(error)
            }
        };
        async move {
            let aborted_by = match bound {
                Ok((aborted_by, body)) => {
                    body.await;
                    Ok(aborted_by)
                }
                Err(error) => Err(error),
            };
            Exit::of(&root, root.closed().await, aborted_by)
        }
    }

    /// Makes the root, which waits for a body that has not started yet.
    fn root(self, site: Site) -> (Process, BodyEnd) {
        let inherited = Some(Inherited::named(program().into(), inherited_from_context()));
        let root = Process::from_seed(Seed { inherited, body: true, ..Seed::at(site) });
        if let Some(grace) = self.grace {
            deadlines::abort_past_grace(&root.node, grace);
        }
        let end = BodyEnd::of(root.node.clone());
        (root, end)
    }
}

/// The file name under which the program was started.
fn program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "main".to_owned())
}

/// Binds the root to the signals. The returned number is 0 until a signal aborts the root, and then that signal's
/// number.
fn bind(root: &Process) -> Result<Arc<AtomicI32>, Error> {
    let bound = signal::bind_watched(root, [SIGINT, SIGTERM], Stages::default());
    bound.map_err(|error| Error::failed(root.label(), error.into()))
}

/// How a program ended: the root's outcome and the exit code. Returned from `fn main`, it prints the error with its
/// causes and sets the code.
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
}

impl Exit {
    fn of(
        root: &Process,
        outcome: Result<(), Error>,
        aborted_by: Result<Arc<AtomicI32>, Error>,
    ) -> Self {
        let signal =
            match (aborted_by.map_or(0, |signal| signal.load(Ordering::Relaxed)), root.reason()) {
                // No signal aborted the root, but it was aborted after a signal had closed it: the grace was over.
                (0, Some(Reason::Signal(signal))) if root.is_aborting() => signal,
                (signal, _) => signal,
            };
        let code = if signal == 0 { u8::from(outcome.is_err()) } else { 128 + signal as u8 };
        Self { outcome, code }
    }

    /// The outcome of the root. It contains an error that the body returned [unchanged](crate::Failed::get).
    ///
    /// # Errors
    ///
    /// Those of the outcome.
    pub fn result(self) -> Result<(), Error> {
        self.outcome
    }

    /// 128 + n if the root was closed by force after signal n; otherwise 0 if the outcome is `Ok`, and 1 if it is not.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code)
    }
}

/// Prints the error, if there is one, to standard error.
impl Termination for Exit {
    fn report(self) -> ExitCode {
        if let Err(error) = &self.outcome {
            // A user's `Display` may panic, and so does `eprintln!` if standard error is closed.
            contain(|| drop(writeln!(io::stderr(), "{}", error.with_causes())));
        }
        self.into()
    }
}
