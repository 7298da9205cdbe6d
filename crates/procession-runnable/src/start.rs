//! [`Start`], which is passed to the code that starts a run, and [`Run`], which is passed to the code of the run.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use procession::support::{Supervised, Unstarted, in_order, supervised};
use procession::{Builder, ChildFailure, Error, IntoOutcome, Process, Site, Threads, WeakProcess};
#[cfg(feature = "tracing")]
use tracing::{Instrument, Span, info_span, level_filters::LevelFilter};

use crate::ending::{Ending, ended};
use crate::ready::{NotReady, Readiness, Ready};

/// A function that starts runs.
pub(crate) type StartRun = dyn Fn(Start<'_>) -> Result<Process, Error> + Send + Sync;

/// The settings of a run that is about to start: its parent process, its name, and the [`Readiness`] that it reports
/// to.
#[must_use = "a run that is not started never becomes ready"]
pub struct Start<'a> {
    parent: &'a Process,
    /// The place where the runnable was described.
    site: Site,
    ready: Ready,
    name: Option<Arc<str>>,
    supervised: Option<SupervisedRun<'a>>,
    /// The settings that few runs have. A start is moved several times, so it should be small.
    rare: Option<Box<Rare<'a>>>,
}

/// The run of a supervisor, and the place for the process that is made for it: if the start fails after that, nobody else
/// knows the process.
struct SupervisedRun<'a> {
    run: Supervised,
    made: &'a OnceLock<WeakProcess>,
}

#[derive(Default)]
struct Rare<'a> {
    /// The previous part, which is closed after this one.
    before: Option<&'a Process>,
    /// The siblings before and after this run. Their parent closes them in reverse order.
    order: (Option<&'a Process>, Option<&'a Process>),
    on_child_failure: ChildFailure,
    /// Does the body run on the library's own executor instead of the parent's spawner?
    is_on_library: bool,
    /// The span that the body runs in.
    #[cfg(feature = "tracing")]
    span: Option<Span>,
}

/// The process of a run whose body has not started, its readiness, and the span that its body runs in.
struct Made {
    process: Unstarted,
    ready: Ready,
    #[cfg(feature = "tracing")]
    span: Option<Span>,
}

impl<'a> Start<'a> {
    /// The start of a run under `parent`, and a future that waits until the run is ready.
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

    /// The start of a run of a supervisor, which is notified when the run is ready. `made` is set to the process that is
    /// made for the run.
    #[doc(hidden)]
    #[track_caller]
    pub fn supervised(
        parent: &'a Process,
        run: &Supervised,
        made: &'a OnceLock<WeakProcess>,
    ) -> Self {
        let ready = Ready::supervised(run.clone());
        let supervised = Some(SupervisedRun { run: run.clone(), made });
        Self { supervised, ..Self::part_of(parent, ready) }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn part_of(parent: &'a Process, ready: Ready) -> Self {
        Self {
            parent,
            site: Site::caller(),
            ready,
            name: None,
            supervised: None,
            // A part is started in the span of its whole.
            rare: rare_in_current_span(),
        }
    }

    fn rare(&mut self) -> &mut Rare<'a> {
        self.rare.get_or_insert_default()
    }

    /// Places the run between these two in the order of their common parent, which closes the last one first. None of
    /// them waits for another.
    #[doc(hidden)]
    pub fn in_order(mut self, before: Option<&'a Process>, after: Option<&'a Process>) -> Self {
        if before.is_some() || after.is_some() {
            self.rare().order = (before, after);
        }
        self
    }

    /// The parent closes `before`, the previous part, only after this one is Closed.
    pub(crate) fn after(mut self, before: &'a Process) -> Self {
        self.rare().before = Some(before);
        self
    }

    /// Names the process of the run. If it already has a name, the new one is appended: `outer/inner`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(match self.name() {
            Some(outer) => format!("{outer}/{name}").into(),
            None => name.into(),
        });
        self
    }

    pub(crate) fn take_name(&mut self) -> Option<Arc<str>> {
        self.name.take().or_else(|| Some(self.supervised.as_ref()?.run.name()?.to_shared()))
    }

    pub(crate) fn with_name(mut self, name: Option<Arc<str>>) -> Self {
        self.name = name;
        self
    }

    pub(crate) fn described_at(&mut self, site: Site) {
        self.site = site;
    }

    pub(crate) fn parent(&self) -> &'a Process {
        self.parent
    }

    /// The readiness of the run, for a caller that is not answerable for it.
    pub(crate) fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// The name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.supervised.as_ref()?.run.name().map(|name| &**name))
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
        let made = self.make()?;
        let ready = made.ready;
        let body = move |process: Process| {
            let run = Run { process: process.clone(), ready: ready.clone() };
            Ending::new(process, ready, body(run))
        };
        #[cfg(feature = "tracing")]
        if let Some(span) = made.span {
            return Ok(made.process.spawn(move |process| body(process).instrument(span)));
        }
        Ok(made.process.spawn(body))
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
        let made = self.make()?;
        let ready = made.ready;
        #[cfg(feature = "tracing")]
        let span = made.span;
        made.process.spawn_thread(move |process: Process| {
            #[cfg(feature = "tracing")]
            let _entered = span.map(Span::entered);
            let run = Run { process: process.clone(), ready: ready.clone() };
            let result = body(run).into_outcome();
            ended(&process, &ready, &result);
            result
        })
    }

    /// Starts an async body that starts parts below its process. If a part fails, the others close, and its error is
    /// part of the outcome.
    pub(crate) fn spawn_group<F, Fut>(mut self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.rare().on_child_failure = ChildFailure::Close;
        self.spawn(body)
    }

    /// Runs the body on the library's own executor, so that it makes progress while the parent's executor is blocked.
    #[cfg(all(feature = "command", unix, not(loom)))]
    pub(crate) fn on_library(mut self) -> Self {
        self.rare().is_on_library = true;
        self
    }

    /// Starts the run in a `tracing` span `task`.
    #[cfg(feature = "tracing")]
    pub(crate) fn in_task(self, kind: &str) -> Self {
        self.in_span(|around| info_span!(parent: around, "task", kind))
    }

    /// Starts the run in a `tracing` span `region`.
    #[cfg(feature = "tracing")]
    pub(crate) fn in_region(self, kind: &str) -> Self {
        self.in_span(|around| info_span!(parent: around, "region", kind))
    }

    #[cfg(feature = "tracing")]
    fn in_span(mut self, inside: impl FnOnce(&Span) -> Span) -> Self {
        let around = self.rare.as_mut().and_then(|rare| rare.span.take());
        let span = inside(around.as_ref().unwrap_or(&Span::none()));
        if !span.is_none() {
            self.rare().span = Some(span);
        }
        self
    }

    /// Makes the process of the run. Nearly every part has no settings of its own, and then needs no builder.
    #[inline(always)]
    fn make(self) -> Result<Made, Error> {
        match self {
            Self { parent, site, ready, name: None, supervised: None, rare: None } => {
                let process = Unstarted::child_of(parent, site)?;
                Ok(Made {
                    process,
                    ready,
                    #[cfg(feature = "tracing")]
                    span: None,
                })
            }
            with_settings => with_settings.make_with_settings(),
        }
    }

    /// [`make`](Self::make), for a run with settings.
    fn make_with_settings(self) -> Result<Made, Error> {
        let Self { parent, site, ready, name, supervised, rare } = self;
        let rare = rare.map_or_else(Rare::default, |rare| *rare);
        let (run, made) = supervised.map(|SupervisedRun { run, made }| (run, made)).unzip();
        let process = Unstarted::from_builder(builder(parent, site, name, run, &rare))?;
        if let Some(made) = made {
            let _first = made.set(process.process().downgrade());
        }
        Ok(Made {
            process,
            ready,
            #[cfg(feature = "tracing")]
            span: rare.span,
        })
    }
}

/// The builder for the process of a run.
fn builder<'a>(
    parent: &'a Process,
    site: Site,
    name: Option<Arc<str>>,
    run: Option<Supervised>,
    rare: &Rare<'a>,
) -> Builder<'a> {
    let builder = Process::builder().parent(parent).site(site);
    let mut builder = in_order(builder, rare.order.0, rare.order.1);
    if let Some(before) = rare.before {
        builder = builder.close_before(before);
    }
    match (run, name) {
        (Some(run), Some(name)) => builder = supervised(builder, run.renamed(name.into())),
        (Some(run), None) => builder = supervised(builder, run),
        (None, Some(name)) => builder = builder.name(name),
        (None, None) => {}
    }
    if rare.on_child_failure == ChildFailure::Close {
        builder = builder.on_child_failure(rare.on_child_failure);
    }
    if rare.is_on_library {
        builder = builder.spawner(Threads);
    }
    builder
}

/// The settings of a run that starts in the current span. Without a subscriber, there is none.
#[inline]
fn rare_in_current_span<'a>() -> Option<Box<Rare<'a>>> {
    #[cfg(feature = "tracing")]
    if LevelFilter::current() != LevelFilter::OFF {
        let span = Some(Span::current()).filter(|span| !span.is_none());
        return span.map(|span| Box::new(Rare { span: Some(span), ..Rare::default() }));
    }
    None
}

/// A builder for a process that the library adds below `process`, with the same site.
pub(crate) fn below(process: &Process) -> Builder<'_> {
    Process::builder().parent(process).site(process.site())
}

/// The handle that the code of a run is given: the run's process, and the method that reports that it is ready.
///
/// [`closing`](Process::closing) asks the run to stop, and [`aborting`](Process::aborting) tells it to stop at once.
#[derive(Clone, Debug)]
pub struct Run {
    process: Process,
    ready: Ready,
}

impl Run {
    /// Reports that the run is ready, and wakes everything that waits for that. Further calls do nothing.
    pub fn ready(&self) {
        self.ready.report_ready();
    }

    /// The process of this run.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A handle for the parts of this run, which are answerable for its readiness from now on.
    pub(crate) fn readiness_of_parts(&self) -> Ready {
        self.ready.clone().into_answerable()
    }

    /// The run will not become ready. Its outcome says why.
    pub(crate) fn not_ready(&self) {
        self.ready.lose(|| NotReady::Failed);
    }
}

impl Deref for Run {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("name", &self.name).finish_non_exhaustive()
    }
}
