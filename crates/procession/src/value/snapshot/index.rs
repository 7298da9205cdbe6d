//! [`Index`]: the place of a process in a snapshot, in four bytes.

/// Converts a position into an index of four bytes, because a snapshot of 2³² processes would not fit into memory.
pub(super) fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a snapshot has fewer than 2³² processes and edges")
}

/// An optional index in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(u32);

impl Index {
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn get(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl From<u32> for Index {
    fn from(index: u32) -> Self {
        Self(index)
    }
}
