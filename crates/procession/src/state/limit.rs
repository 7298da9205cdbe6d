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
    held: StableList<Held>,
}

/// A slot that a caller holds.
struct Held {
    site: Site,
    since: Stamp,
}

/// The result of a look for a slot.
pub(crate) enum Look {
    /// The caller has the slot, and must [return](Node::return_slot) it.
    Taken,
    /// There is none yet.
    None,
    /// The process is Closing or Closed.
    Closed,
}

/// The sleepers by ticket, in the order in which they came. A ticket that is no longer in the queue was given a slot,
/// or the process closes.
#[derive(Default)]
pub(super) struct Queue {
    /// The sleeper that has waited longest. A single sleeper, which is the usual case, allocates nothing.
    first: Option<(Ticket, Sleeper)>,
    others: BTreeMap<Ticket, Sleeper>,
    next: Ticket,
}

/// A place in the queue for a slot.
pub(crate) type Ticket = u64;

impl Limit {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, free: total, queue: Queue::default(), held: StableList::new() }
    }

    #[inline]
    pub(super) fn try_take(&mut self) -> Look {
        if self.free == 0 {
            return Look::None;
        }
        self.free -= 1;
        Look::Taken
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

    /// Notes that a caller holds a slot; returns the place of the note.
    pub(super) fn note(&mut self, site: Site) -> u32 {
        self.held.insert(Held { site, since: Stamp::now() })
    }

    /// The caller no longer holds the slot.
    pub(super) fn forget(&mut self, place: u32) {
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
