//! [`Inherited`]: the name of a process, and what it passes on to its children.

use std::sync::Arc;

use crate::value::Name;

/// The values that a process has from its birth: a spawner `S`, and a report `R` for its supervisor.
pub(crate) enum Inherited<S, R> {
    /// Those that it shares with every process that inherits them.
    Shared {
        /// Where bodies and teardowns run.
        spawner: S,
    },
    /// Those that no other process inherits.
    Own {
        /// The name.
        name: Name,
        /// It is supervised.
        report: Option<R>,
        /// What it passes on to its children; `None` if there is nothing.
        shared: Option<Arc<Self>>,
    },
}

impl<S, R> Inherited<S, R> {
    /// A name, together with a spawner that is inherited without a name.
    pub(crate) fn named(name: impl Into<Name>, shared: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self::Own { name: name.into(), report: None, shared })
    }

    /// The name and the report of a supervised process.
    pub(crate) fn supervised(name: Name, report: R, shared: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self::Own { name, report: Some(report), shared })
    }

    pub(crate) fn unnamed(spawner: S) -> Arc<Self> {
        Arc::new(Self::Shared { spawner })
    }

    pub(crate) fn name(&self) -> Option<&Name> {
        match self {
            Self::Shared { .. } => None,
            Self::Own { name, .. } => Some(name),
        }
    }

    /// Where bodies and teardowns run; `None` is the default.
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

    /// The values for the children.
    pub(crate) fn passed_on(self: &Arc<Self>) -> Option<Arc<Self>> {
        match &**self {
            Self::Shared { .. } => Some(self.clone()),
            Self::Own { shared, .. } => shared.clone(),
        }
    }
}
