//! [`Error`]: what went wrong with a process; [`LinkError`]: why an edge was refused.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::name::Label;

/// Any error, as bodies and teardowns may return it.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong with a process.
///
/// Cheap to clone, since every caller gets the same outcome. It says which process it is about, and
/// [`source`](StdError::source) leads to the error that a body or a teardown returned:
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
/// assert_eq!(error.to_string(), "process `log` failed: disk full");
/// assert!(error.source().unwrap().is::<std::io::Error>());
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A body or a teardown returned an error.
    Failed(Failed),
    /// A body or a teardown panicked.
    Panicked(Panicked),
    /// The body, or an async teardown, was dropped before its end: by an abort, by its spawner or executor,
    /// or with the future of [`Process::run`](crate::Process::run).
    Aborted(Label),
    /// Several errors: the body's, then the teardown's; between them, those of children that the process
    /// [closed for](crate::ChildFailure::Close).
    Many(MultiError),
    /// The process is Closed, or its teardown has started; the body was not run.
    Closed(Label),
    /// The process has a teardown already; that one stays.
    TeardownSet(Label),
    /// [`Process::background`](crate::Process::background) cannot be closed, aborted or torn down.
    Background,
    /// A wait that cannot end was refused.
    Deadlock(Deadlock),
    /// The system gave no thread for a body.
    NoThread(NoThread),
    /// An edge was refused: for those who return one error type.
    Link(LinkError),
    /// All slots of the process are taken, and the call was not to wait for one.
    Full(Label),
    /// A limit of zero children for the process: nothing could ever be spawned.
    ZeroLimit(Label),
    /// A body was to be called at intervals of zero under this process.
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
#[derive(Clone, Debug)]
pub struct Failed {
    label: Label,
    source: Arc<dyn StdError + Send + Sync>,
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
#[derive(Clone, Debug)]
pub struct Panicked {
    label: Label,
    message: Arc<str>,
}

/// A blocking wait for a process, made by a body or a teardown that this process waits for.
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
    labels: Arc<(Label, Label)>,
}

/// The system gave no thread for a body, most often since a limit is reached.
#[derive(Clone, Debug)]
pub struct NoThread {
    label: Label,
    source: Arc<io::Error>,
}

/// Two or more errors, in the order in which they happened.
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
    /// The process that `label` is of failed with `error`, which is kept: what a body that returns it does by
    /// itself. An error of this type is itself.
    pub fn failed(label: Label, error: BoxError) -> Self {
        match error.downcast::<Self>() {
            // It says already what failed and where.
            Ok(error) => *error,
            Err(source) => Self::Failed(Failed { label, source: source.into() }),
        }
    }

    pub(crate) fn panicked(label: Label, message: Arc<str>) -> Self {
        Self::Panicked(Panicked { label, message })
    }

    pub(crate) fn deadlock(waiting: Label, target: Label) -> Self {
        Self::Deadlock(Deadlock { labels: Arc::new((waiting, target)) })
    }

    pub(crate) fn no_thread(label: Label, source: io::Error) -> Self {
        Self::NoThread(NoThread { label, source: Arc::new(source) })
    }

    /// All of them as one: none is `Ok`, one is itself, more are [`Error::Many`], in their order. Those that
    /// are many themselves are taken apart.
    ///
    /// # Errors
    ///
    /// If there is one.
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

    /// The process that the error is about: for [`Error::Many`], for the first of them; for
    /// [`Error::Background`], none.
    pub fn process(&self) -> Option<&Label> {
        match self {
            Self::Failed(Failed { label, .. })
            | Self::Panicked(Panicked { label, .. })
            | Self::NoThread(NoThread { label, .. })
            | Self::Aborted(label)
            | Self::Closed(label)
            | Self::TeardownSet(label)
            | Self::Full(label)
            | Self::ZeroLimit(label)
            | Self::ZeroInterval(label) => Some(label),
            Self::Many(many) => many.errors.first()?.process(),
            Self::Deadlock(deadlock) => Some(deadlock.target()),
            Self::Link(LinkError::Cycle(cycle)) => cycle.path.first(),
            Self::Link(LinkError::Closed(label)) => Some(label),
            Self::Link(LinkError::Background) => None,
            Self::Background => None,
        }
    }
}

impl Failed {
    /// The error that the body or the teardown returned.
    pub fn get(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.source
    }
}

impl Panicked {
    /// The panic's message; a placeholder if the payload was no string.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Deadlock {
    /// The process whose body or teardown wanted to wait.
    pub fn waiting(&self) -> &Label {
        &self.labels.0
    }

    /// The process that it wanted to wait for.
    pub fn target(&self) -> &Label {
        &self.labels.1
    }
}

impl MultiError {
    /// The errors, first to last.
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
        write!(f, "{} errors:", self.errors.len())?;
        self.errors.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(Failed { label, source }) => write!(f, "{label} failed: {source}"),
            Self::Panicked(Panicked { label, message }) => write!(f, "{label} panicked: {message}"),
            Self::Aborted(label) => write!(f, "{label} was aborted: dropped before its end"),
            Self::Many(many) => many.fmt(f),
            Self::Closed(label) => write!(f, "{label} is closed"),
            Self::TeardownSet(label) => write!(f, "{label} has a teardown already"),
            Self::Background => f.write_str("the background process never closes"),
            Self::Deadlock(deadlock) => {
                let (waiting, target) = &*deadlock.labels;
                if waiting == target {
                    return write!(
                        f,
                        "{waiting} cannot wait in its own body or teardown for itself to be closed"
                    );
                }
                write!(f, "{waiting} cannot wait for {target}, which itself waits for {waiting}")
            }
            Self::NoThread(NoThread { label, source }) => {
                write!(f, "{label} was not started: no thread: {source}")
            }
            Self::Link(error) => error.fmt(f),
            Self::Full(label) => write!(f, "{label} has as many children as it may"),
            Self::ZeroLimit(label) => write!(f, "{label}: a limit must be at least 1"),
            Self::ZeroInterval(label) => write!(f, "{label}: an interval must be longer than zero"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(failed) => Some(&*failed.source),
            Self::NoThread(no_thread) => Some(&*no_thread.source),
            Self::Many(many) => many.errors.first()?.source(),
            Self::Link(error) => Some(error),
            _ => None,
        }
    }
}

/// Why an edge was refused. The graph is as it was before.
///
/// ```
/// use procession::{LinkError, Process};
///
/// let (server, log) = (Process::new(), Process::new());
/// log.wait_for(&server)?;
/// assert!(matches!(server.wait_for(&log), Err(LinkError::Cycle(_))));
/// # Ok::<(), LinkError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The edge would close a waiting cycle, in which nobody could ever be Closed.
    Cycle(Cycle),
    /// The teardown of the process that would wait has started, or it is Closed.
    Closed(Label),
    /// Nothing can wait for [`Process::background`](crate::Process::background), and it waits for nothing but
    /// its children.
    Background,
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The processes on a waiting cycle.
///
/// ```
/// use procession::{LinkError, Process};
///
/// let (one, other) = (Process::new(), Process::new());
/// one.wait_for(&other)?;
/// let Err(LinkError::Cycle(cycle)) = other.wait_for(&one) else { panic!() };
/// assert_eq!(cycle.path(), [one.label(), other.label()]);
/// # Ok::<(), LinkError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    path: Arc<[Label]>,
}

impl LinkError {
    pub(crate) fn cycle(path: Vec<Label>) -> Self {
        Self::Cycle(Cycle { path: path.into() })
    }
}

impl Cycle {
    /// The processes on it: each waits for the next, and the last was to wait for the first.
    pub fn path(&self) -> &[Label] {
        &self.path
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle(Cycle { path }) => {
                f.write_str("a waiting cycle: ")?;
                path.iter().try_for_each(|label| write!(f, "{label}, which waits for "))?;
                path.first().map_or(Ok(()), |first| first.fmt(f))
            }
            Self::Closed(label) => write!(f, "{label} is closed"),
            Self::Background => f.write_str("the background process never closes"),
        }
    }
}

impl StdError for LinkError {}
