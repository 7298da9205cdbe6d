//! The events between which the search for cycles follows requirements.

use std::sync::Arc;

use crate::state::contents::Contents;
use crate::state::node::Node;

/// Something that may happen to a process, and that may require other events.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Event {
    BeginsToClose,
    IsClosed,
    /// The process is held open by the processes that own it. Used only in the search for rings.
    IsHeld,
}

pub(super) type Key<C> = (*const Node<C>, Event);

pub(super) type Events<C> = Vec<(Arc<Node<C>>, Event)>;

/// The number of places of a list that are read in one step.
pub(in crate::state) const CHUNK: usize = 16;

/// An event whose neighbours are being read.
pub(super) struct Cursor<C: Contents> {
    pub(super) node: Arc<Node<C>>,
    pub(super) event: Event,
    /// The number of places that have been read.
    pub(super) looked_at: usize,
}
