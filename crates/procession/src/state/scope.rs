//! [`Scope`] and [`Watch`]: the observers of a process, as its node refers to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::contents::Contents;
use crate::value::Above;

/// The observers of some processes, and the names above those processes. It is immutable.
pub(crate) struct Scope<C: Contents> {
    /// A number that no other scope ever has.
    pub(super) id: u64,
    /// The id of the scope that the same children inherited before this one. This one contains all its observers, so a
    /// child that has that scope takes this one without comparing the observers (I16).
    pub(super) before: Option<u64>,
    pub(super) observers: Vec<C::Observer>,
    pub(super) above: Option<Arc<Above>>,
}

/// The observers of a node that is watched.
pub(super) struct Watch<C: Contents> {
    pub(super) own: Arc<Scope<C>>,
    /// What its children inherit; `None` until it has a child.
    pub(super) below: Option<Box<Below<C>>>,
}

/// The observers that the children of a watched node inherit.
pub(super) struct Below<C: Contents> {
    pub(super) scope: Arc<Scope<C>>,
    /// Children that a closing walk has taken lack observers (E4).
    pub(super) is_pending: bool,
}

impl<C: Contents> Scope<C> {
    pub(super) fn of(
        observers: Vec<C::Observer>,
        above: Option<Arc<Above>>,
        before: Option<u64>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), before, observers, above })
    }
}
