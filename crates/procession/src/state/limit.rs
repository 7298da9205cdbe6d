//! [`Limit`]: the slots of a process, and the queue for them.

use std::collections::BTreeMap;
use std::mem;

use super::stable_list::StableList;
use crate::value::sleeper::Sleeper;
use crate::value::stamp::Stamp;
use crate::value::{HeldSlot, Site};

/// The slots of one process.
pub(crate) struct Limit {
    pub(super) total: usize,
    free: usize,
    pub(super) queue: Queue,
    /// The slots that callers hold, as opposed to children.
    held: StableList<SlotHolder>,
}

/// A slot that a caller holds.
struct SlotHolder {
    site: Site,
    since: Stamp,
}

/// The result of an attempt to take a slot.
pub(crate) enum SlotAttempt {
    /// The caller has a slot, and must [return](super::node::Node::return_slot) it.
    Taken,
    /// No slot is free.
    NoneFree,
    /// The process is Closing or Closed.
    Closed,
}

/// The sleepers, by ticket, in the order in which they came. If a ticket is no longer in the queue, it was given a
/// slot, or the process closes.
#[derive(Default)]
pub(super) struct Queue {
    /// The sleeper that has waited longest. A single sleeper, the usual case, needs no allocation.
    first: Option<(Ticket, Sleeper)>,
    others: BTreeMap<Ticket, Sleeper>,
    next: Ticket,
}

/// The number of a waiter in the queue for a slot.
pub(crate) type Ticket = u64;

impl Limit {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, free: total, queue: Queue::default(), held: StableList::new() }
    }

    #[inline]
    pub(super) fn try_take(&mut self) -> SlotAttempt {
        if self.free == 0 {
            return SlotAttempt::NoneFree;
        }
        self.free -= 1;
        SlotAttempt::Taken
    }

    /// Gives a returned slot to the sleeper that has waited longest, if there is one.
    #[inline]
    pub(super) fn give_back(&mut self) -> Option<Sleeper> {
        let next = self.queue.pop();
        if next.is_none() {
            self.free += 1;
        }
        next
    }

    /// Records that a caller holds a slot; returns the place of the record.
    pub(super) fn add_holder(&mut self, site: Site) -> u32 {
        self.held.insert(SlotHolder { site, since: Stamp::now() })
    }

    /// Removes the record, because the caller no longer holds the slot.
    pub(super) fn remove_holder(&mut self, place: u32) {
        self.held.remove(place);
    }

    /// The slots that callers hold.
    pub(super) fn held(&self, now: Stamp) -> Vec<HeldSlot> {
        let held = self.held.iter();
        held.map(|held| HeldSlot { site: held.site, held_for: now.since(held.since) }).collect()
    }

    /// Empties the queue.
    pub(super) fn take_queue(&mut self) -> impl Iterator<Item = Sleeper> + use<> {
        let Queue { first, others, .. } = mem::take(&mut self.queue);
        first.into_iter().map(|(_, sleeper)| sleeper).chain(others.into_values())
    }
}

impl Queue {
    pub(super) fn push(&mut self, sleeper: Sleeper) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        match self.first {
            None => self.first = Some((ticket, sleeper)),
            Some(_) => drop(self.others.insert(ticket, sleeper)),
        }
        ticket
    }

    fn pop(&mut self) -> Option<Sleeper> {
        let (_, sleeper) = self.first.take()?;
        self.first = self.others.pop_first();
        Some(sleeper)
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Sleeper> {
        match &mut self.first {
            Some((first, sleeper)) if *first == ticket => Some(sleeper),
            _ => self.others.get_mut(&ticket),
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Sleeper> {
        match &self.first {
            Some((first, _)) if *first == ticket => self.pop(),
            _ => self.others.remove(&ticket),
        }
    }
}
