//! Who is to be woken when a process closes: the wakers that wait for an event of a node.
//!
//! The list is ours, not an event-listener, since wakers must be called after the lock is released
//! (I10), and a node without waiters must not pay for them.

use std::mem;
use std::task::Waker;

use super::places::Places;
use super::{Inner, Node};
use crate::phase::Phase;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process is Closing or Closed.
    Closing,
    /// The process is aborting, or Closed without it.
    Aborting,
    /// The process is Closed.
    Closed,
}

type Waiting = (Event, Waker);

/// The wakers of a node. The first two stand in the list itself: a body that waits for closing has just
/// these, and they cost one allocation.
pub(super) struct Waiters {
    near: [Option<Waiting>; 2],
    far: Places<Waiting>,
}

/// The places of `near`; those of `far` come after them.
const NEAR: u32 = 2;

impl Waiters {
    fn new() -> Self {
        Self { near: [None, None], far: Places::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.near.iter().all(Option::is_none) && self.far.iter().next().is_none()
    }

    fn insert(&mut self, waiting: Waiting) -> u32 {
        match (0..).zip(&mut self.near).find(|(_, near)| near.is_none()) {
            Some((place, near)) => {
                *near = Some(waiting);
                place
            }
            None => NEAR + self.far.insert(waiting),
        }
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Waiting> {
        match place.checked_sub(NEAR) {
            Some(place) => self.far.get_mut(place),
            None => self.near[place as usize].as_mut(),
        }
    }

    fn remove(&mut self, place: u32) -> Option<Waiting> {
        match place.checked_sub(NEAR) {
            Some(place) => self.far.remove(place),
            None => self.near[place as usize].take(),
        }
    }
}

impl Node {
    /// Has the event happened? One atomic load.
    #[inline]
    pub(crate) fn has_happened(&self, event: Event) -> bool {
        match event {
            Event::Closing => self.phase() != Phase::Running,
            Event::Aborting => self.is_aborting() || self.phase() == Phase::Closed,
            Event::Closed => self.phase() == Phase::Closed,
        }
    }

    /// Makes sure that `waker` is woken at the event, and stores its place in `place`; `false` if the event
    /// has happened already (S6).
    pub(crate) fn register(&self, event: Event, place: &mut Option<u32>, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        if self.has_happened(event) {
            // The waker was taken at the event, and its place with it.
            *place = None;
            return false;
        }
        let waiters = inner.waiters.get_or_insert_with(|| Box::new(Waiters::new()));
        match place.and_then(|place| waiters.get_mut(place)) {
            Some((_, registered)) if registered.will_wake(waker) => {}
            Some((_, registered)) => {
                let replaced = mem::replace(registered, waker.clone());
                drop(inner);
                drop(replaced);
            }
            None => *place = Some(waiters.insert((event, waker.clone()))),
        }
        true
    }

    /// Forgets a registered waker. Nothing is left behind (I9).
    pub(crate) fn unregister(&self, event: Event, place: u32) {
        let mut inner = self.inner.lock();
        let removed = inner.take_waker(self, event, place);
        drop(inner);
        drop(removed);
    }
}

/// Wakers on their way to be woken. One alone, as most are, needs no list.
#[derive(Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }

    /// The first of them and all the others.
    pub(crate) fn into_parts(self) -> (Option<Waker>, Vec<Waker>) {
        (self.first, self.others)
    }
}

impl Inner {
    /// Takes one waker back.
    pub(super) fn take_waker(&mut self, node: &Node, event: Event, place: u32) -> Option<Waker> {
        // After the event the place may be another waiter's.
        if node.has_happened(event) {
            return None;
        }
        self.waiters.as_mut()?.remove(place).map(|(_, waker)| waker)
    }

    /// Takes the wakers of the event. Call it in the locked section in which the event happens (S6).
    pub(super) fn take_wakers(&mut self, event: Event, wakers: &mut Wakers) {
        let Some(waiters) = &mut self.waiters else { return };
        // Gaps in `far` are not given again; there are no more than there were waiters for an event.
        for place in waiters.near.iter_mut().chain(waiters.far.entries_mut()) {
            if let Some((_, waker)) = place.take_if(|(awaited, _)| *awaited == event) {
                wakers.push(waker);
            }
        }
    }
}
