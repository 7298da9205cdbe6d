//! What a process is called: its [`ProcessId`] and its [`Label`].

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Tells processes that exist at the same time apart.
///
/// An id may be used again once nothing refers to its process any more.
///
/// ```
/// use procession::Process;
///
/// let (one, other) = (Process::new(), Process::new());
/// assert_eq!(one.id(), one.clone().id());
/// assert_ne!(one.id(), other.id());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(NonZeroUsize);

impl ProcessId {
    pub(crate) fn of<T>(process: *const T) -> Self {
        // An address is never zero.
        Self(NonZeroUsize::new(process.addr()).unwrap_or(NonZeroUsize::MAX))
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessId({:#x})", self.0)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// How errors call a process: its name where it has one, else its id.
///
/// ```
/// use procession::Process;
///
/// let process = Process::builder().name("http").build()?;
/// let label = process.label();
/// assert_eq!(label.to_string(), "process `http`");
/// assert_eq!(label.name(), Some("http"));
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label {
    name: Option<Arc<str>>,
    id: ProcessId,
}

impl Label {
    pub(crate) fn new(name: Option<Arc<str>>, id: ProcessId) -> Self {
        Self { name, id }
    }

    /// The process's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The process's id.
    pub fn id(&self) -> ProcessId {
        self.id
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "process `{name}`"),
            None => write!(f, "process {}", self.id),
        }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
