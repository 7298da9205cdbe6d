//! The sleepers that wait for a moment of a process. The first one shares its space in the node with the teardown.
//!
//! The node has a list of its own instead of an event-listener, because wakers must be called after the lock is
//! released (I10), and because a node without waiters should not pay for them.

use std::mem;
use std::sync::Arc;
use std::task::Waker;

use super::contents::Contents;
use super::effects::{Effects, Wake};
use super::node::{Inner, Node, TeardownStage};
use super::sleepers::{FIRST, Moment, Moments, Place, TeardownOrSleeper, Waiters, Waiting};
use crate::value::Phase;
use crate::value::sleeper::Sleeper;
use crate::value::sync::Ordering;

/// The result of putting a sleeper back.
pub(crate) enum PutBack {
    /// It is in its place.
    Done,
    /// It must be woken again, because another moment has come, and then put back.
    Missed(Sleeper),
    /// The place is no longer reserved for it. It must be woken once more, and dropped, because a moment may have come.
    Gone(Sleeper),
}

impl<C: Contents> Node<C> {
    /// Has the moment come? One atomic load, except for the children.
    #[inline]
    pub(crate) fn has_come(&self, moment: Moment) -> bool {
        match moment {
            Moment::Closing => self.phase() != Phase::Running,
            Moment::Aborting => self.is_aborting() || self.phase() == Phase::Closed,
            Moment::Closed => self.phase() == Phase::Closed,
            Moment::BodyEnded => !self.phase.has_body(),
            Moment::ChildrenClosed => {
                let inner = self.inner.lock();
                inner.children_are_closed(self, self.waiting.load(Ordering::Acquire))
            }
        }
    }

    /// Has the moment come since a sleeper was registered in this place?
    pub(crate) fn has_come_since(&self, moment: Moment, place: Place) -> bool {
        match moment {
            Moment::ChildrenClosed => self.inner.lock().times(moment) != place.times,
            _ => self.has_come(moment),
        }
    }

    /// Makes sure that `waker` is woken when the moment comes, and stores its place in `place`; `false` if the moment
    /// has already come (S6). A sleeper that was replaced or not needed is returned for the caller to drop.
    pub(crate) fn register(
        &self,
        moment: Moment,
        place: &mut Option<Place>,
        waker: &Waker,
    ) -> (bool, Option<Sleeper>) {
        if let Some(registered) = *place {
            let mut inner = self.inner.lock();
            if inner.has_come_since(self, moment, registered) {
                *place = None;
                return (false, None);
            }
            if inner
                .waiting_mut(registered.at)
                .is_some_and(|waiting| waiting.waker.will_wake(waker))
            {
                return (true, None);
            }
        }
        // The waker is cloned with the lock released.
        let sleeper = Sleeper::of(waker);
        self.register_sleeper(moment, place, sleeper)
    }

    /// [`register`](Self::register) for a sleeper that already exists. If the moment has come, the sleeper is returned.
    pub(crate) fn register_sleeper(
        &self,
        moment: Moment,
        place: &mut Option<Place>,
        sleeper: Sleeper,
    ) -> (bool, Option<Sleeper>) {
        let mut inner = self.inner.lock();
        let has_come = match *place {
            Some(registered) => inner.has_come_since(self, moment, registered),
            None if moment == Moment::ChildrenClosed => !inner.await_children(self),
            None => self.has_come(moment),
        };
        if has_come {
            // The registered sleeper was taken when the moment came, and its place with it.
            *place = None;
            return (false, Some(sleeper));
        }
        (true, inner.put_sleeper(moment, place, sleeper))
    }

    /// Puts a sleeper back in the place that is reserved for it.
    pub(crate) fn put_back(&self, sleeper: Sleeper) -> PutBack {
        let mut inner = self.inner.lock();
        match &mut inner.teardown_or_sleeper {
            TeardownOrSleeper::Reserved { sleeper: of, moments, has_missed }
                if *of == sleeper.id() =>
            {
                if mem::take(has_missed) {
                    return PutBack::Missed(sleeper);
                }
                if moments.is_empty() {
                    inner.teardown_or_sleeper = TeardownOrSleeper::Empty;
                    return PutBack::Gone(sleeper);
                }
                let waiting = Waiting::new(sleeper, *moments);
                inner.teardown_or_sleeper = TeardownOrSleeper::Waiting(waiting);
                PutBack::Done
            }
            _ => PutBack::Gone(sleeper),
        }
    }

    /// Removes a sleeper, for the caller to drop. Nothing is left behind (I9).
    pub(crate) fn unregister(&self, moment: Moment, place: Place) -> Option<Sleeper> {
        self.inner.lock().take_sleeper(self, moment, place)
    }
}

impl<C: Contents> Inner<C> {
    /// Has the moment come since a sleeper was registered in this place? If it has, the sleeper was taken.
    fn has_come_since(&self, node: &Node<C>, moment: Moment, place: Place) -> bool {
        match moment {
            Moment::ChildrenClosed => self.times(moment) != place.times,
            _ => node.has_come(moment),
        }
    }

    /// Puts the sleeper at its place, or at a new one. Returns the sleeper that the caller must drop.
    fn put_sleeper(
        &mut self,
        moment: Moment,
        place: &mut Option<Place>,
        sleeper: Sleeper,
    ) -> Option<Sleeper> {
        if let (
            Some(Place { at: FIRST, .. }),
            TeardownOrSleeper::Reserved { sleeper: of, moments, .. },
        ) = (*place, &mut self.teardown_or_sleeper)
        {
            if moments.has(moment) {
                if *moments == Moments::only(moment) || *of == sleeper.id() {
                    let waiting = Waiting::new(sleeper, *moments);
                    self.teardown_or_sleeper = TeardownOrSleeper::Waiting(waiting);
                    return None;
                }
                // The place stays reserved for the other task, which waits for the other moments.
                moments.remove(moment);
            }
        }
        if let Some(waiting) = place.and_then(|Place { at, .. }| self.waiting_mut(at)) {
            if waiting.moments == Moments::only(moment) {
                let new = Waiting::new(sleeper, waiting.moments);
                return Some(mem::replace(waiting, new).into_sleeper());
            }
            // The old sleeper also waits for another moment, and stays for that.
            waiting.moments.remove(moment);
        }
        let (new, spare) = self.insert_sleeper(moment, sleeper);
        *place = Some(Place { at: new, times: self.times(moment) });
        spare
    }

    fn waiting_mut(&mut self, place: u32) -> Option<&mut Waiting> {
        match (&mut self.teardown_or_sleeper, place) {
            (TeardownOrSleeper::Waiting(waiting), FIRST) => Some(waiting),
            (_, FIRST) => None,
            _ => self.more.as_mut()?.waiters.as_mut()?.get_mut(place),
        }
    }

    /// Puts the sleeper where there is space. It is returned if a sleeper that wakes the same task serves for it.
    fn insert_sleeper(&mut self, moment: Moment, sleeper: Sleeper) -> (u32, Option<Sleeper>) {
        match &mut self.teardown_or_sleeper {
            TeardownOrSleeper::Waiting(waiting)
                if !waiting.moments.has(moment) && sleeper.wakes(&waiting.waker) =>
            {
                waiting.moments.add(moment);
                return (FIRST, Some(sleeper));
            }
            TeardownOrSleeper::Empty => {
                let waiting = Waiting::new(sleeper, Moments::only(moment));
                self.teardown_or_sleeper = TeardownOrSleeper::Waiting(waiting);
                return (FIRST, None);
            }
            _ => {}
        }
        let waiters = self.more().waiters.get_or_insert_with(|| Box::new(Waiters::new()));
        (waiters.insert(Waiting::new(sleeper, Moments::only(moment))), None)
    }

    /// Removes one sleeper.
    pub(super) fn take_sleeper(
        &mut self,
        node: &Node<C>,
        moment: Moment,
        place: Place,
    ) -> Option<Sleeper> {
        // After the moment has come, the place may belong to another waiter.
        if self.has_come_since(node, moment, place) {
            return None;
        }
        if place.at == FIRST {
            return self.take_first(moment);
        }
        self.more.as_mut()?.waiters.as_mut()?.remove(place.at).map(Waiting::into_sleeper)
    }

    /// Removes the moment from the sleeper at the first place. Takes the sleeper if it waits for no other moment.
    fn take_first(&mut self, moment: Moment) -> Option<Sleeper> {
        let moments = match &mut self.teardown_or_sleeper {
            TeardownOrSleeper::Waiting(Waiting { moments, .. })
            | TeardownOrSleeper::Reserved { moments, .. } => moments,
            TeardownOrSleeper::Empty | TeardownOrSleeper::Teardown(_) => return None,
        };
        moments.remove(moment);
        if !moments.is_empty() {
            return None;
        }
        match mem::take(&mut self.teardown_or_sleeper) {
            TeardownOrSleeper::Waiting(waiting) => Some(waiting.into_sleeper()),
            _ => None,
        }
    }

    /// Is a sleeper registered, or may one have been?
    #[inline]
    pub(super) fn has_sleepers(&self) -> bool {
        let is_first = matches!(
            self.teardown_or_sleeper,
            TeardownOrSleeper::Waiting(_) | TeardownOrSleeper::Reserved { .. }
        );
        is_first || self.more.is_some()
    }

    /// Takes the sleepers that wait for the moment. Call it in the locked section in which it comes (S6).
    pub(super) fn take_sleepers(
        &mut self,
        node: &Arc<Node<C>>,
        moment: Moment,
        effects: &mut Effects<C>,
    ) {
        self.take_first_for(node, moment, effects);
        if let Some(waiters) = self.more.as_mut().and_then(|more| more.waiters.as_mut()) {
            // The gaps that this leaves in `far` are not reused. There are at most as many as there were waiters.
            for place in waiters.near.iter_mut().chain(waiters.far.entries_mut()) {
                if let Some(taken) = place.take_if(|waiting| waiting.moments.has(moment)) {
                    effects.wake(taken.into_sleeper());
                }
            }
        }
    }

    fn take_first_for(&mut self, node: &Arc<Node<C>>, moment: Moment, effects: &mut Effects<C>) {
        match mem::take(&mut self.teardown_or_sleeper) {
            TeardownOrSleeper::Waiting(mut waiting) if waiting.moments.has(moment) => {
                waiting.moments.remove(moment);
                let is_shared = !waiting.moments.is_empty();
                let moments = waiting.moments;
                let sleeper = waiting.into_sleeper();
                if is_shared {
                    self.teardown_or_sleeper = TeardownOrSleeper::Reserved {
                        sleeper: sleeper.id(),
                        moments,
                        has_missed: false,
                    };
                }
                let put_back = is_shared.then(|| node.clone());
                effects.push(Wake { sleeper, put_back });
            }
            TeardownOrSleeper::Reserved { sleeper, mut moments, has_missed } => {
                let has_missed = has_missed || moments.has(moment);
                moments.remove(moment);
                self.teardown_or_sleeper =
                    TeardownOrSleeper::Reserved { sleeper, moments, has_missed };
            }
            other => self.teardown_or_sleeper = other,
        }
    }

    /// Puts the teardown where there is space for it.
    #[inline]
    pub(super) fn put_teardown(&mut self, teardown: C::Teardown) {
        match self.teardown_or_sleeper {
            TeardownOrSleeper::Empty => {
                self.teardown_or_sleeper = TeardownOrSleeper::Teardown(teardown);
            }
            _ => self.extras().teardown = Some(teardown),
        }
    }

    /// Takes the teardown, if one is in the node.
    #[inline]
    pub(super) fn take_teardown(&mut self) -> Option<C::Teardown> {
        if self.teardown != TeardownStage::Set {
            return None;
        }
        match mem::take(&mut self.teardown_or_sleeper) {
            TeardownOrSleeper::Teardown(teardown) => Some(teardown),
            other => {
                self.teardown_or_sleeper = other;
                self.extras_mut()?.teardown.take()
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use super::super::node::SetTeardown;
    use super::super::seed::Seed;
    use super::super::testing::{Node, Plain};
    use super::{Effects, Moment, Place, PutBack, Wake};
    use crate::value::{Reason, Site};

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl std::task::Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counting() -> (Arc<Counting>, Waker) {
        let counting = Arc::<Counting>::default();
        (counting.clone(), Waker::from(counting))
    }

    fn register(node: &Node, moment: Moment, waker: &Waker) -> Place {
        let mut place = None;
        assert!(node.register(moment, &mut place, waker).0);
        place.unwrap()
    }

    fn count(counting: &Counting) -> usize {
        counting.0.load(Ordering::SeqCst)
    }

    fn wake(effects: Effects<Plain>) {
        let (first, others) = effects.into_wakes();
        for Wake { mut sleeper, put_back } in first.into_iter().chain(others) {
            loop {
                sleeper.wake_by_ref();
                match put_back.as_ref().map(|node| node.put_back(sleeper)) {
                    Some(PutBack::Missed(again)) => sleeper = again,
                    _ => break,
                }
            }
        }
    }

    fn with_body() -> Arc<Node> {
        Node::new(Seed { body: true, ..Seed::at(Site::caller()) }, None)
    }

    fn abort(node: &Arc<Node>) -> Effects<Plain> {
        node.abort(&Reason::Asked, None, None).expect("it was not aborted before")
    }

    /// A task that waits for two moments is woken for each.
    #[test]
    fn one_waker_waits_for_two_moments() {
        let (woken, waker) = counting();
        let node = with_body();
        register(&node, Moment::Closing, &waker);
        register(&node, Moment::Aborting, &waker);
        wake(node.close(&Reason::Asked, false));
        assert_eq!(count(&woken), 1);
        wake(abort(&node));
        assert_eq!(count(&woken), 2);
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    /// Between a moment and the wake-up for it, the place of a task that also waits for another moment stays reserved.
    #[test]
    fn a_reserved_place_is_not_given_away() {
        let ((gone, waker), (woken, other)) = (counting(), counting());
        let node = with_body();
        register(&node, Moment::Closing, &waker);
        let aborting = register(&node, Moment::Aborting, &waker);
        let closed = node.close(&Reason::Asked, false);
        let second = register(&node, Moment::Aborting, &other);
        assert_ne!(aborting, second);
        assert!(node.unregister(Moment::Aborting, aborting).is_none());
        wake(closed);
        wake(abort(&node));
        assert_eq!((count(&gone), count(&woken)), (1, 1));
    }

    /// If a second moment comes before the sleeper is put back after the first, the task is woken again.
    #[test]
    fn a_moment_that_comes_during_a_wake_up_is_not_missed() {
        let (woken, waker) = counting();
        let node = with_body();
        register(&node, Moment::Closing, &waker);
        register(&node, Moment::Aborting, &waker);
        let closed = node.close(&Reason::Asked, false);
        let aborted = abort(&node);
        wake(closed);
        wake(aborted);
        assert_eq!(count(&woken), 2);
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    /// Dropping a waiter does not affect the others that share its waker.
    #[test]
    fn waiters_that_share_a_waker_are_removed_one_by_one() {
        let (woken, waker) = counting();
        let node = with_body();
        let aborting = register(&node, Moment::Aborting, &waker);
        let closing = [(); 4].map(|()| register(&node, Moment::Closing, &waker));
        drop(node.unregister(Moment::Aborting, aborting));
        closing[1..].iter().for_each(|&place| drop(node.unregister(Moment::Closing, place)));
        wake(node.close(&Reason::Asked, false));
        assert_eq!(count(&woken), 1);
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    /// If a waiter moves to another task, the waiter that shared its waker keeps it.
    #[test]
    fn a_waiter_that_moves_leaves_a_shared_waker() {
        let ((before, waker), (after, other)) = (counting(), counting());
        let node = with_body();
        let mut closing = Some(register(&node, Moment::Closing, &waker));
        register(&node, Moment::Aborting, &waker);
        assert!(node.register(Moment::Closing, &mut closing, &other).0);
        wake(node.close(&Reason::Asked, false));
        assert_eq!((count(&before), count(&after)), (0, 1));
        wake(abort(&node));
        assert_eq!((count(&before), count(&after)), (1, 1));
    }

    /// After a moment, the place may belong to another waiter, so the former owner removes nothing.
    #[test]
    fn a_late_removal_leaves_the_place_alone() {
        // The first three places are reused, each under a rule of its own; those in `far` are not.
        for before in 0..=3 {
            let ((_, waker), (woken, other)) = (counting(), counting());
            let node = with_body();
            for _ in 0..before {
                register(&node, Moment::Closed, &counting().1);
            }
            let closing = register(&node, Moment::Closing, &waker);
            wake(node.close(&Reason::Asked, false));
            let aborting = register(&node, Moment::Aborting, &other);
            assert_eq!(closing == aborting, before < 3);
            assert!(node.unregister(Moment::Closing, closing).is_none());
            wake(abort(&node));
            assert_eq!(count(&woken), 1);
        }
    }

    /// There is space for a teardown and a waker, whichever comes first.
    #[test]
    fn a_teardown_and_a_waker_can_both_be_stored() {
        for teardown_first in [true, false] {
            let (woken, waker) = counting();
            let node = Node::new(Seed::at(Site::caller()), None);
            let set = || matches!(node.set_teardown("teardown"), SetTeardown::Set);
            assert!(!teardown_first || set());
            register(&node, Moment::Closing, &waker);
            assert!(teardown_first || set());
            let mut effects = node.close(&Reason::Asked, false);
            assert_eq!(effects.take_due().len(), 1);
            wake(effects);
            assert_eq!(count(&woken), 1);
        }
    }
}
