//! [`Facts`]: all that a snapshot knows about a process, except its id.

use std::sync::Arc;
use std::time::Duration;

use super::age::Age;
use super::index::Index;
use crate::value::work::StoredWork;
use crate::value::{BriefReason, Name, Phase, Reason, Site};

/// The facts about a process. Neighbours that have the same facts [share](super::processes) them.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) site: Site,
    pub(crate) name: Option<Name>,
    pub(crate) rare: Option<Box<Rare>>,
    pub(crate) closing_for: Age,
    pub(crate) aborting_for: Age,
    pub(crate) work_for: Age,
    /// The index of the first parent; none for the root, and for a process that was reached only along edges that do
    /// not close it.
    pub(crate) first_parent: Index,
    pub(crate) phase: Phase,
    pub(crate) aborting: bool,
    pub(crate) work: StoredWork,
    /// A reason that carries a value is stored in `rare`.
    pub(crate) reason: Option<BriefReason>,
}

// In a program whose processes have all different names or run code, a snapshot consists of these.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Facts>() == 64);

/// The facts that few processes need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    pub(crate) reason: Option<Reason>,
    pub(crate) failed: bool,
    pub(crate) closing_children: bool,
    pub(crate) thread: Option<Arc<str>>,
    pub(crate) held_slots: Vec<HeldSlot>,
    /// How long the hooks that are being called for a failure of the process have taken.
    pub(crate) failure_hook_for: Option<Duration>,
}

impl Facts {
    /// Are these the facts about the other process, too?
    #[inline(always)]
    pub(super) fn apply_to(&self, other: &Self) -> bool {
        let plain = |facts: &Self| {
            let Self { site, closing_for, aborting_for, work_for, .. } = *facts;
            let Self { first_parent, phase, aborting, work, reason, .. } = *facts;
            let ages = (closing_for, aborting_for, work_for);
            (first_parent, site, ages, phase, aborting, work, reason)
        };
        plain(self) == plain(other)
            && match (&self.name, &other.name) {
                (Some(one), Some(other)) => one.is_same(other),
                (one, other) => one.is_none() && other.is_none(),
            }
            && self.rare.is_none()
            && other.rare.is_none()
    }
}

impl Rare {
    /// The facts in a box, unless all of them are empty.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let Self { reason, failed, closing_children, thread, held_slots, failure_hook_for } = &self;
        let is_empty = reason.is_none() && thread.is_none() && held_slots.is_empty();
        let is_empty = is_empty && failure_hook_for.is_none() && !failed && !closing_children;
        (!is_empty).then(|| Box::new(self))
    }
}

/// A slot of a limiter that a caller holds, because it called [`acquire`](crate::Limited::acquire) and has not yet
/// spawned a child in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSlot {
    /// The place where it was requested.
    pub site: Site,
    /// How long it has been held.
    pub held_for: Duration,
}
