//! [`main`]: runs a program as one process, from `fn main` (feature `signal`, on by default; Unix and Windows).
//!
//! | file | subject |
//! |---|---|
//! | this one | running a program |
//! | [`settings`] | the settings of [`Main`] |
//! | [`extensions`] | functions that are called with the root at the start and at the end of the program |
//! | [`exit`] | the exit status |
//! | [`shared`] | the state of a running program, and its messages to the reporter thread; begin here |
//! | [`reporter`] | the thread that writes reports |
//! | `unix`, `windows` | signals, or Ctrl-C and Ctrl-Break |
//! | `systemd` | notifications for systemd |
//! | [`report`], `events` | the reports, as texts and as `tracing` events |

#[cfg(feature = "tracing")]
mod events;
mod exit;
mod extensions;
mod report;
mod reporter;
mod settings;
mod shared;
#[cfg(all(feature = "systemd", target_os = "linux"))]
pub mod systemd;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::env;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use exit::Exit;

use crate::process::Process;
use crate::run::body::{Body, BodyEnd};
use crate::run::hooks::Hook;
use crate::run::{Inherited, Seed, inherited_from_context, reports};
use crate::state::invalidate_hook_caches;
use crate::value::time::deadline_after;
use crate::value::{ChildFailure, Error, IntoOutcome, Site};
use crate::watch::Listener;
use exit::Ended;
use extensions::{AtEnd, OnStart};
use shared::{Post, Rules, Shared};
#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

/// Runs `body` as the body of the program's root, and returns when the root is Closed.
///
/// The root is named after the program and bound to SIGINT and SIGTERM: the first signal closes it, the second
/// aborts it, the third ends the program.
///
/// The body ends like any other body. After `Ok`, the children may finish: a body that has started servers can simply
/// return, and one that no longer needs them calls [`close`](Process::close) first. After an error or a panic, the
/// children are closed.
///
/// [`Main`] has settings, such as a grace, and documents its output.
///
/// # Blocking
///
/// Blocks the thread until the root is Closed. In the body, [`close_blocking`](Process::close_blocking) on the
/// root returns [`Error::Deadlock`], because the root waits for its body.
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
/// If the future is dropped before the body has ended, the body is dropped and the root closes, with the outcome
/// [`Error::Aborted`].
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

/// [`main`] with settings.
///
/// Conceptually, this is a root process that signals close, plus the report and the exit status of the program. In a
/// test or in a library, make a root with [`Process::builder`] instead, and bind signals with `signal::bind` if needed.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) | the file name of the program |
/// | [`grace`](Self::grace) | none: closing may take any time, unless a second signal aborts it |
/// | [`abort_grace`](Self::abort_grace) | 5 s: if the root is not Closed 5 s after an abort, the program ends |
/// | [`on_child_failure`](Self::on_child_failure) | failures are [reported](ChildFailure::Report) |
/// | [`on_failure`](Self::on_failure) | no hook |
/// | [`on_start`](Self::on_start), [`at_end`](Self::at_end) | no function |
/// | [`signals`](Self::signals) | SIGINT and SIGTERM; on Windows, Ctrl-C and Ctrl-Break, as SIGINT |
/// | `dump_on` (Unix) | no signal: the tree is never printed |
/// | [`quiet`](Self::quiet) | off: the program prints reports |
/// | [`no_exit`](Self::no_exit) | off: the third signal and the end of the abort grace end the program |
///
/// # What it prints
///
/// Reports go to standard error. Each line begins with the name of the program. It reports
///
/// - each signal, with the effect of the next one;
/// - each failure that nothing has handled;
/// - the items that it waits for, 5 s after closing began and again at doubling intervals;
/// - the items that are aborted, when the grace ends;
/// - the duration of the closing, at the end, if there was a report before.
///
/// A program that simply ends prints nothing.
///
/// ```text
/// app: SIGINT: closing, with a grace of 30 s. A second SIGINT aborts, a third exits at once.
/// app: still closing after 5.0 s, 3 processes open; grace ends in 25 s. Waiting for:
/// app:   app › db › cache: thread body `cache` (src/cache.rs:41), asked to close 5.0 s ago
/// ```
///
/// If a `tracing` subscriber wants warnings with the target `procession`, it gets events instead (feature `tracing`).
///
/// ```no_run
/// use std::time::Duration;
///
/// fn main() -> procession::Exit {
///     procession::Main::new().grace(Duration::from_secs(30)).run(|p| p.closing().wait())
/// }
/// ```
#[derive(Clone)]
#[must_use = "nothing runs until `run` or `run_async`"]
pub struct Main {
    name: Option<Arc<str>>,
    grace: Option<Duration>,
    abort_grace: Duration,
    on_child_failure: ChildFailure,
    hooks: Vec<Hook>,
    on_start: Vec<OnStart>,
    at_end: Vec<AtEnd>,
    signals: Vec<i32>,
    dump_on: Vec<i32>,
    is_quiet: bool,
    may_exit: bool,
}

impl Main {
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
        let (running, end) = self.begin(Site::caller());
        match &running.bound {
            Ok(()) => end.run(|| body(running.root.clone())),
            Err(error) => end.refuse(error.clone()),
        }
        let outcome = running.root.closed().wait();
        running.end(outcome)
    }

    /// Runs the program as [`main_async`] does, with these settings.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the body has ended, the body is dropped and the root closes, with the outcome
    /// [`Error::Aborted`].
    #[track_caller]
    pub fn run_async<F, Fut>(self, body: F) -> impl Future<Output = Exit> + use<F, Fut>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let (running, end) = self.begin(Site::caller());
        let process = running.root.clone();
        let body = match &running.bound {
            Ok(()) => {
                let future = async move { body(process).await.into_outcome() };
                Some(Body::of_caller(end, future))
            }
            Err(error) => {
                end.refuse(error.clone());
                None
            }
        };
        async move {
            if let Some(body) = body {
                body.await;
            }
            let outcome = running.root.closed().await;
            running.end(outcome)
        }
    }

    /// Makes the root, which waits for a body that has not started yet, and everything that observes it.
    fn begin(self, site: Site) -> (Running, BodyEnd) {
        let name = self.name.clone().unwrap_or_else(|| program().into());
        let inherited = Some(Inherited::named(name.clone(), inherited_from_context()));
        let mut seed = Seed { inherited, body: true, ..Seed::at(site) };
        seed.extras().on_child_failure = self.on_child_failure;
        if !self.hooks.is_empty() {
            seed.extras().hooks = self.hooks;
            invalidate_hook_caches();
        }
        let root = Process::from_seed(seed);
        let end = BodyEnd::of(root.node.clone());
        let rules = Rules {
            // A grace that is longer than a clock can measure counts as none.
            grace: self.grace.filter(|grace| deadline_after(*grace).is_some()),
            abort_grace: self.abort_grace,
            is_quiet: self.is_quiet,
            may_exit: self.may_exit,
        };
        let reports = !self.is_quiet || !self.at_end.is_empty();
        let shared = Shared::new(rules, &root.node, self.at_end);
        if reports {
            reporter::start(&shared, &name, root.path());
        }
        #[cfg(all(feature = "systemd", target_os = "linux"))]
        systemd::start(&shared, site);
        shared.watch_root(&root.node);
        reports::add_listener(&root.node, shared.clone());
        let started = extensions::start(&self.on_start, &root);
        let bound = started.and_then(|()| match self.signals.is_empty() {
            true => Ok(()),
            false => os::bind(&root, self.signals, self.may_exit, shared.clone()),
        });
        let posting = Arc::downgrade(&shared);
        let dump: Arc<Listener> = Arc::new(move || {
            posting.upgrade().into_iter().for_each(|shared| {
                let _has_reporter = shared.post(Post::Dump);
            });
        });
        let mut dump_on = self.dump_on.into_iter();
        let bound = bound.and_then(|()| dump_on.try_for_each(|on| os::listen(on, &dump)));
        let bound = bound.map_err(|error| Error::failed(root.label(), error));
        (Running { root, shared, _dump: dump, bound }, end)
    }
}

/// A running program: a `Main` whose root was made.
struct Running {
    root: Process,
    shared: Arc<Shared>,
    /// The listener that prints the tree. It is called as long as this exists.
    _dump: Arc<Listener>,
    /// The error if the root could not be bound to a signal, or if a function given to `on_start` panicked.
    bound: Result<(), Error>,
}

impl Running {
    /// The root is Closed: reports that, and computes the exit status.
    fn end(self, outcome: Result<(), Error>) -> Exit {
        let shared = &self.shared;
        let ended = Ended::of(&self.root, outcome, shared.facts(), shared.rules.is_quiet);
        shared.end(ended.exit.code(), ended.forced, ended.failures);
        ended.exit
    }
}

/// This also runs when the future of `run_async` is dropped early.
impl Drop for Running {
    fn drop(&mut self) {
        reports::remove_listener(&self.root.node);
        self.shared.post(Post::Quit);
    }
}

/// The file name under which the program was started.
fn program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "main".to_owned())
}
