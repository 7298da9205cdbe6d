//! The events that the search for cycles is about.

use std::sync::Arc;

use crate::state::contents::Contents;
use crate::state::node::Node;

/// Something that may happen to a process, and that may require other events.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Event {
    BeginsToClose,
    IsClosed,
    /// It is kept open by the processes that own it. Used only in the search for rings.
    IsHeld,
}

pub(super) type Key<C> = (*const Node<C>, Event);

pub(super) type Events<C> = Vec<(Arc<Node<C>>, Event)>;

/// How many places of a list are looked at in one step.
pub(in crate::state) const CHUNK: usize = 16;

/// An event whose neighbours are being looked at.
pub(super) struct Cursor<C: Contents> {
    pub(super) node: Arc<Node<C>>,
    pub(super) event: Event,
    /// How many places have been looked at.
    pub(super) looked_at: usize,
}
