//! The slots of a process that limits its children, and who waits for one.
//!
//! All of it stands under the node's lock. A slot is free, or held by exactly one of: a child that was linked
//! with [`EdgeKind::LimitedChild`](super::EdgeKind), until its report; a waiter that it was given to and that
//! has not fetched it; a [`Slot`](crate::Slot). None is free while somebody waits: a slot that is returned
//! goes to who has waited longest.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use super::waiters::Wakers;
use super::{Inner, Node};
use crate::phase::Phase;

/// The slots of one process.
pub(crate) struct Limit {
    total: usize,
    free: usize,
    queue: Queue,
}

/// Who waits, by ticket, so that the first is who came first. Who has a ticket and is not here any more was
/// given a slot, or the process closes.
#[derive(Default)]
struct Queue {
    /// Who has waited longest: one alone, as is usual, allocates nothing.
    first: Option<(Ticket, Waker)>,
    others: BTreeMap<Ticket, Waker>,
    next: Ticket,
}

/// A place in the queue for a slot.
pub(crate) type Ticket = u64;

/// What came of a look for a slot.
pub(crate) enum Look {
    /// The slot is the caller's, who is to [return](Node::return_slot) it.
    Taken,
    /// There is none yet.
    None,
    /// The process is Closing or Closed.
    Closed,
}

impl Limit {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, free: total, queue: Queue::default() }
    }
}

impl Queue {
    fn push(&mut self, waker: Waker) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        match self.first {
            None => self.first = Some((ticket, waker)),
            Some(_) => drop(self.others.insert(ticket, waker)),
        }
        ticket
    }

    fn pop(&mut self) -> Option<Waker> {
        let (_, waker) = self.first.take()?;
        self.first = self.others.pop_first();
        Some(waker)
    }

    fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Waker> {
        match &mut self.first {
            Some((first, waker)) if *first == ticket => Some(waker),
            _ => self.others.get_mut(&ticket),
        }
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waker> {
        match &self.first {
            Some((first, _)) if *first == ticket => self.pop(),
            _ => self.others.remove(&ticket),
        }
    }
}

impl Node {
    /// Takes a free slot.
    pub(crate) fn try_take_slot(&self) -> Look {
        let mut inner = self.inner.lock();
        if self.phase() != Phase::Running {
            return Look::Closed;
        }
        let limit = inner.limit();
        if limit.free == 0 {
            return Look::None;
        }
        limit.free -= 1;
        Look::Taken
    }

    /// Takes a slot, or queues for one: `waker` is woken when there is one for `ticket`, or when the process
    /// closes.
    pub(crate) fn take_slot(&self, ticket: &mut Option<Ticket>, waker: &Waker) -> Look {
        let mut inner = self.inner.lock();
        if self.phase() != Phase::Running {
            // Its slots are of no use any more, so that none needs to be returned.
            *ticket = None;
            return Look::Closed;
        }
        let limit = inner.limit();
        let Some(queued) = *ticket else {
            if limit.free > 0 {
                limit.free -= 1;
                return Look::Taken;
            }
            *ticket = Some(limit.queue.push(waker.clone()));
            return Look::None;
        };
        match limit.queue.get_mut(queued) {
            Some(registered) => {
                let replaced =
                    (!registered.will_wake(waker)).then(|| mem::replace(registered, waker.clone()));
                drop(inner);
                drop(replaced);
                Look::None
            }
            None => {
                *ticket = None;
                Look::Taken
            }
        }
    }

    /// Leaves the queue. A slot that was given meanwhile goes to the next.
    pub(crate) fn leave_queue(&self, ticket: Ticket) -> Wakers {
        let mut wakers = Wakers::default();
        let mut inner = self.inner.lock();
        let left = inner.limit().queue.remove(ticket);
        if left.is_none() {
            inner.return_slot(&mut wakers);
        }
        drop(inner);
        drop(left);
        wakers
    }

    /// Returns a slot.
    pub(crate) fn return_slot(&self) -> Wakers {
        let mut wakers = Wakers::default();
        self.inner.lock().return_slot(&mut wakers);
        wakers
    }

    /// Are all slots held by processes of this set?
    pub(crate) fn slots_are_held_by(&self, nodes: &HashSet<*const Self>) -> bool {
        let mut inner = self.inner.lock();
        let children = inner.children.iter().flat_map(|children| children.iter());
        let held = children.filter(|child| child.limited && nodes.contains(&Arc::as_ptr(child)));
        let held = held.count();
        held == inner.limit().total
    }
}

impl Inner {
    fn limit(&mut self) -> &mut Limit {
        let limit = self.rare.as_mut().and_then(|rare| rare.limit.as_mut());
        limit.expect("only a process with a limit is asked for slots")
    }

    /// Gives a returned slot to who has waited longest.
    pub(super) fn return_slot(&mut self, wakers: &mut Wakers) {
        let limit = self.limit();
        match limit.queue.pop() {
            Some(waker) => wakers.push(waker),
            None => limit.free += 1,
        }
    }

    /// Takes all who wait for a slot. Call it in the locked section in which the process gets Closing.
    pub(super) fn take_queue(&mut self, wakers: &mut Wakers) {
        if let Some(limit) = self.rare.as_mut().and_then(|rare| rare.limit.as_mut()) {
            let queue = mem::take(&mut limit.queue);
            let first = queue.first.map(|(_, waker)| waker);
            first
                .into_iter()
                .chain(queue.others.into_values())
                .for_each(|waker| wakers.push(waker));
        }
    }
}
