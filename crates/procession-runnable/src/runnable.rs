//! [`Runnable`].

use std::fmt;
use std::sync::Arc;

use procession::support::{catch, panicked};
use procession::{Error, Process, Site};

use crate::dropping::{Nested, drop_nested};
use crate::start::{Start, StartRun};
use crate::wraps::{Wrap, Wraps};

/// A description of work that can be run any number of times. Clones describe the same work.
///
/// Runnables are made by the functions of this crate: [`body`](crate::body) and [`body_thread`](crate::body_thread) for
/// closures, [`leaf`](crate::leaf), [`start_stop`](crate::start_stop), and those that combine others. Each run has a
/// process of its own, below the process that it is started under.
///
/// ```
/// use procession_runnable::{body, parallel};
///
/// let hello = body(|run| async move {
///     run.ready();
///     println!("hello");
/// });
/// let two = parallel([hello.clone(), hello]);
/// # let _ = two;
/// ```
#[derive(Clone)]
pub struct Runnable {
    /// `None` only while it is dropped.
    start: Option<Arc<StartRun>>,
    wraps: Option<Arc<Wraps>>,
    /// Where it was described.
    site: Site,
}

impl Runnable {
    /// A runnable from a function that starts it, for writing your own combinators.
    ///
    /// The processes of its runs record the place of this call as their [site](Process::site), unless another runnable
    /// makes them.
    ///
    /// A function that starts another runnable calls that one's function, so 10,000 of them around each other nest
    /// 10,000 calls. The combinators of this crate do not: they start their parts from their own bodies.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_runnable::{Runnable, body};
    ///
    /// /// Prints a line at each start.
    /// fn announced(runnable: Runnable) -> Runnable {
    ///     Runnable::new(move |start| {
    ///         println!("starting {:?}", start.name());
    ///         runnable.start(start)
    ///     })
    /// }
    /// # let _ = announced(body(|_| async {}));
    /// ```
    #[track_caller]
    pub fn new(
        start: impl Fn(Start<'_>) -> Result<Process, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { start: Some(Arc::new(start)), wraps: None, site: Site::caller() }
    }

    /// The same runnable, described at `site`: for functions that make runnables inside closures, where the caller's
    /// line is no longer known.
    ///
    /// ```
    /// use procession::Site;
    /// use procession_runnable::{Runnable, body, sequential};
    ///
    /// #[track_caller]
    /// fn twice(runnable: Runnable) -> Runnable {
    ///     let site = Site::caller();
    ///     Runnable::new(move |start| sequential([runnable.clone(), runnable.clone()]).at(site).start(start))
    /// }
    /// # let _ = twice(body(|_| async {}));
    /// ```
    pub fn at(mut self, site: Site) -> Self {
        self.site = site;
        self
    }

    /// The place where it was described.
    pub fn site(&self) -> Site {
        self.site
    }

    /// The same runnable, with something around it that only changes how it is started.
    pub(crate) fn wrapped(mut self, wrap: Wrap) -> Self {
        self.wraps = Some(Wraps::new(wrap, self.wraps.take()));
        self
    }

    /// Starts a run, and returns its process. The run need not be ready when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Link`] if the teardown of the process that it would run under has started, [`Error::NoThread`] if the
    /// OS cannot create a thread, and [`Error::Panicked`] if the function that starts it panics. That function may
    /// return other errors.
    pub fn start(&self, mut start: Start<'_>) -> Result<Process, Error> {
        start.described_at(self.site);
        let parent = start.parent();
        let start_run = self.start.as_ref().expect("a runnable is not started while it is dropped");
        let started = catch(|| match &self.wraps {
            Some(wraps) => start_run(wraps.apply(start)),
            None => start_run(start),
        });
        started.unwrap_or_else(|message| Err(panicked(parent.label(), message)))
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        if let Some(start) = self.start.take() {
            drop_nested(Nested::Runnable(start));
        }
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runnable").field("site", &self.site).finish_non_exhaustive()
    }
}
