//! Who is to be woken when a process closes: the wakers that wait for an event of a node, and the teardown,
//! with which one of them shares its place.
//!
//! The list is ours, not an event-listener, since wakers must be called after the lock is released (I10), and
//! a node without waiters must not pay for them.

use std::mem;
use std::task::Waker;

use super::places::Places;
use super::{Inner, Node};
use crate::phase::Phase;
use crate::teardown::Teardown;

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

/// Which events there are to wait for. Of `bool`, so that the [`Spot`] needs no byte more to tell its
/// variants apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Events([bool; 3]);

impl Events {
    fn only(event: Event) -> Self {
        let mut events = Self([false; 3]);
        events.0[event as usize] = true;
        events
    }

    fn has(self, event: Event) -> bool {
        self.0[event as usize]
    }

    fn add(&mut self, event: Event) {
        self.0[event as usize] = true;
    }

    fn remove(&mut self, event: Event) {
        self.0[event as usize] = false;
    }

    fn is_empty(self) -> bool {
        self == Self([false; 3])
    }
}

/// A waker, and the events that it waits for.
pub(super) struct Waiting {
    waker: Waker,
    /// More than one only in the [`Spot`].
    events: Events,
}

/// Every process has room for its teardown or for one waker, whichever comes first; what comes after it
/// stands elsewhere. So a body that waits for its closing allocates nothing: its task's waker stands here,
/// for the abort too.
#[derive(Default)]
pub(super) enum Spot {
    #[default]
    Empty,
    Teardown(Teardown),
    Waiting(Waiting),
}

/// The wakers of a node that found no room in its [`Spot`]. The first two stand in the list itself.
pub(super) struct Waiters {
    near: [Option<Waiting>; 2],
    far: Places<Waiting>,
}

/// The place of the waker in the spot; those of the others come after it.
const SPOT: u32 = 0;
/// The first place of `far`.
const FAR: u32 = 3;

impl Waiters {
    fn new() -> Self {
        Self { near: [None, None], far: Places::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.near.iter().all(Option::is_none) && self.far.iter().next().is_none()
    }

    fn insert(&mut self, waiting: Waiting) -> u32 {
        match (SPOT + 1..).zip(&mut self.near).find(|(_, near)| near.is_none()) {
            Some((place, near)) => {
                *near = Some(waiting);
                place
            }
            None => FAR + self.far.insert(waiting),
        }
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Waiting> {
        match place.checked_sub(FAR) {
            Some(place) => self.far.get_mut(place),
            None => self.near[(place - SPOT - 1) as usize].as_mut(),
        }
    }

    fn remove(&mut self, place: u32) -> Option<Waiting> {
        match place.checked_sub(FAR) {
            Some(place) => self.far.remove(place),
            None => self.near[(place - SPOT - 1) as usize].take(),
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
        let replaced = inner.put_waker(event, place, waker);
        drop(inner);
        drop(replaced);
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
    /// Does any waker wait?
    pub(super) fn is_waited_for(&self) -> bool {
        matches!(self.spot, Spot::Waiting(_))
            || self.waiters.as_ref().is_some_and(|waiters| !waiters.is_empty())
    }

    /// Puts the waker in its place, or in a new one; hands back the one that it replaces.
    fn put_waker(&mut self, event: Event, place: &mut Option<u32>, waker: &Waker) -> Option<Waker> {
        if let Some(waiting) = place.and_then(|place| self.waiting_mut(place)) {
            if waiting.waker.will_wake(waker) {
                return None;
            }
            if waiting.events == Events::only(event) {
                return Some(mem::replace(&mut waiting.waker, waker.clone()));
            }
            // It shared the old waker with another event.
            waiting.events.remove(event);
        }
        *place = Some(self.insert_waker(event, waker));
        None
    }

    fn waiting_mut(&mut self, place: u32) -> Option<&mut Waiting> {
        match (&mut self.spot, place) {
            (Spot::Waiting(waiting), SPOT) => Some(waiting),
            (_, SPOT) => None,
            _ => self.waiters.as_mut()?.get_mut(place),
        }
    }

    fn insert_waker(&mut self, event: Event, waker: &Waker) -> u32 {
        match &mut self.spot {
            Spot::Waiting(waiting)
                if !waiting.events.has(event) && waiting.waker.will_wake(waker) =>
            {
                waiting.events.add(event);
                return SPOT;
            }
            Spot::Empty => {
                let waiting = Waiting { waker: waker.clone(), events: Events::only(event) };
                self.spot = Spot::Waiting(waiting);
                return SPOT;
            }
            _ => {}
        }
        let waiters = self.waiters.get_or_insert_with(|| Box::new(Waiters::new()));
        waiters.insert(Waiting { waker: waker.clone(), events: Events::only(event) })
    }

    /// Takes one waker back.
    pub(super) fn take_waker(&mut self, node: &Node, event: Event, place: u32) -> Option<Waker> {
        // After the event the place may be another waiter's.
        if node.has_happened(event) {
            return None;
        }
        if place == SPOT {
            return self.take_from_spot(event);
        }
        self.waiters.as_mut()?.remove(place).map(|waiting| waiting.waker)
    }

    /// The waker that waits for the event in the spot, if it waits for no other.
    fn take_from_spot(&mut self, event: Event) -> Option<Waker> {
        let Spot::Waiting(waiting) = &mut self.spot else { return None };
        waiting.events.remove(event);
        if !waiting.events.is_empty() {
            return None;
        }
        match mem::take(&mut self.spot) {
            Spot::Waiting(waiting) => Some(waiting.waker),
            Spot::Empty | Spot::Teardown(_) => None,
        }
    }

    /// Takes the wakers of the event. Call it in the locked section in which the event happens (S6).
    pub(super) fn take_wakers(&mut self, event: Event, wakers: &mut Wakers) {
        if let Spot::Waiting(waiting) = &self.spot {
            if waiting.events.has(event) {
                let shared = (waiting.events != Events::only(event)).then(|| waiting.waker.clone());
                let taken = self.take_from_spot(event).or(shared);
                taken.into_iter().for_each(|waker| wakers.push(waker));
            }
        }
        let Some(waiters) = &mut self.waiters else { return };
        // Gaps in `far` are not given again; there are no more than there were waiters for an event.
        for place in waiters.near.iter_mut().chain(waiters.far.entries_mut()) {
            if let Some(waiting) = place.take_if(|waiting| waiting.events == Events::only(event)) {
                wakers.push(waiting.waker);
            }
        }
    }

    /// Puts the teardown where there is room for it.
    pub(super) fn put_teardown(&mut self, teardown: Teardown) {
        match self.spot {
            Spot::Empty => self.spot = Spot::Teardown(teardown),
            _ => self.rare().teardown = Some(teardown),
        }
    }

    pub(super) fn has_teardown(&self) -> bool {
        let in_rare = || self.rare.as_ref().is_some_and(|rare| rare.teardown.is_some());
        matches!(self.spot, Spot::Teardown(_)) || in_rare()
    }

    pub(super) fn take_teardown(&mut self) -> Option<Teardown> {
        match mem::take(&mut self.spot) {
            Spot::Teardown(teardown) => Some(teardown),
            spot => {
                self.spot = spot;
                self.rare.as_mut()?.teardown.take()
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::super::{Node, Seed, SetTeardown};
    use super::Event;
    use crate::dispatch::wake;
    use crate::reason::Reason;
    use crate::teardown::Teardown;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counting() -> (Arc<Counting>, Waker) {
        let counting = Arc::<Counting>::default();
        (counting.clone(), Waker::from(counting))
    }

    fn register(node: &Node, event: Event, waker: &Waker) -> u32 {
        let mut place = None;
        assert!(node.register(event, &mut place, waker));
        place.unwrap()
    }

    fn count(counting: &Counting) -> usize {
        counting.0.load(Ordering::SeqCst)
    }

    /// A task that waits for closing and for an abort is woken for each.
    #[test]
    fn one_waker_waits_for_two_events() {
        let (woken, waker) = counting();
        let node = Node::new(Seed { body: true, ..Seed::default() });
        register(&node, Event::Closing, &waker);
        register(&node, Event::Aborting, &waker);
        wake(node.close(Reason::Asked, false).wakers);
        assert_eq!(count(&woken), 1);
        wake(node.close(Reason::Asked, true).wakers);
        assert_eq!(count(&woken), 2);
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    /// Who goes away takes nobody along that shares the waker, for the same event or for another.
    #[test]
    fn waiters_that_share_a_waker_go_one_by_one() {
        let (woken, waker) = counting();
        let node = Node::new(Seed { body: true, ..Seed::default() });
        let aborting = register(&node, Event::Aborting, &waker);
        let closing = [(); 4].map(|()| register(&node, Event::Closing, &waker));
        node.unregister(Event::Aborting, aborting);
        closing[1..].iter().for_each(|&place| node.unregister(Event::Closing, place));
        wake(node.close(Reason::Asked, false).wakers);
        assert_eq!(count(&woken), 1);
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    /// A waiter that moves to another task leaves the waker that it shared to the other.
    #[test]
    fn a_waiter_that_moves_leaves_a_shared_waker() {
        let ((before, waker), (after, other)) = (counting(), counting());
        let node = Node::new(Seed { body: true, ..Seed::default() });
        let mut closing = Some(register(&node, Event::Closing, &waker));
        register(&node, Event::Aborting, &waker);
        assert!(node.register(Event::Closing, &mut closing, &other));
        wake(node.close(Reason::Asked, false).wakers);
        assert_eq!((count(&before), count(&after)), (0, 1));
        wake(node.close(Reason::Asked, true).wakers);
        assert_eq!((count(&before), count(&after)), (1, 1));
    }

    /// A teardown and a waker, whichever comes first.
    #[test]
    fn a_teardown_and_a_waker_have_room() {
        for teardown_first in [true, false] {
            let (woken, waker) = counting();
            let node = Node::new(Seed::default());
            let set = || matches!(node.set_teardown(Teardown::blocking(|| ())), SetTeardown::Set);
            assert!(!teardown_first || set());
            register(&node, Event::Closing, &waker);
            assert!(teardown_first || set());
            let effects = node.close(Reason::Asked, false);
            assert_eq!(effects.pooled.len(), 1);
            wake(effects.wakers);
            assert_eq!(count(&woken), 1);
        }
    }
}
