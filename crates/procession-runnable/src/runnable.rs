//! [`Runnable`].

use std::fmt;
use std::sync::Arc;

use procession::support::{Nested, catch, panicked};
use procession::{Error, Process, Site};

use crate::start::{Start, StartRun};
use crate::wraps::{Wrap, Wraps};

/// A description of work that can be run any number of times. Clones describe the same work.
///
/// The functions of this crate make runnables: [`body`](crate::body) and [`body_thread`](crate::body_thread) from
/// closures, [`leaf`](crate::leaf()) and [`start_stop`](crate::start_stop) from pairs of functions, and the combinators
/// from other runnables. Each run has a process of its own, which is a child of the process that it is started under.
///
/// Conceptually, a runnable is to its runs what a program is to the operating system's processes: it has no state, and
/// can run several times, even at once. For work that runs once and need not be combined, use [`Process::spawn`].
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
    start: Nested<Arc<StartRun>>,
    wraps: Option<Arc<Wraps>>,
    /// The place where it was described.
    site: Site,
}

impl Runnable {
    /// A runnable from a function that starts it, for your own combinators.
    ///
    /// The processes of its runs record the place of this call as their [site](Process::site), unless `start` uses
    /// another runnable to make them.
    ///
    /// `start` must return the process of the run. If it fails after it has made that process, it should close the
    /// process first, because the caller does not get it. A supervisor closes it in any case, if it was made from the
    /// given [`Start`], and waits for its end before the next run.
    ///
    /// If `start` calls [`start`](Self::start) of another runnable, the calls nest: 10,000 such runnables inside each
    /// other need a stack of 10,000 calls. The combinators of this crate do not nest calls, because they start their
    /// parts from their own bodies.
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
        Self { start: Nested::new(Arc::new(start)), wraps: None, site: Site::caller() }
    }

    /// The same runnable with another [`site`](Self::site). This is for functions that make runnables inside closures,
    /// where the line of the caller is no longer known.
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

    /// The place where the runnable was described, which the processes of its runs record as theirs.
    pub fn site(&self) -> Site {
        self.site
    }

    /// The same runnable inside `wrap`, which only changes how it is started.
    pub(crate) fn wrapped(mut self, wrap: Wrap) -> Self {
        self.wraps = Some(Wraps::new(wrap, self.wraps.take()));
        self
    }

    /// Starts a run, and returns its process. The run may not be ready yet.
    ///
    /// # Errors
    ///
    /// [`Error::Link`] if the teardown of the process that it would run under has started, [`Error::NoThread`] if the
    /// OS cannot create a thread, and [`Error::Panicked`] if the function that starts it panics. The function given to
    /// [`new`](Self::new) may return other errors.
    pub fn start(&self, start: Start<'_>) -> Result<Process, Error> {
        let parent = start.parent();
        let started = catch(|| self.start_uncaught(start));
        started.unwrap_or_else(|message| Err(panicked(parent.label(), message)))
    }

    /// [`start`](Self::start) for a caller that catches the panics of the function that starts the run.
    #[doc(hidden)]
    #[inline]
    pub fn start_uncaught(&self, mut start: Start<'_>) -> Result<Process, Error> {
        start.described_at(self.site);
        match &self.wraps {
            Some(wraps) => (self.start)(wraps.apply(start)),
            None => (self.start)(start),
        }
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runnable").field("site", &self.site).finish_non_exhaustive()
    }
}
