//! The strategies of a set: which units restart together with a failed one, and when the set closes.

/// The units that restart together with a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

impl Strategy {
    /// The position of the first unit that restarts because the unit at `failed` failed; `None` if only that unit
    /// restarts.
    pub(super) fn restarts_from(self, failed: usize) -> Option<usize> {
        match self {
            Self::OneForOne => None,
            Self::OneForAll => Some(0),
            Self::RestForOne => Some(failed),
        }
    }
}

/// Whether the end of [significant](crate::Unit::significant) units closes their set. The unit must have ended for
/// good: a unit that is restarted does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AutoShutdown {
    /// The end of significant units does not close the set.
    #[default]
    Never,
    /// The end of one significant unit closes the set.
    AnySignificant,
    /// The end of a significant unit closes the set if no other significant unit is open, that is, has a run or will
    /// have one. A unit that a call has stopped is not open.
    AllSignificant,
}
