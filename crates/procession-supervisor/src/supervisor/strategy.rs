//! The strategies of a set: which units follow one that fails, and when the set ends.

/// Which units are restarted together with one that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

impl Strategy {
    /// The first of the units that are restarted because the one at `failed` failed; `None` if it is alone.
    pub(super) fn restarts_from(self, failed: usize) -> Option<usize> {
        match self {
            Self::OneForOne => None,
            Self::OneForAll => Some(0),
            Self::RestForOne => Some(failed),
        }
    }
}

/// Whether the end of [significant](crate::Unit::significant) units closes their set. The unit must have ended for good:
/// one that is started again does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// The end of one significant unit closes the set.
    AnySignificant,
    /// The end of the last significant unit closes the set.
    AllSignificant,
}
