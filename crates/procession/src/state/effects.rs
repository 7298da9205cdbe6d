//! [`Effects`]: the work that a change of state leaves to be done after the lock is released.

use std::mem;
use std::sync::Arc;

use super::contents::Contents;
use super::node::Node;
use crate::value::Label;
use crate::value::sleeper::Sleeper;

/// The effects of a change of state, as a value that the layer above carries out with no lock held (I10).
///
/// Most changes wake at most one task. So the first sleeper is stored in the value itself, and everything else in a
/// box.
#[must_use = "unless they are carried out, waiters are never woken, and teardowns never run"]
pub(crate) struct Effects<C: Contents> {
    /// The first sleeper to wake. Without it, there are no others.
    first: Option<Wake<C>>,
    further: Option<Box<Further<C>>>,
}

struct Further<C: Contents> {
    wakes: Vec<Wake<C>>,
    due: Vec<Due<C>>,
    /// The teardowns of closing hooks and of processes with a spawner of their own, and async teardowns.
    special_due: Vec<Due<C>>,
    /// The teardowns of no-wait children.
    no_wait_due: Vec<Due<C>>,
    reports: Vec<Reported<C>>,
    /// The label of a process that was aborted directly, if that must be recorded.
    aborted: Option<Label>,
}

/// A sleeper that must be woken.
pub(crate) struct Wake<C: Contents> {
    pub(crate) sleeper: Sleeper,
    /// The process, if the sleeper also waits for another moment of it. After the sleeper was woken, it must then be
    /// [put back](Node::put_back).
    pub(crate) put_back: Option<Arc<Node<C>>>,
}

/// A supervised process that has begun to close or is Closed, of which its supervisor must be notified.
pub(crate) struct Reported<C: Contents> {
    pub(crate) node: Arc<Node<C>>,
    pub(crate) is_closed: bool,
}

/// A process whose teardown must run now.
pub(crate) struct Due<C: Contents> {
    pub(crate) node: Arc<Node<C>>,
    pub(crate) teardown: C::Teardown,
}

impl<C: Contents> Default for Effects<C> {
    fn default() -> Self {
        Self { first: None, further: None }
    }
}

impl<C: Contents> Default for Further<C> {
    fn default() -> Self {
        Self {
            wakes: Vec::new(),
            due: Vec::new(),
            special_due: Vec::new(),
            no_wait_due: Vec::new(),
            reports: Vec::new(),
            aborted: None,
        }
    }
}

impl<C: Contents> Effects<C> {
    /// Were there never any effects, so that there is nothing to drop either?
    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        self.first.is_none() && self.further.is_none()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let is_empty = |further: &Further<C>| {
            let due = [&further.due, &further.special_due, &further.no_wait_due];
            further.wakes.is_empty()
                && further.reports.is_empty()
                && further.aborted.is_none()
                && due.into_iter().all(Vec::is_empty)
        };
        self.first.is_none() && self.further.as_deref().is_none_or(is_empty)
    }

    #[inline]
    pub(crate) fn wake(&mut self, sleeper: Sleeper) {
        self.push(Wake { sleeper, put_back: None });
    }

    /// Adds sleepers that are woken before all others that are here.
    pub(crate) fn wake_first(&mut self, sleepers: Vec<Sleeper>) {
        if sleepers.is_empty() {
            return;
        }
        let further =
            self.further.as_mut().map_or_else(Vec::new, |further| mem::take(&mut further.wakes));
        let others = self.first.take().into_iter().chain(further);
        sleepers.into_iter().for_each(|sleeper| self.wake(sleeper));
        others.for_each(|wake| self.push(wake));
    }

    #[inline]
    pub(super) fn push(&mut self, wake: Wake<C>) {
        match self.first {
            None => self.first = Some(wake),
            Some(_) => self.further().wakes.push(wake),
        }
    }

    /// Adds a teardown that is due. It is sorted here, while its node is in the cache, so that the nodes need not be
    /// read again. `family` is the length of the list of siblings that the walk goes over, whose teardowns may follow.
    ///
    /// The parts of the [`Due`] are separate arguments, because the whole would be passed through memory.
    #[inline]
    pub(super) fn tear_down(&mut self, node: Arc<Node<C>>, teardown: C::Teardown, family: usize) {
        let is_special =
            node.spawner().is_some() || node.work.is_hook() || !C::is_blocking(&teardown);
        let further = self.further();
        if is_special {
            further.special_due.push(Due { node, teardown });
            return;
        }
        if further.due.len() == further.due.capacity() {
            // Often all siblings have teardowns. If only a few have, the reserved space is still linear in the number
            // of siblings, and it is reserved only once, because it is not used up before that many teardowns have
            // come.
            further.due.reserve(family);
        }
        further.due.push(Due { node, teardown });
    }

    /// [`tear_down`](Self::tear_down) for a process that has parents, none of which waits for it.
    pub(super) fn tear_down_no_wait_child(&mut self, due: Due<C>) {
        self.further().no_wait_due.push(due);
    }

    /// Adds the notification of the supervisor that the process has begun to close.
    #[cold]
    pub(super) fn report_closing(&mut self, node: &Arc<Node<C>>) {
        self.further().reports.push(Reported { node: node.clone(), is_closed: false });
    }

    /// Adds the notification of the supervisor that the process is Closed.
    #[cold]
    pub(super) fn report_closed(&mut self, node: &Arc<Node<C>>) {
        let reports = &mut self.further().reports;
        match reports.last_mut() {
            // The process began to close in the same step, so only Closed is reported.
            Some(last) if Arc::ptr_eq(&last.node, node) => last.is_closed = true,
            _ => reports.push(Reported { node: node.clone(), is_closed: true }),
        }
    }

    /// Adds the record of an abort. A walk begins with at most one.
    #[cold]
    pub(super) fn record_abort(&mut self, label: Label) {
        self.further().aborted = Some(label);
    }

    #[inline]
    fn further(&mut self) -> &mut Further<C> {
        self.further.get_or_insert_default()
    }

    /// The blocking teardowns that are due, except the special ones and those of no-wait children.
    pub(crate) fn take_due(&mut self) -> Vec<Due<C>> {
        self.further.as_mut().map_or_else(Vec::new, |further| mem::take(&mut further.due))
    }

    /// The due teardowns of closing hooks and of processes with a spawner of their own, and due async teardowns.
    pub(crate) fn take_special_due(&mut self) -> Vec<Due<C>> {
        self.further.as_mut().map_or_else(Vec::new, |further| mem::take(&mut further.special_due))
    }

    /// The due teardowns of no-wait children. A thread that waits for a parent must not run them.
    pub(crate) fn take_no_wait_due(&mut self) -> Vec<Due<C>> {
        self.further.as_mut().map_or_else(Vec::new, |further| mem::take(&mut further.no_wait_due))
    }

    /// Takes the library's own sleepers, which are woken before those of users. Usually there is at most one sleeper in
    /// all, which is taken or left without an allocation.
    #[inline]
    pub(crate) fn take_own(&mut self) -> impl Iterator<Item = Wake<C>> + use<C> {
        let is_alone = self.further.as_ref().is_none_or(|further| further.wakes.is_empty());
        let (first, others) = match is_alone {
            true => (self.first.take_if(|wake| wake.sleeper.is_own()), Vec::new()),
            false => (None, self.take_own_of_many()),
        };
        first.into_iter().chain(others)
    }

    /// [`take_own`](Self::take_own) for several sleepers. If none is the library's own, nothing is moved.
    fn take_own_of_many(&mut self) -> Vec<Wake<C>> {
        let is_own = |wake: &Wake<C>| wake.sleeper.is_own();
        let further = self.further.iter().flat_map(|further| &further.wakes);
        if !self.first.iter().chain(further).any(is_own) {
            return Vec::new();
        }
        let further =
            self.further.as_mut().map_or_else(Vec::new, |further| mem::take(&mut further.wakes));
        let all = self.first.take().into_iter().chain(further);
        let (own, users): (Vec<_>, Vec<_>) = all.partition(is_own);
        users.into_iter().for_each(|wake| self.push(wake));
        own
    }

    /// Takes the notifications of supervisors, which are made before the sleepers of users are woken.
    #[inline]
    pub(crate) fn take_reports(&mut self) -> Vec<Reported<C>> {
        self.further.as_mut().map_or_else(Vec::new, |further| mem::take(&mut further.reports))
    }

    /// Takes the label of the process whose abort must be recorded.
    #[inline]
    pub(crate) fn take_aborted(&mut self) -> Option<Label> {
        self.further.as_mut().and_then(|further| further.aborted.take())
    }

    pub(crate) fn has_wakes(&self) -> bool {
        self.first.is_some()
    }

    /// The sleepers to wake: the first one and the others.
    pub(crate) fn into_wakes(self) -> (Option<Wake<C>>, Vec<Wake<C>>) {
        (self.first, self.further.map_or_else(Vec::new, |further| further.wakes))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    use super::super::testing::Plain;
    use super::{Effects, Sleeper};

    struct Nothing;

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }

    /// The tasks of supervisors come before users' wakers, however many supervisors there are.
    #[test]
    fn sleepers_that_are_woken_first_keep_their_order() {
        let wakers: Vec<Waker> = (0..5).map(|_| Waker::from(Arc::new(Nothing))).collect();
        let sleepers = |range: Range<usize>| wakers[range].iter().map(Sleeper::of).collect();
        for users in 0..3 {
            let mut effects = Effects::<Plain>::default();
            wakers[3..3 + users].iter().for_each(|waker| effects.wake(Sleeper::of(waker)));
            effects.wake_first(sleepers(0..3));
            effects.wake_first(Vec::new());
            let (first, further) = effects.into_wakes();
            let all = first.into_iter().chain(further).map(|wake| wake.sleeper.into_waker());
            let all: Vec<Waker> = all.collect();
            assert_eq!(all.len(), 3 + users);
            assert!(all.iter().zip(&wakers).all(|(one, other)| one.will_wake(other)));
        }
    }

    /// Whichever of the sleepers are the library's own, these are taken, and both kinds keep their order.
    #[test]
    fn own_sleepers_are_taken_and_users_stay() {
        let wakers: Vec<Waker> = (0..3).map(|_| Waker::from(Arc::new(Nothing))).collect();
        let is_own = |mask: usize, number: usize| mask >> number & 1 == 1;
        let all_masks = (0..=3).flat_map(|count| (0..1 << count).map(move |mask| (count, mask)));
        for (count, mask) in all_masks {
            let mut effects = Effects::<Plain>::default();
            for (number, waker) in wakers[..count].iter().enumerate() {
                effects.wake(Sleeper::from_parts(waker.clone(), is_own(mask, number)));
            }
            let own: Vec<_> = effects.take_own().collect();
            let (first, further) = effects.into_wakes();
            let users: Vec<_> = first.into_iter().chain(further).collect();
            for (taken, of_own) in [(own, true), (users, false)] {
                let expected = (0..count).filter(|&number| is_own(mask, number) == of_own);
                let expected: Vec<_> = expected.map(|number| &wakers[number]).collect();
                assert_eq!(taken.len(), expected.len(), "{count} sleepers, {mask:b}");
                let mut pairs = taken.iter().zip(expected);
                assert!(pairs.all(|(wake, waker)| wake.sleeper.wakes(waker)), "{mask:b}");
            }
        }
    }
}
