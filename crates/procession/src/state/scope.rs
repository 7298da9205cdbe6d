//! [`Scope`] and [`Watch`]: the observers of a process, as its node refers to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::contents::Contents;
use crate::value::Above;

/// The observers of processes, and the names above these. It never changes.
pub(crate) struct Scope<C: Contents> {
    /// Distinguishes all scopes that there ever were.
    pub(super) id: u64,
    /// The id of the scope that the same children inherited before, whose observers this one has too. So a child that
    /// has that scope takes this one without a comparison (I16).
    pub(super) before: Option<u64>,
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
