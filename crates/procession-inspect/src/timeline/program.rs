//! [`MainExt`]: the timeline of a program that runs `Main`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use procession::{Main, Process, ProcessId, Site, ok};

use super::Timeline;
use crate::Inspect;
use crate::page::Service;

/// Pictures of a program that runs [`Main`].
pub trait MainExt: sealed::Sealed {
    /// Records how the program closes, and writes the timeline to this path when it ends: a picture if the name ends in
    /// `.svg`, a Chrome trace if it ends in `.json` or `.json.gz`. There may be several paths.
    ///
    /// The file is also written if the program ends by force, because of a third signal or at the end of the abort
    /// grace, but the program waits for at most a second for it. No file is written if something else ends the program:
    /// `SIGKILL`, [`std::process::exit`], a panic that aborts. The file is complete or, if it could not be written, as
    /// it was before.
    ///
    /// An error is reported as `Main` reports failures, and does not change the exit status.
    ///
    /// ```no_run
    /// use procession::Main;
    /// use procession_inspect::MainExt;
    ///
    /// fn main() -> procession::Exit {
    ///     Main::new().timeline("shutdown.svg").timeline("shutdown.json.gz").run(|p| p.closing().wait())
    /// }
    /// ```
    #[must_use]
    fn timeline(self, path: impl Into<PathBuf>) -> Self;

    /// Serves the live page of the program from its start to its end: see [`Inspect`]. `settings` is given the
    /// inspector of the root, to change its settings.
    ///
    /// The page is updated until the root is Closed. The end of the program then waits until viewers have been told,
    /// for at most 500 ms. If the server cannot start, the program does not run, and its outcome is the error.
    ///
    /// ```no_run
    /// use procession::Main;
    /// use procession_inspect::MainExt;
    ///
    /// fn main() -> procession::Exit {
    ///     Main::new().inspect(|page| page).run(|p| p.closing().wait())
    /// }
    /// ```
    #[must_use]
    #[track_caller]
    fn inspect(self, settings: impl Fn(Inspect) -> Inspect + Send + Sync + 'static) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for procession::Main {}
}

impl MainExt for Main {
    fn timeline(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let timelines = Runs::new();
        let started = timelines.clone();
        let main = self.on_start(move |root| started.begin(root, Timeline::of(root)));
        main.at_end(move |root| {
            let Some(timeline) = timelines.end(root) else { return ok() };
            if !root.is_closed() {
                timeline.exits();
            }
            timeline.save(&path)?;
            ok()
        })
    }

    #[track_caller]
    fn inspect(self, settings: impl Fn(Inspect) -> Inspect + Send + Sync + 'static) -> Self {
        let site = Site::caller();
        let services = Runs::new();
        let started = services.clone();
        let main = self.on_start(move |root| {
            let service = Service::new(settings(Inspect::new(root)), site);
            let service = service.unwrap_or_else(|error| panic!("cannot serve the page: {error}"));
            service.expect_exit();
            if let Err(error) = service.serve() {
                panic!("cannot serve the page: {error}");
            }
            started.begin(root, service);
        });
        main.at_end(move |root| {
            if let Some(service) = services.end(root) {
                service.end(root);
            }
        })
    }
}

/// What belongs to the runs of a [`Main`], by their roots. The clones of a `Main` share it, and may run at the same
/// time.
struct Runs<T>(Arc<Mutex<HashMap<ProcessId, T>>>);

impl<T> Runs<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn begin(&self, root: &Process, of_run: T) {
        let left_over = self.0.lock().insert(root.id(), of_run);
        drop(left_over);
    }

    fn end(&self, root: &Process) -> Option<T> {
        self.0.lock().remove(&root.id())
    }
}

impl<T> Clone for Runs<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
