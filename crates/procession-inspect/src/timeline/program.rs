//! [`MainExt`]: the timeline of a program that runs `Main`.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use procession::{Main, ok};

use super::Timeline;
use crate::Inspect;
use crate::page::Service;

/// Pictures of a program that runs [`Main`].
pub trait MainExt: sealed::Sealed {
    /// Records how the program closes, and writes the timeline to this path when it ends: a picture if the name ends in
    /// `.svg`, a Chrome trace if it ends in `.json` or `.json.gz`. There may be several paths.
    ///
    /// The file is also written if the program ends by force, because of a third signal or at the end of the abort grace,
    /// but the program waits for at most a second for it. No file is written if something else ends the program:
    /// `SIGKILL`, [`std::process::exit`], a panic that aborts. The file is complete or, if it could not be written, as it
    /// was before.
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

    /// Serves the live page of the program from its start to its end: see [`Inspect`]. `settings` is given the inspector of
    /// the root, to change its settings.
    ///
    /// The page is updated until the root is Closed. The end of the program then waits until viewers have been told, for at
    /// most 500 ms. If the server cannot start, the program does not run, and its outcome is the error.
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
    fn inspect(self, settings: impl Fn(Inspect) -> Inspect + Send + Sync + 'static) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for procession::Main {}
}

impl MainExt for Main {
    fn timeline(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // The timeline of the run; settings can be cloned and run again.
        let current = Arc::new(Mutex::new(None));
        let started = current.clone();
        let main = self.on_start(move |root| *started.lock() = Some(Timeline::of(root)));
        main.at_end(move |root| {
            let timeline = current.lock().take();
            let Some(timeline) = timeline else { return ok() };
            if !root.is_closed() {
                timeline.exits();
            }
            timeline.save(&path)?;
            ok()
        })
    }

    fn inspect(self, settings: impl Fn(Inspect) -> Inspect + Send + Sync + 'static) -> Self {
        let current = Arc::new(Mutex::new(None));
        let started = current.clone();
        let main = self.on_start(move |root| {
            let service = Service::new(settings(Inspect::new(root)));
            let service = service.unwrap_or_else(|error| panic!("cannot serve the page: {error}"));
            service.expect_exit();
            if let Err(error) = service.serve() {
                panic!("cannot serve the page: {error}");
            }
            *started.lock() = Some(service);
        });
        main.at_end(move |root| {
            let service = current.lock().take();
            if let Some(service) = service {
                service.end(root);
            }
        })
    }
}
