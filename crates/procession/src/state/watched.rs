//! Events for observers: the observers of a process, and the events that they receive.
//!
//! A process that has observers is *watched*. Its node refers to a [`Scope`]: its observers, and the names above it.
//! All children that inherit from a process share one scope. So a watched child costs only one more reference count,
//! however many observers there are, and the observers and the path of an event are found without reading another node.
//!
//! # Invariants
//!
//! - E1. A node has a [`Watch`] from the locked section in which it becomes watched until it is Closed, and it keeps
//!   each observer until then. *Because* only `Inner::watch` sets the watch, replaces a scope only by one that also has
//!   all its observers, and sets the bit in the same locked section; and only `finish` takes the watch.
//! - E2. The events of a process reach each observer in the order in which they happened. *Because* each event is
//!   handed to the observer under the node's lock, in the section in which it happens, and an observer keeps the order.
//!   If a process becomes Closing and Closed in one section with no event in between, both are handed over at once.
//!   (A process that is being made is known to no other thread until `fresh_child` has added it to the list of its
//!   parent or, if it has none, until it is returned.) Effects cannot be used for this, because they leave the locked
//!   section and may overtake each other.
//! - E3. If a process is watched, and no closing walk has taken one of its lists of children, then each child whose
//!   first parent it is has all its observers, or a [`spread`] that will add them is under way. *Because* a child is
//!   added under the parent's lock. Either that is after the parent was given the observer, and the child inherits it
//!   in that section; or it is before, and `spread`, which begins later, finds the child in the list. An entry keeps
//!   its place in the list, so reading the list in several locked sections misses no child.
//! - E4. A closing walk that has taken the children puts those that are still open back under the parent's lock. If
//!   `spread` has found the list taken, it sets a flag in the parent (`Below::is_pending`), and the walk repeats the
//!   spread. So an observer that is added while the process closes reaches each process below that is still open after
//!   that, but may miss that those which the walk has taken begin to close.
//! - E5. Nothing recurses, and one node is locked at a time (I11). A spread goes on below a process only if it has
//!   added an observer to that process. So two spreads that meet give the same result in any order, and a spread around
//!   a ring ends.
//!
//! A process inherits along its first parent: when it is made, and when it is linked to the process that becomes its
//! first parent. An edge to a further parent adds no observer.
//!
//! # Cost
//!
//! A process that is not watched pays for two tests: of one bit when a child is made, and of a pointer that is loaded
//! anyway when a teardown becomes due. Its closing pays nothing: a watched process is never bare, so the short path
//! through the closing walk has no test at all.

use std::sync::Arc;
use std::time::Instant;

use super::contents::{Contents, NodeEvent, ObservedEvent};
use super::node::{Children, Inner, More, Node, TeardownStage};
use super::scope::{Below, Scope, Watch};
#[cfg(not(loom))]
use crate::value::NEAREST;
use crate::value::stamp::Stamp;
use crate::value::time::now;
use crate::value::{Above, Phase, Reason};

impl<C: Contents> Inner<C> {
    /// Notifies the observers of the process.
    #[inline]
    pub(super) fn notify_observers(
        &self,
        node: &Arc<Node<C>>,
        event: impl FnOnce() -> NodeEvent<C>,
    ) {
        if let Some(More { watch: Some(watch), .. }) = self.more.as_deref() {
            watch.notify(node, now(), event());
        }
    }

    /// Notifies the observers that the process is Closing. If it [ends at once](Self::ends_at_once), they are
    /// notified together with its end instead. Returns whether that is so.
    #[inline]
    pub(super) fn notify_of_closing(&self, node: &Arc<Node<C>>) -> bool {
        let Some(More { watch: Some(watch), .. }) = self.more.as_deref() else { return false };
        let ends_at_once = self.ends_at_once(node);
        if !ends_at_once {
            watch.notify(node, now(), NodeEvent::Closing(self.event_reason()));
        }
        ends_at_once
    }

    fn event_reason(&self) -> Reason {
        self.reason().unwrap_or(Reason::Asked)
    }

    /// Is the process, which has begun to close in this locked section, going to be Closed in the same section, with no
    /// other event in between?
    ///
    /// It is if it waits for nothing, has no teardown, was not aborted, and has only observers, *because* `settle`
    /// follows in the section and then finishes it: `waiting` is incremented only under the lock (S4), and nothing in
    /// between increments it, because there are no closing hooks.
    ///
    /// If it is in the list of children that a walk goes over, its only event so far was that it was made, *because* it
    /// has had no body (the end of which would have closed it), and a failure or a time limit would have left extras.
    fn ends_at_once(&self, node: &Node<C>) -> bool {
        !node.is_waiting()
            && self.teardown == TeardownStage::Unset
            && !node.is_aborting()
            && self.has_only_observers()
    }

    /// Takes the observers, and notifies them that the process is Closed. If they have yet to be notified that it began
    /// to close, `at_once` is the time.
    pub(super) fn notify_of_end(&mut self, node: &Arc<Node<C>>, at_once: Option<Instant>) {
        let Some(watch) = self.more.as_deref_mut().and_then(|more| more.watch.take()) else {
            return;
        };
        if let Some(at) = at_once {
            return watch.notify(node, at, NodeEvent::ClosedAtOnce(self.event_reason()));
        }
        let failure = self.extras_ref().and_then(|extras| extras.failures.first().cloned());
        // A process that became Closed in the same locked section has no such time.
        let since = self.closing_since().map(|since| Stamp::now().since(since));
        let closing_for = since.unwrap_or_default();
        let closing_millis = u32::try_from(closing_for.as_millis()).unwrap_or(u32::MAX);
        watch.notify(
            node,
            now(),
            NodeEvent::Closed { failure: failure.map(Box::new), closing_millis },
        );
    }

    /// Is its `more` empty, apart from its observers?
    pub(super) fn has_only_observers(&self) -> bool {
        self.more.as_deref().is_some_and(|more| !more.may_have_edges() && more.waiters.is_none())
    }

    /// Gives the process, which must not be Closed, the observers that it lacks. Returns whether it lacked any.
    pub(super) fn watch(&mut self, node: &Node<C>, scope: Arc<Scope<C>>) -> bool {
        let own = self.more.as_deref().and_then(|more| more.watch.as_ref()).map(|watch| &watch.own);
        let own = match own {
            Some(own) => match own.joined_by(&scope) {
                None => return false,
                Some(joined) => joined,
            },
            None => scope,
        };
        node.phase.watch(own.observers.iter().any(C::is_of_program));
        let watch = &mut self.more().watch;
        // Children that a closing walk has taken still lack the observers that they lacked before.
        let below = watch.take().and_then(|watch| watch.below).map(|before| {
            let scope = below_of(node, &own, Some(before.scope.id));
            Box::new(Below { scope, is_pending: before.is_pending })
        });
        *watch = Some(Watch { own, below });
        true
    }

    /// The scope that the children of a watched process inherit.
    fn scope_below(&mut self, node: &Node<C>) -> Option<Arc<Scope<C>>> {
        let watch = self.more.as_deref_mut()?.watch.as_mut()?;
        let own = &watch.own;
        let make = || Box::new(Below { scope: below_of(node, own, None), is_pending: false });
        Some(watch.below.get_or_insert_with(make).scope.clone())
    }

    /// Gives its observers to a child that is being made under this process, whose node is locked: the inherited ones
    /// and those of `own`, the scope from its maker.
    #[cold]
    pub(super) fn watch_fresh(
        &mut self,
        node: &Node<C>,
        child: &Arc<Node<C>>,
        own: Option<Arc<Scope<C>>>,
    ) {
        child.watch_from_birth(self.scope_below(node), own);
    }

    /// The children that a closing walk had taken were put back: do some of them lack observers (E4)? Clears the flag.
    #[inline]
    pub(super) fn is_spread_pending(&mut self) -> bool {
        let watch = self.more.as_deref_mut().and_then(|more| more.watch.as_mut());
        let below = watch.and_then(|watch| watch.below.as_deref_mut());
        below.is_some_and(|below| std::mem::take(&mut below.is_pending))
    }
}

/// The scope that children inherit from a process with the scope `own`. It replaces the scope with the id `before`.
fn below_of<C: Contents>(node: &Node<C>, own: &Scope<C>, before: Option<u64>) -> Arc<Scope<C>> {
    let above = Above { id: node.id(), segment: node.segment(), above: own.above.clone() };
    Scope::of(own.observers.clone(), Some(Arc::new(above)), before)
}

impl<C: Contents> Watch<C> {
    #[cold]
    fn notify(&self, node: &Arc<Node<C>>, at: Instant, event: NodeEvent<C>) {
        let (id, site) = (node.id(), node.site);
        let named = node.inherited().filter(|inherited| inherited.name().is_some());
        let above = self.own.above.as_ref();
        let Some((last, others)) = self.own.observers.split_last() else { return };
        for observer in others {
            C::observe(
                observer,
                ObservedEvent { id, named, site, above, at, event: event.clone() },
            );
        }
        C::observe(last, ObservedEvent { id, named, site, above, at, event });
    }
}

impl<C: Contents> Scope<C> {
    /// The scope of a new process, with the observers that its maker gives it. `parent` is the process above it.
    #[cfg(not(loom))]
    pub(crate) fn new(observers: Vec<C::Observer>, parent: Option<&Arc<Node<C>>>) -> Arc<Self> {
        let mut above = parent.map_or_else(Vec::new, |parent| parent.processes_above(NEAREST));
        if let Some(parent) = parent {
            above.insert(0, (parent.id(), parent.segment()));
        }
        Self::of(observers, Above::of(above), None)
    }

    #[cfg(not(loom))]
    pub(crate) fn observers(&self) -> &[C::Observer] {
        &self.observers
    }

    /// The observers of both scopes.
    #[cfg(not(loom))]
    pub(crate) fn both(one: Option<Arc<Self>>, other: Option<Arc<Self>>) -> Option<Arc<Self>> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.joined_by(&other).unwrap_or(one)),
            (one, other) => one.or(other),
        }
    }

    /// This scope, extended by the observers of the other one; `None` if it has all of them.
    fn joined_by(&self, other: &Arc<Self>) -> Option<Arc<Self>> {
        if other.id == self.id {
            return None;
        }
        if other.before == Some(self.id) {
            return Some(other.clone());
        }
        if self.observers.iter().all(|observer| other.observers.contains(observer)) {
            let is_same = self.observers.len() == other.observers.len()
                && (self.above.is_some() || other.above.is_none());
            return (!is_same).then(|| other.clone());
        }
        let is_new = |observer: &&C::Observer| !self.observers.contains(observer);
        let new: Vec<_> = other.observers.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return None;
        }
        let observers = self.observers.iter().cloned().chain(new).collect();
        let above = self.above.clone().or_else(|| other.above.clone());
        Some(Self::of(observers, above, None))
    }
}

impl<C: Contents> Node<C> {
    /// Notifies the observers of something that has happened outside the state machine.
    #[inline]
    pub(crate) fn notify_observers(self: &Arc<Self>, event: impl FnOnce() -> NodeEvent<C>) {
        if self.phase.is_watched() {
            self.inner.lock().notify_observers(self, event);
        }
    }

    /// Gives a process that no other thread knows yet its observers, and notifies them that it was made (E2).
    pub(super) fn watch_from_birth(
        self: &Arc<Self>,
        inherited: Option<Arc<Scope<C>>>,
        own: Option<Arc<Scope<C>>>,
    ) {
        let mut inner = self.inner.lock();
        if let Some(inherited) = inherited {
            inner.watch(self, inherited);
        }
        if let Some(own) = own {
            inner.watch(self, own);
        }
        inner.notify_observers(self, || NodeEvent::Made);
    }

    /// The scope that a new child of this process inherits, if this process is watched.
    #[cfg(not(loom))]
    pub(crate) fn passed_on_scope(self: &Arc<Self>) -> Option<Arc<Scope<C>>> {
        if self.phase.is_watched() { self.inner.lock().scope_below(self) } else { None }
    }

    /// Do its observers include the one of the program ([`Contents::is_of_program`])? If not,
    /// [`add_observer`](Self::add_observer) can add it.
    #[cfg(all(feature = "tracing", not(loom)))]
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.phase.is_traced()
    }

    /// Adds an observer to the process and to everything below it. A Closed process is given none.
    #[cfg(not(loom))]
    pub(crate) fn add_observer(self: &Arc<Self>, observer: C::Observer) {
        let above = self.source().above;
        let scope = Scope::of(vec![observer], above, None);
        let mut inner = self.inner.lock();
        let is_new = self.phase() != Phase::Closed && inner.watch(self, scope);
        drop(inner);
        if is_new {
            spread(vec![self.clone()]);
        }
    }

    /// The first observer of the process for which `is_it` returns `true`.
    #[cfg(all(feature = "test-faults", not(loom)))]
    pub(crate) fn find_observer(
        &self,
        is_it: impl Fn(&C::Observer) -> bool,
    ) -> Option<C::Observer> {
        let inner = self.inner.lock();
        let watch = inner.more.as_deref()?.watch.as_ref()?;
        watch.own.observers.iter().find(|observer| is_it(observer)).cloned()
    }

    /// The topmost process above it, along first parents.
    #[cfg(all(feature = "tracing", not(loom)))]
    pub(crate) fn topmost(self: &Arc<Self>) -> Arc<Self> {
        self.first_parents().last().unwrap_or_else(|| self.clone())
    }
}

/// A process was linked below a watched process: it inherits if that is its first parent.
#[cold]
pub(super) fn inherit<C: Contents>(upper: &Arc<Node<C>>, lower: &Arc<Node<C>>) {
    let Some(scope) = upper.inner.lock().scope_below(upper) else { return };
    if lower.inherit(upper, &scope) {
        spread(vec![lower.clone()]);
    }
}

/// The number of children that are read in one locked section.
const CHUNK: usize = 64;

/// Gives the children of these processes, the children of those, and so on, the observers that they lack (E3, E5).
#[cold]
pub(super) fn spread<C: Contents>(mut from: Vec<Arc<Node<C>>>) {
    let mut found = Vec::new();
    while let Some(node) = from.pop() {
        let mut cursors = [0; 2];
        while let Some(scope) = node.next_children(&mut cursors, &mut found) {
            let lacks = |child: &Arc<Node<C>>| child.inherit(&node, &scope);
            from.extend(found.drain(..).filter(lacks));
        }
    }
}

impl<C: Contents> Node<C> {
    /// Gives the process the observers of `scope`, if `parent` is its first parent. Returns whether it lacked any.
    fn inherit(&self, parent: &Arc<Self>, scope: &Arc<Scope<C>>) -> bool {
        let mut inner = self.inner.lock();
        let is_first = inner.first_parent().is_some_and(|first| Arc::ptr_eq(first, parent));
        is_first && self.phase() != Phase::Closed && inner.watch(self, scope.clone())
    }

    /// Adds the next children to `found`, and returns the scope that they inherit; `None` if there are no more.
    fn next_children(
        &self,
        cursors: &mut [u32; 2],
        found: &mut Vec<Arc<Self>>,
    ) -> Option<Arc<Scope<C>>> {
        let mut inner = self.inner.lock();
        inner.more.as_deref()?.watch.as_ref()?;
        let lists = [inner.waited_children(), inner.no_wait_children()];
        let is_taken = lists.into_iter().flatten().any(Children::<C>::is_taken);
        let mut is_done = true;
        for (list, cursor) in lists.into_iter().zip(cursors) {
            if let Some((next, chunk)) = list.and_then(|list| list.chunk_from(*cursor, CHUNK)) {
                *cursor = next;
                found.extend(chunk.cloned());
                is_done = false;
            }
        }
        if is_done && !is_taken {
            // Most processes have no children, and need no scope for them.
            return None;
        }
        let scope = inner.scope_below(self)?;
        let watch = inner.more().watch.as_mut().filter(|_| is_taken);
        if let Some(below) = watch.and_then(|watch| watch.below.as_deref_mut()) {
            below.is_pending = true;
        }
        (!is_done).then_some(scope)
    }
}
