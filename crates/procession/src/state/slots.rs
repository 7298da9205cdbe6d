//! The slots of a process that limits its children, and the sleepers that wait for one.
//!
//! Everything here is guarded by the node's lock. A slot is free, or is held by exactly one of these: a child that was
//! linked with [`EdgeKind::LIMITED_CHILD`](super::EdgeKind), until it is Closed; a waiter to which the slot was given
//! and which has not fetched it yet; or a [`Slot`](crate::Slot). No slot is free while a sleeper is in the queue,
//! because a returned slot goes to the first sleeper.
//!
//! A child for which a slot is taken can be added in the same locked section, so its start locks its parent once. So
//! does its end, because the section that removes the edge also returns the slot.

use std::mem;
use std::sync::Arc;
use std::task::Waker;

use super::contents::Contents;
use super::effects::Effects;
use super::limit::{Limit, SlotAttempt, Ticket};
use super::node::{Inner, Node};
use super::phase_word::Holder;
use super::seed::Seed;
use crate::value::model::model_has_failed;
use crate::value::sleeper::Sleeper;
use crate::value::{Phase, Site};

impl<C: Contents> Node<C> {
    /// Takes a free slot.
    pub(crate) fn try_take_slot(&self) -> SlotAttempt {
        let mut inner = self.inner.lock();
        if self.phase() != Phase::Running {
            return SlotAttempt::Closed;
        }
        inner.limit().try_take()
    }

    /// Takes a slot, or queues for one: `waker` is woken when there is a slot for `ticket`, or when the process closes.
    /// A sleeper that was replaced or not needed is returned for the caller to drop.
    pub(crate) fn take_slot(
        &self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> (SlotAttempt, Option<Sleeper>) {
        self.take_slot_and(ticket, waker, |_| ())
    }

    /// [`take_slot`](Self::take_slot) for a child of this process, which is added in the same locked section.
    pub(crate) fn take_slot_for(
        self: &Arc<Self>,
        child: &Unlinked<C>,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> (SlotAttempt, Option<Sleeper>) {
        self.take_slot_and(ticket, waker, |inner| {
            // A slot is taken only while the process is Running.
            self.increment_waiting();
            if self.phase.is_watched() {
                inner.watch_fresh(self, child.node(), None);
            }
            inner.add_open_child(child.node());
        })
    }

    /// Calls `then` in the locked section in which a slot is taken.
    #[inline(always)]
    fn take_slot_and(
        &self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        then: impl Fn(&mut Inner<C>),
    ) -> (SlotAttempt, Option<Sleeper>) {
        let look = |inner: &mut Inner<C>, ticket: &mut Option<Ticket>| {
            let known = |queued: &Sleeper| queued.wakes(waker);
            let look = inner.look_for_slot(self.phase(), ticket, known);
            if let Some(SlotAttempt::Taken) = look {
                then(inner);
            }
            look
        };
        if let Some(look) = look(&mut self.inner.lock(), ticket) {
            return (look, None);
        }
        // The waker is cloned with the lock released.
        let sleeper = Sleeper::of(waker);
        let mut inner = self.inner.lock();
        if let Some(look) = look(&mut inner, ticket) {
            return (look, Some(sleeper));
        }
        let queue = &mut inner.limit().queue;
        match ticket.and_then(|ticket| queue.get_mut(ticket)) {
            Some(registered) => (SlotAttempt::NoneFree, Some(mem::replace(registered, sleeper))),
            None => {
                *ticket = Some(queue.push(sleeper));
                (SlotAttempt::NoneFree, None)
            }
        }
    }

    /// Leaves the queue. A slot that was given in the meantime goes to the next sleeper. The sleeper that leaves is
    /// returned for the caller to drop.
    pub(crate) fn leave_queue(&self, ticket: Ticket) -> (Effects<C>, Option<Sleeper>) {
        let mut effects = Effects::default();
        let mut inner = self.inner.lock();
        let left = inner.limit().queue.remove(ticket);
        if left.is_none() {
            inner.return_slot(&mut effects);
        }
        drop(inner);
        (effects, left)
    }

    /// Is each of its slots held by a child for which `is_so` returns `true`? `is_so` is called with no lock held.
    pub(crate) fn all_slots_are_held_by(&self, is_so: impl Fn(&Arc<Self>) -> bool) -> bool {
        let (total, children) = {
            let inner = self.inner.lock();
            let limit = inner.extras_ref().and_then(|extras| extras.limit.as_ref());
            let Some(limit) = limit else { return false };
            let children = inner.waited_children().into_iter().flat_map(|children| children.iter());
            (limit.total, children.cloned().collect::<Vec<_>>())
        };
        let holds_slot = |child: &Arc<Self>| child.inner.lock().parent_edge.holds_slot();
        children.iter().filter(|child| is_so(child) && holds_slot(child)).count() == total
    }

    /// Records that a caller holds a slot; returns the place of the record.
    pub(crate) fn add_slot_holder(&self, site: Site) -> u32 {
        self.inner.lock().limit().add_holder(site)
    }

    /// Removes the record, because the caller no longer holds the slot.
    pub(crate) fn remove_slot_holder(&self, place: u32) {
        self.inner.lock().limit().remove_holder(place);
    }

    /// Returns a slot.
    pub(crate) fn return_slot(&self) -> Effects<C> {
        let mut effects = Effects::default();
        self.inner.lock().return_slot(&mut effects);
        effects
    }
}

/// A child that has been made, but is not yet in the list of its parent, so no other thread knows it. Dropping it also
/// drops its pointer to its parent (S8).
pub(crate) struct Unlinked<C: Contents>(Option<Arc<Node<C>>>);

impl<C: Contents> Unlinked<C> {
    #[inline]
    pub(crate) fn new(parent: &Arc<Node<C>>, seed: Seed<C>) -> Self {
        let node = Node::with_parent(seed, Some(parent.clone()), Holder::Parent);
        Self(Some(Arc::new(node)))
    }

    fn node(&self) -> &Arc<Node<C>> {
        self.0.as_ref().expect("it is taken by value")
    }

    /// The child, which has been added to its parent.
    pub(crate) fn linked(mut self) -> Arc<Node<C>> {
        self.0.take().expect("it is taken by value")
    }
}

impl<C: Contents> Drop for Unlinked<C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(node) = self.0.take().filter(|_| !model_has_failed()) {
            let parent = node.inner.lock().parent.take();
            drop(parent);
        }
    }
}

impl<C: Contents> Inner<C> {
    fn limit(&mut self) -> &mut Limit {
        let limit = self.extras_mut().and_then(|extras| extras.limit.as_mut());
        limit.expect("only a process with a limit is asked for slots")
    }

    /// The result, if it is known without a new sleeper; `None` if a new sleeper has to be queued, or to replace the
    /// queued one.
    #[inline]
    fn look_for_slot(
        &mut self,
        phase: Phase,
        ticket: &mut Option<Ticket>,
        is_known: impl FnOnce(&Sleeper) -> bool,
    ) -> Option<SlotAttempt> {
        if phase != Phase::Running {
            // The slots are no longer used, so none has to be returned.
            *ticket = None;
            return Some(SlotAttempt::Closed);
        }
        let limit = self.limit();
        let Some(queued) = *ticket else {
            return Some(limit.try_take()).filter(|look| matches!(look, SlotAttempt::Taken));
        };
        match limit.queue.get_mut(queued) {
            Some(registered) => is_known(registered).then_some(SlotAttempt::NoneFree),
            None => {
                *ticket = None;
                Some(SlotAttempt::Taken)
            }
        }
    }

    /// Gives a returned slot to the sleeper that has waited longest.
    pub(super) fn return_slot(&mut self, effects: &mut Effects<C>) {
        self.limit().give_back().into_iter().for_each(|sleeper| effects.wake(sleeper));
    }

    /// Takes the sleepers that wait for a slot. Call it in the locked section in which the process becomes Closing.
    #[inline]
    pub(super) fn take_queue(&mut self, effects: &mut Effects<C>) {
        if let Some(limit) = self.extras_mut().and_then(|extras| extras.limit.as_mut()) {
            limit.take_queue().for_each(|sleeper| effects.wake(sleeper));
        }
    }
}
