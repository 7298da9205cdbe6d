//! [`Inherited`]: the name of a process, and the values that it passes on to its children.

use std::sync::Arc;

use crate::value::Name;

/// The values that a process is made with: a name, a spawner `S`, and a report `R` to its supervisor.
pub(crate) enum Inherited<S, R> {
    /// Values that the process shares with every process that inherits them.
    Shared {
        /// Where bodies and teardowns run.
        spawner: S,
    },
    /// Values that no other process inherits.
    Own {
        /// The name.
        name: Name,
        /// The report to the supervisor, if the process is supervised.
        report: Option<R>,
        /// The values that it passes on to its children, if there are any.
        shared: Option<Arc<Self>>,
    },
}

impl<S, R> Inherited<S, R> {
    /// The values of a named process. `shared` is passed on to its children.
    pub(crate) fn named(name: impl Into<Name>, shared: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self::Own { name: name.into(), report: None, shared })
    }

    /// The values of a supervised process. `shared` is passed on to its children.
    pub(crate) fn supervised(name: Name, report: R, shared: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self::Own { name, report: Some(report), shared })
    }

    /// The values of an unnamed process with this spawner, which its children inherit.
    pub(crate) fn unnamed(spawner: S) -> Arc<Self> {
        Arc::new(Self::Shared { spawner })
    }

    pub(crate) fn name(&self) -> Option<&Name> {
        match self {
            Self::Shared { .. } => None,
            Self::Own { name, .. } => Some(name),
        }
    }

    /// Where bodies and teardowns run; `None` is the default spawner.
    #[inline]
    pub(crate) fn spawner(&self) -> Option<&S> {
        match self {
            Self::Shared { spawner } => Some(spawner),
            Self::Own { shared, .. } => match shared.as_deref()? {
                Self::Shared { spawner } => Some(spawner),
                // Only what is shared is passed on.
                Self::Own { .. } => None,
            },
        }
    }

    #[inline]
    pub(crate) fn report(&self) -> Option<&R> {
        match self {
            Self::Own { report, .. } => report.as_ref(),
            Self::Shared { .. } => None,
        }
    }

    /// The values that children inherit.
    pub(crate) fn passed_on(self: &Arc<Self>) -> Option<Arc<Self>> {
        match &**self {
            Self::Shared { .. } => Some(self.clone()),
            Self::Own { shared, .. } => shared.clone(),
        }
    }
}
