//! [`Scope`] and [`Watch`]: the observers of a process, as its node refers to them.

use std::sync::Arc;

use super::contents::Contents;
use crate::value::Above;

/// The observers of processes, and the names above these. It never changes.
pub(crate) struct Scope<C: Contents> {
    pub(super) observers: Vec<C::Observer>,
    pub(super) above: Option<Arc<Above>>,
}

/// The part of a node that is watched.
pub(super) struct Watch<C: Contents> {
    pub(super) own: Arc<Scope<C>>,
    /// Once it had a child.
    pub(super) below: Option<Box<Below<C>>>,
}

/// The part of a watch that concerns the children.
pub(super) struct Below<C: Contents> {
    pub(super) scope: Arc<Scope<C>>,
    /// Children in the hands of a closing walk lack observers (E4).
    pub(super) is_pending: bool,
}
