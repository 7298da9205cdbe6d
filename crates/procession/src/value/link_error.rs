//! [`LinkError`]: why an edge was refused.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::value::Label;

/// Why an edge was refused. The graph is unchanged.
///
/// ```
/// use procession::{LinkError, Process};
///
/// let (server, log) = (Process::new(), Process::new());
/// log.wait_for(&server)?;
/// assert!(matches!(server.wait_for(&log), Err(LinkError::Cycle(_))));
/// # Ok::<(), LinkError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The edge would complete a cycle in which no process could ever be Closed.
    #[error("this edge would complete a cycle that can never close: {0}")]
    Cycle(Cycle),
    /// The process that would wait has started its teardown, or is Closed.
    #[error("{0} is closed, or its teardown has started")]
    Closed(Label),
    /// Nothing can wait for [`Process::background`](crate::Process::background), and it waits for nothing but
    /// its children.
    #[error("the background process never closes")]
    Background,
}

/// The processes on a cycle that could never close.
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
    /// The processes on the cycle: each waits for the next, and the last one would wait for the first.
    pub fn path(&self) -> &[Label] {
        &self.path
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.iter().try_for_each(|label| write!(f, "{label} waits for "))?;
        self.path.first().map_or(Ok(()), |first| first.fmt(f))
    }
}
