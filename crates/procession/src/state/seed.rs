//! [`Seed`]: everything that a new process starts with, and how it becomes a node.

use std::sync::Arc;

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::inherited::Inherited;
use super::node::{Extras, Inner, Node};
use super::phase_word::{Holder, PhaseWord};
use super::scope::Scope;
use crate::value::sync::{AtomicU32, Mutex};
use crate::value::{Site, WorkCell};

/// Everything that a new process starts with.
pub(crate) struct Seed<C: Contents> {
    /// Where it is made.
    pub(crate) site: Site,
    pub(crate) inherited: Option<Arc<Inherited<C::Spawner, C::Report>>>,
    pub(crate) teardown: Option<C::Teardown>,
    /// It waits for its body or, until all its edges are added, for its maker.
    pub(crate) body: bool,
    /// It holds a slot of the parent under which it is made.
    pub(crate) limited: bool,
    /// It never closes.
    pub(crate) background: bool,
    pub(crate) extras: Option<Box<Extras<C>>>,
}

impl<C: Contents> Seed<C> {
    #[inline]
    pub(crate) fn at(site: Site) -> Self {
        Self::inheriting(site, None)
    }

    /// The seed of a process that inherits these values. It writes each field only once, because making a child is a
    /// hot path.
    #[inline(always)]
    pub(crate) fn inheriting(
        site: Site,
        inherited: Option<Arc<Inherited<C::Spawner, C::Report>>>,
    ) -> Self {
        Self {
            site,
            inherited,
            teardown: None,
            body: false,
            limited: false,
            background: false,
            extras: None,
        }
    }

    pub(crate) fn extras(&mut self) -> &mut Extras<C> {
        self.extras.get_or_insert_default()
    }
}

impl<C: Contents> Node<C> {
    /// Makes a process without edges, with one handle. `scope` has the observers that its maker gives it.
    pub(crate) fn new(seed: Seed<C>, scope: Option<Arc<Scope<C>>>) -> Arc<Self> {
        let holder = if seed.background { Holder::Background } else { Holder::Handles };
        let node = Arc::new(Self::with_parent(seed, None, holder));
        if scope.is_some() {
            node.watch_from_birth(scope, None);
        }
        node
    }

    #[inline(always)]
    pub(super) fn with_parent(seed: Seed<C>, parent: Option<Arc<Self>>, holder: Holder) -> Self {
        let edge = if seed.limited { EdgeKind::LIMITED_CHILD } else { EdgeKind::CHILD };
        Self {
            phase: PhaseWord::new(holder, seed.body),
            work: WorkCell::new(),
            handles: AtomicU32::new(1),
            #[cfg(not(loom))]
            end_waiters: std::sync::atomic::AtomicU16::new(0),
            waiting: AtomicU32::new(u32::from(seed.body)),
            place: AtomicU32::new(0),
            site: seed.site,
            inherited: seed.inherited,
            inner: Mutex::new(Inner::new(parent, edge, seed.teardown, seed.extras)),
        }
    }
}
