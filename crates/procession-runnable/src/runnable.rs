//! [`Runnable`], and what a run of it is given: [`Start`] for who starts it, [`Run`] for the code that runs.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use procession::support::in_order;
use procession::{BoxError, Builder, ChildFailure, Error, IntoOutcome, Process, Site};
#[cfg(feature = "tracing")]
use tracing::{Instrument, Span, level_filters::LevelFilter};

use crate::ready::{Readiness, Ready, Sure, Unready};

/// A description of work that can be run any number of times. Clones describe the same.
///
/// Made by the functions of this crate: [`body`](crate::body) and [`body_thread`](crate::body_thread) for
/// closures, [`leaf`](crate::leaf), [`start_stop`](crate::start_stop), and those that combine others. Each
/// run has a process of its own, below the process that it is started under.
///
/// ```
/// use procession_runnable::{body, parallel, run};
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
    /// Where it was described.
    site: Site,
}

type StartRun = dyn Fn(Start<'_>) -> Result<Process, Error> + Send + Sync;

impl Runnable {
    /// A runnable from what starts it: the way to write a combinator of one's own.
    ///
    /// The processes of its runs record where this was called as their [site](Process::site), unless another runnable
    /// makes them.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_runnable::{Runnable, body};
    ///
    /// /// Runs `runnable` under a name that tells the hour.
    /// fn hourly(runnable: Runnable) -> Runnable {
    ///     Runnable::new(move |start| runnable.start(start.named("at 12")))
    /// }
    /// # let _ = hourly(body(|_| async {}));
    /// ```
    #[track_caller]
    pub fn new(
        start: impl Fn(Start<'_>) -> Result<Process, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { start: Some(Arc::new(start)), site: Site::caller() }
    }

    /// The same runnable, described at `site`: for functions that make runnables inside closures, where the caller's
    /// line is not known any more.
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

    /// Where it was described.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Starts a run: the process that it has. That it has started does not mean that it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::Link`] if the process that it is to run under has started its teardown, [`Error::NoThread`]
    /// if the system gives no thread.
    pub fn start(&self, mut start: Start<'_>) -> Result<Process, Error> {
        start.site = self.site;
        let start_run = self.start.as_ref().expect("it is not dropped");
        start_run(start)
    }
}

thread_local! {
    /// What is still to be dropped, while this thread drops a runnable.
    static TO_DROP: RefCell<Option<Vec<Arc<StartRun>>>> = const { RefCell::new(None) };
}

impl Drop for Runnable {
    /// A loop, not a recursion, since what is nested may be nested deep.
    fn drop(&mut self) {
        let Some(start) = self.start.take() else { return };
        if Arc::strong_count(&start) > 1 {
            return;
        }
        let first = TO_DROP.try_with(|to_drop| match &mut *to_drop.borrow_mut() {
            Some(to_drop) => {
                to_drop.push(start);
                None
            }
            none => {
                *none = Some(Vec::new());
                Some(start)
            }
        });
        // Where this thread is at its end there is no list, and `start` was dropped with the closure.
        let Ok(Some(first)) = first else { return };
        let _forget = ForgetList;
        let mut next = Some(first);
        while let Some(start) = next {
            drop(start);
            next = TO_DROP.with(|to_drop| to_drop.borrow_mut().as_mut().and_then(Vec::pop));
        }
    }
}

/// Takes the list away again, also if a drop panics.
struct ForgetList;

impl Drop for ForgetList {
    fn drop(&mut self) {
        let left = TO_DROP.with(RefCell::take);
        drop(left);
    }
}

/// How a run is started: under which process, by which name, and who is told when it is ready.
#[must_use = "a run that is not started is never ready"]
pub struct Start<'a> {
    parent: &'a Process,
    /// Where the runnable was described.
    site: Site,
    /// The part before it, which is closed after it.
    before: Option<&'a Process>,
    /// The siblings before and after it.
    order: (Option<&'a Process>, Option<&'a Process>),
    name: Option<Arc<str>>,
    on_child_failure: ChildFailure,
    #[cfg(feature = "tracing")]
    span: Span,
    ready: Sure,
}

impl<'a> Start<'a> {
    /// The start of a run under `parent`, and what tells when it is ready: for combinators of one's own.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_runnable::{Start, body};
    ///
    /// let server = body(|run| async move {
    ///     run.ready();
    ///     run.closing().await;
    /// });
    /// let app = Process::new();
    /// let (start, readiness) = Start::under(&app);
    /// let process = server.start(start.named("server"))?;
    /// assert_eq!(futures_lite::future::block_on(readiness), Ok(()));
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn under(parent: &'a Process) -> (Self, Readiness) {
        let (ready, readiness) = Ready::pair();
        (Self::part_of(parent, ready), readiness)
    }

    #[track_caller]
    pub(crate) fn part_of(parent: &'a Process, ready: Sure) -> Self {
        let on_child_failure = ChildFailure::default();
        Self {
            parent,
            site: Site::caller(),
            before: None,
            order: (None, None),
            name: None,
            on_child_failure,
            // A part is started in the span of what it is a part of.
            #[cfg(feature = "tracing")]
            span: current_span(),
            ready,
        }
    }

    /// The run is between these two in the order in which their common parent closes them, the last one first. None of
    /// them waits for another.
    #[doc(hidden)]
    pub fn in_order(mut self, before: Option<&'a Process>, after: Option<&'a Process>) -> Self {
        self.order = (before, after);
        self
    }

    /// The part before it is closed after it.
    pub(crate) fn after(mut self, before: &'a Process) -> Self {
        self.before = Some(before);
        self
    }

    /// Names the run's process. A name that was given before stands before it.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(match self.name {
            Some(before) => format!("{before}/{name}").into(),
            None => name.into(),
        });
        self
    }

    /// The name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Starts an async body.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::spawn`].
    pub fn spawn<F, Fut>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        #[cfg(feature = "tracing")]
        let span = self.span.clone();
        let (builder, ready) = self.into_builder();
        let body = move |process: Process| async move {
            let run = Run { process: process.clone(), ready: ready.ready().clone() };
            let result = body(run).await.into_outcome();
            ended(&process, &ready, &result);
            result
        };
        #[cfg(feature = "tracing")]
        if !span.is_none() {
            return builder.spawn(move |process| body(process).instrument(span));
        }
        builder.spawn(body)
    }

    /// Starts a blocking body on a thread.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::spawn_thread`].
    pub fn spawn_thread<F, R>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Run) -> R + Send + 'static,
        R: IntoOutcome,
    {
        #[cfg(feature = "tracing")]
        let span = self.span.clone();
        let (builder, ready) = self.into_builder();
        let body = move |process: Process| {
            #[cfg(feature = "tracing")]
            let _entered = span.entered();
            let run = Run { process: process.clone(), ready: ready.ready().clone() };
            let result = body(run).into_outcome();
            ended(&process, &ready, &result);
            result
        };
        builder.spawn_thread(body)
    }

    /// Starts an async body that starts others below it: one that fails closes the others.
    pub(crate) fn spawn_group<F, Fut>(mut self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.on_child_failure = ChildFailure::Close;
        self.spawn(body)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn in_span(self, span: Span) -> Self {
        Self { span, ..self }
    }

    fn into_builder(self) -> (Builder<'a>, Sure) {
        let Self { parent, site, before, order, name, on_child_failure, ready, .. } = self;
        let builder = Process::builder().parent(parent).site(site);
        let mut builder = in_order(builder, order.0, order.1);
        if let Some(before) = before {
            builder = builder.close_before(before);
        }
        if let Some(name) = name {
            builder = builder.name(name);
        }
        if on_child_failure == ChildFailure::Close {
            builder = builder.on_child_failure(on_child_failure);
        }
        (builder, ready)
    }
}

/// The span that is entered. Without a subscriber there is none to look for.
#[cfg(feature = "tracing")]
fn current_span() -> Span {
    if LevelFilter::current() == LevelFilter::OFF { Span::none() } else { Span::current() }
}

/// A process of the library's own below the process of a run, described where the run was.
pub(crate) fn below(process: &Process) -> Builder<'_> {
    Process::builder().parent(process).site(process.site())
}

/// A run has ended: it can say nothing more.
fn ended(process: &Process, ready: &Sure, result: &Result<(), BoxError>) {
    if result.is_ok() && !process.is_closing() {
        ready.ready().lose(|| Unready::Ended(process.label()));
    }
}

/// A run, as the code that runs sees it: its process, and the way to say that it is ready.
///
/// It is asked to stop by [`closing`](Process::closing), and by force by [`aborting`](Process::aborting).
#[derive(Clone, Debug)]
pub struct Run {
    process: Process,
    ready: Ready,
}

impl Run {
    /// Marks the run as ready, and wakes everything that waits for that. Further calls do nothing.
    pub fn ready(&self) {
        self.ready.say();
    }

    /// The process of this run.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// For the parts of this run to say it.
    pub(crate) fn sure(&self) -> Sure {
        self.ready.clone().sure()
    }

    /// The run will not be ready, and says elsewhere why.
    pub(crate) fn not_ready(&self) {
        self.ready.lose(|| Unready::Failed);
    }
}

impl Deref for Run {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runnable").finish_non_exhaustive()
    }
}

impl fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("name", &self.name).finish_non_exhaustive()
    }
}
