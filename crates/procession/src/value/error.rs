//! [`Error`]: an error of a process, or of a call that concerns one.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

#[cfg(all(feature = "signal", unix, not(loom)))]
use crate::value::SignalError;
use crate::value::nested::{Nested, one_level_deeper};
use crate::value::{FailedCalls, Forced, Label, LinkError};

/// Any error that a body or a teardown may return.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// An error of a process, or of a call that concerns one.
///
/// Cloning it is cheap, because every caller gets the same outcome. Most errors name the process that they are about:
/// [`process`](Self::process). The `Display` does not repeat the error that a body or a teardown returned: that is the
/// [`source`](StdError::source). [`with_causes`](Self::with_causes) prints both.
///
/// ```
/// use procession::{Error, Process};
/// use std::error::Error as _;
///
/// let process = Process::builder()
///     .name("log")
///     .teardown(|| Err(std::io::Error::other("disk full")))
///     .build()?;
/// let error = process.close_blocking().unwrap_err();
/// assert!(matches!(error, Error::Failed(_)));
/// assert_eq!(error.to_string(), "process `log` failed");
/// assert_eq!(error.with_causes().to_string(), "process `log` failed: disk full");
/// assert!(error.source().unwrap().is::<std::io::Error>());
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A body or a teardown returned an error.
    #[error(transparent)]
    Failed(Failed),
    /// A body or a teardown panicked.
    #[error(transparent)]
    Panicked(Panicked),
    /// The body, or an async teardown, was dropped before its end: by an abort, by its spawner or executor,
    /// or together with the future of [`Process::run`](crate::Process::run).
    #[error("{0} was aborted: it was dropped before its end")]
    Aborted(Label),
    /// The [time limit](crate::Builder::time_limit) of the process ended before the process was Closed.
    #[error("{0} was aborted: its time limit was over")]
    TimeLimit(Label),
    /// The process was closed by force, because it was not Closed when the grace that was set on it ended.
    #[error(transparent)]
    Forced(Forced),
    /// Calls of a periodic process failed.
    #[error(transparent)]
    FailedCalls(FailedCalls),
    /// Several errors, in the order in which they happened: those of the body, of children that the process
    /// [closed for](crate::ChildFailure::Close), and of the teardown.
    #[error(transparent)]
    Many(MultiError),
    /// The process is Closed, or its teardown has started; for a slot of a [`Limited`](crate::Limited), it is Closing.
    /// The body, hook or future that the call was given is not run.
    #[error("{0} accepts no more work: it is closing or closed")]
    Closed(Label),
    /// The process already has a teardown, which stays.
    #[error("{0} already has a teardown")]
    TeardownSet(Label),
    /// [`Process::background`](crate::Process::background) cannot be closed, aborted or torn down.
    #[error("the background process never closes")]
    Background,
    /// A blocking wait that could never end was refused.
    #[error(transparent)]
    Deadlock(Deadlock),
    /// The OS could not create a thread for a body.
    #[error(transparent)]
    NoThread(NoThread),
    /// An edge was refused. This variant lets a function that adds edges return a single error type.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A process could not be bound to a signal. This variant lets a function that binds signals return a single error
    /// type.
    #[cfg(all(feature = "signal", unix, not(loom)))]
    #[error(transparent)]
    Signal(Arc<SignalError>),
    /// All slots of the limiter are taken, and the call does not wait for a free one.
    #[error("the limiter {} has no free slot", .0.bare())]
    Full(Label),
    /// The limit for the children of the process is zero, so nothing could ever be spawned.
    #[error("the limit for the children of {0} must be at least 1")]
    ZeroLimit(Label),
    /// The interval of a periodic process under this process is zero.
    #[error("the interval of a periodic process under {0} must be longer than zero")]
    ZeroInterval(Label),
}

/// A body or a teardown returned an error.
///
/// ```
/// use procession::{Error, Process};
/// use std::io;
///
/// let process = Process::with_teardown(|| Err(io::Error::from(io::ErrorKind::StorageFull)));
/// let Err(Error::Failed(failed)) = process.close_blocking() else { panic!() };
/// assert!(failed.get().is::<io::Error>());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("{label} failed")]
pub struct Failed {
    label: Label,
    source: Arc<Nested<BoxError>>,
}

/// A body or a teardown panicked.
///
/// ```
/// use procession::{Error, Process};
///
/// let process = Process::with_teardown(|| panic!("out of paper"));
/// let Err(Error::Panicked(panicked)) = process.close_blocking() else { panic!() };
/// assert_eq!(panicked.message(), "out of paper");
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("{label} panicked: {message}")]
pub struct Panicked {
    label: Label,
    message: Arc<str>,
}

/// A blocking wait for a process that could never end.
///
/// ```
/// use procession::{Error, Process};
///
/// let app = Process::builder().name("app").build()?;
/// let above = app.clone();
/// let worker = app.spawn_thread(move |_| above.close_blocking())?;
/// let Err(Error::Deadlock(deadlock)) = worker.closed().wait() else { panic!() };
/// assert_eq!(deadlock.target().name(), Some("app"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Deadlock {
    sides: Arc<(Waiting, Label)>,
}

/// The side of a deadlock that would wait for ever.
#[derive(Debug)]
enum Waiting {
    /// Code of this process.
    Process(Label),
    /// Code of this process, which would wait for the end of its own body.
    Body(Label),
    /// Code of this process, which would wait for the children of a process above it.
    ForChildren(Label),
    /// Code of this process, which would wait for a slot of a limiter.
    ProcessForSlot(Label),
    /// The thread that drives a current-thread runtime. `driven_by` is the process whose code runs on it, if any, and
    /// `needed_by` the process whose work it has to poll.
    #[cfg_attr(
        any(not(feature = "tokio"), loom),
        expect(dead_code, reason = "only tokio has such runtimes")
    )]
    Runtime { driven_by: Option<Label>, needed_by: Label },
    /// The thread that drives a current-thread runtime, which would wait for a slot of a limiter.
    #[cfg_attr(
        any(not(feature = "tokio"), loom),
        expect(dead_code, reason = "only tokio has such runtimes")
    )]
    RuntimeForSlot { driven_by: Option<Label> },
}

/// The OS could not create a thread for a body, usually because a limit is reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the OS could not create a thread for {label}")]
pub struct NoThread {
    label: Label,
    source: Arc<BoxError>,
}

/// Two or more errors, in the order in which they happened.
///
/// Its `Display` prints each of them with its causes, one per line. A list inside 8 or more others prints only
/// the number of its errors.
///
/// ```
/// use procession::{Error, Process};
///
/// let parent = Process::new();
/// let both = parent.spawn_thread(|p| {
///     p.set_teardown(|| Err("no flush")).unwrap();
///     Err("no disk")
/// })?;
/// let Err(Error::Many(errors)) = both.closed().wait() else { panic!() };
/// assert_eq!(errors.iter().count(), 2);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MultiError {
    errors: Arc<[Error]>,
}

impl Error {
    /// The error of a process whose body returned `error`; `label` refers to the process. An error that already is an
    /// [`Error`] is kept as it is.
    pub fn failed(label: Label, error: BoxError) -> Self {
        match error.downcast::<Self>() {
            // It already names the failure and its process.
            Ok(error) => *error,
            Err(source) => {
                let source = Arc::new(Nested::new(source));
                Self::Failed(Failed { label: label.renewed(), source })
            }
        }
    }

    pub(crate) fn panicked(label: Label, message: Arc<str>) -> Self {
        Self::Panicked(Panicked { label, message })
    }

    pub(crate) fn deadlock(waiting: Label, target: Label) -> Self {
        Self::Deadlock(Deadlock { sides: Arc::new((Waiting::Process(waiting), target)) })
    }

    pub(crate) fn body_deadlock(waiting: Label) -> Self {
        Self::Deadlock(Deadlock { sides: Arc::new((Waiting::Body(waiting.clone()), waiting)) })
    }

    pub(crate) fn children_deadlock(waiting: Label, target: Label) -> Self {
        Self::Deadlock(Deadlock { sides: Arc::new((Waiting::ForChildren(waiting), target)) })
    }

    pub(crate) fn slot_deadlock(waiting: Label, limiter: Label) -> Self {
        Self::Deadlock(Deadlock { sides: Arc::new((Waiting::ProcessForSlot(waiting), limiter)) })
    }

    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn runtime_slot_deadlock(driven_by: Option<Label>, limiter: Label) -> Self {
        let waiting = Waiting::RuntimeForSlot { driven_by };
        Self::Deadlock(Deadlock { sides: Arc::new((waiting, limiter)) })
    }

    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn runtime_deadlock(
        driven_by: Option<Label>,
        needed_by: Label,
        target: Label,
    ) -> Self {
        let waiting = Waiting::Runtime { driven_by, needed_by };
        Self::Deadlock(Deadlock { sides: Arc::new((waiting, target)) })
    }

    pub(crate) fn no_thread(label: Label, source: io::Error) -> Self {
        Self::NoThread(NoThread { label, source: Arc::new(source.into()) })
    }

    /// Combines errors: none is `Ok`, one is that error, and several are an [`Error::Many`] that keeps their order. An
    /// [`Error::Many`] among them is flattened.
    ///
    /// # Errors
    ///
    /// If there is at least one error.
    ///
    /// ```
    /// use procession::{Error, Process};
    ///
    /// let outcomes = [(); 3].map(|()| Process::with_teardown(|| Err("disk full")).close_blocking());
    /// let errors = outcomes.into_iter().filter_map(Result::err);
    /// let Err(Error::Many(many)) = Error::all(errors) else { panic!() };
    /// assert_eq!(many.iter().count(), 3);
    /// assert!(Error::all([]).is_ok());
    /// ```
    pub fn all(errors: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        let mut flat = Vec::new();
        for error in errors {
            match error {
                Self::Many(many) => flat.extend(many.iter().cloned()),
                one => flat.push(one),
            }
        }
        match flat.len() {
            0 => Ok(()),
            1 => Err(flat.remove(0)),
            _ => Err(Self::Many(MultiError { errors: flat.into() })),
        }
    }

    /// The errors that it consists of: those of an [`Error::Many`], otherwise only itself.
    pub(crate) fn each(&self) -> &[Self] {
        match self {
            Self::Many(many) => &many.errors,
            one => std::slice::from_ref(one),
        }
    }

    /// The process that the error is about. For [`Error::Many`], it is the process of the first error; for
    /// [`Error::Deadlock`], the [target](Deadlock::target) of the wait; for a [`LinkError::Cycle`], the first process
    /// on the cycle. [`Error::Background`], [`LinkError::Background`] and `Error::Signal` have none.
    pub fn process(&self) -> Option<&Label> {
        match self {
            Self::Failed(Failed { label, .. })
            | Self::Panicked(Panicked { label, .. })
            | Self::NoThread(NoThread { label, .. })
            | Self::Aborted(label)
            | Self::TimeLimit(label)
            | Self::Closed(label)
            | Self::TeardownSet(label)
            | Self::Full(label)
            | Self::ZeroLimit(label)
            | Self::ZeroInterval(label)
            | Self::Link(LinkError::Closed(label)) => Some(label),
            Self::Forced(forced) => Some(forced.process()),
            Self::FailedCalls(calls) => Some(calls.process()),
            Self::Many(many) => many.errors.first()?.process(),
            Self::Deadlock(deadlock) => Some(deadlock.target()),
            Self::Link(LinkError::Cycle(cycle)) => cycle.path().first(),
            Self::Link(LinkError::Background) | Self::Background => None,
            #[cfg(all(feature = "signal", unix, not(loom)))]
            Self::Signal(_) => None,
        }
    }

    /// The process whose failure the error is. `None` if it is about another process, such as the one that a call has
    /// refused.
    pub(crate) fn failed_process(&self) -> Option<&Label> {
        match self {
            Self::Failed(_)
            | Self::Panicked(_)
            | Self::NoThread(_)
            | Self::Aborted(_)
            | Self::TimeLimit(_)
            | Self::Forced(_)
            | Self::FailedCalls(_) => self.process(),
            _ => None,
        }
    }

    /// Was the failure reported, or were hooks called for it?
    pub(crate) fn was_reported(&self) -> bool {
        self.each().iter().all(|error| error.process().is_some_and(Label::is_reported))
    }

    /// Displays the error and its causes, separated by colons, for example as the last message of a program.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        with_causes(self)
    }

    /// The part that may hold users' values; `None` if there is none, or if another clone still shares it.
    pub(crate) fn into_foreign(self) -> Option<Box<dyn Send>> {
        match self {
            Self::Failed(failed) => Some(Box::new(Arc::into_inner(failed.source)?)),
            Self::Many(many) => Some(Box::new(many)),
            Self::FailedCalls(calls) => calls.into_foreign(),
            _ => None,
        }
    }
}

/// Displays an error and its causes, separated by colons.
pub fn with_causes<'a>(error: &'a (dyn StdError + 'static)) -> impl fmt::Display + 'a {
    WithCauses(error)
}

struct WithCauses<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Failed {
    /// The error that the body or the teardown returned.
    pub fn get(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &***self.source
    }
}

impl Panicked {
    /// The panic's message, or a placeholder if the payload was not a string.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Deadlock {
    /// The process whose code would have waited. If code that belongs to no process ran on the thread of a
    /// current-thread runtime, it is the process that needs this thread or, for a wait for a slot, the limiter.
    pub fn waiting(&self) -> &Label {
        match &self.sides.0 {
            Waiting::Process(label)
            | Waiting::Body(label)
            | Waiting::ForChildren(label)
            | Waiting::ProcessForSlot(label)
            | Waiting::Runtime { driven_by: Some(label), .. }
            | Waiting::Runtime { driven_by: None, needed_by: label }
            | Waiting::RuntimeForSlot { driven_by: Some(label) } => label,
            Waiting::RuntimeForSlot { driven_by: None } => &self.sides.1,
        }
    }

    /// The process that the wait was for; for a slot, the limiter.
    pub fn target(&self) -> &Label {
        &self.sides.1
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.sides {
            (Waiting::Process(waiting), target) if waiting == target => {
                write!(f, "code of {waiting} cannot wait until {waiting} is closed")
            }
            (Waiting::Process(waiting), target) => {
                write!(f, "{waiting} cannot wait for {target}, which waits for {waiting}")
            }
            (Waiting::Body(waiting), _) => {
                write!(f, "code of {waiting} cannot wait for the end of its own body")
            }
            (Waiting::ForChildren(waiting), target) => {
                write!(
                    f,
                    "{waiting} cannot wait for the children of {target}: it is below {target}"
                )
            }
            (Waiting::ProcessForSlot(waiting), limiter) => write!(
                f,
                "{waiting} cannot wait for a slot of the limiter {}: processes that wait for {waiting} hold all slots",
                limiter.bare()
            ),
            (Waiting::RuntimeForSlot { .. }, limiter) => write!(
                f,
                "this thread cannot wait for a slot of the limiter {}: the processes that hold all slots need it, \
                 because it drives a current-thread runtime; await instead",
                limiter.bare()
            ),
            (Waiting::Runtime { needed_by, .. }, target) => write!(
                f,
                "this thread cannot wait for {target}: {needed_by} needs it, because it drives a current-thread \
                 runtime; await instead"
            ),
        }
    }
}

impl StdError for Deadlock {}

impl MultiError {
    /// The errors, in the order in which they happened.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.errors.iter()
    }
}

impl<'a> IntoIterator for &'a MultiError {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for MultiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} errors", self.errors.len())?;
        one_level_deeper(|is_too_deep| {
            if is_too_deep {
                return Ok(());
            }
            f.write_str(":")?;
            self.errors.iter().try_for_each(|error| write!(f, "\n{}", error.with_causes()))
        })
    }
}

impl StdError for MultiError {}
