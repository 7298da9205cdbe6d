//! The search for cycles that could never close (I5), and for rings of owning edges (I8).
//!
//! # What requires what
//!
//! Each process has two events: it begins to close, and it is Closed. What an event requires:
//!
//! - `q` is Closed: `q` has begun to close; everything `q` waits for, or is blocked for, is Closed.
//! - `q` begins to close: everything that `q` is closed after is Closed; and, if `q` has parents, one of them begins to
//!   close. That is a choice, so the requirement holds only for what *all* its parents require. (A process may also
//!   close for another reason, but whoever orders it after something that only its own parents would close waits in
//!   vain when the program ends.)
//!
//! An edge is refused if what it requires requires the edge's upper end. A wait-for cycle is the case in which only
//! the second kind of events occurs; `p.close_after(&q)` where `q` closes because of `p` is the other one.
//!
//! # The search
//!
//! It goes from both ends in turn, so that it costs at most twice what lies on the cheaper side (I5). The *upward*
//! side collects everything that requires the upper end; it knows how to handle choices, and so it decides. The
//! *downward* side collects everything that the new edge might require, taking all of a choice; if it runs dry without
//! having met the upper end, there is no cycle. A Closing process is opaque to it, because the walk that closes it may
//! have its children.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::edge_kind::EdgeKind;
use super::node::{Contents, Extras, Inner, Node};
use crate::value::sync::{Mutex, MutexGuard};
use crate::value::{Label, Phase};

/// The lock under which edges that could complete a cycle are searched for and linked (S7).
pub(super) type GraphLock = MutexGuard<'static, ()>;

#[cfg(not(loom))]
pub(super) fn lock_graph() -> GraphLock {
    static GRAPH: Mutex<()> = Mutex::new(());
    GRAPH.lock()
}

#[cfg(loom)]
pub(super) fn lock_graph() -> GraphLock {
    loom::lazy_static! {
        static ref GRAPH: Mutex<()> = Mutex::new(());
    }
    GRAPH.lock()
}

/// What may happen to a process, and require something else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    BeginsToClose,
    /// The same, because a process above closes; for an edge that adds a parent.
    ClosesWithParent,
    IsClosed,
    /// It is kept open by those that own it; for the search for rings.
    IsHeld,
}

/// What a search found out.
pub(super) struct Verdict<C: Contents> {
    /// The processes on a cycle that could never close, each of which requires the next.
    pub(super) cycle: Option<Vec<Label>>,
    /// The edge would complete a ring of owning edges.
    pub(super) completes_ring: bool,
    /// What was looked at, to be dropped after the graph lock is released.
    _searched: Vec<(Upward<C>, Downward<C>)>,
}

/// Looks whether an edge may be added.
pub(super) fn judge<C: Contents>(
    _graph: &GraphLock,
    upper: &Arc<Node<C>>,
    lower: &Arc<Node<C>>,
    kind: EdgeKind,
) -> Verdict<C> {
    let mut verdict = Verdict { cycle: None, completes_ring: false, _searched: Vec::new() };
    let is_over = upper.phase() == Phase::Closed || lower.phase() == Phase::Closed;
    if is_over || lower.inner.lock().is_untouched() {
        return verdict;
    }
    if kind.requires_closed() {
        let is_ordered = kind.orders() && upper.phase() == Phase::Running;
        let dependent = if is_ordered { Event::BeginsToClose } else { Event::IsClosed };
        verdict.search((upper, dependent), (lower, Event::IsClosed));
    }
    // Without another parent, the lower process will close because of the upper one.
    let is_only_parent = || lower.inner.lock().parents().next().is_none();
    let is_running = lower.phase() == Phase::Running;
    if verdict.cycle.is_none() && kind.closes() && is_running && is_only_parent() {
        verdict.search((lower, Event::ClosesWithParent), (upper, Event::BeginsToClose));
    }
    if verdict.cycle.is_none() && kind.owns() {
        verdict.completes_ring = verdict.search((upper, Event::IsHeld), (lower, Event::IsHeld));
        verdict.cycle = None;
    }
    verdict
}

impl<C: Contents> Verdict<C> {
    /// Does `required` require `dependent`, so that it could never come before it?
    fn search(
        &mut self,
        dependent: (&Arc<Node<C>>, Event),
        required: (&Arc<Node<C>>, Event),
    ) -> bool {
        let goal = (Arc::as_ptr(required.0), required.1);
        let mut upward = Upward::from(dependent);
        let mut downward = Downward::from(required);
        let found = loop {
            if upward.found.contains_key(&goal) {
                break true;
            }
            let is_over = !upward.step() || downward.runs_dry(&upward);
            if is_over && !upward.found.contains_key(&goal) {
                break false;
            }
        };
        if found {
            self.cycle = Some(upward.path(goal, dependent));
        }
        self._searched.push((upward, downward));
        found
    }
}

impl<C: Contents> Inner<C> {
    /// Is nothing above or below it, so that an edge to it completes nothing?
    fn is_untouched(&self) -> bool {
        let has_edges = |extras: &Extras<C>| {
            let downs = [&extras.waits_for, &extras.closes_after, &extras.blocked_for];
            !extras.ups.is_empty() || downs.iter().any(|downs| !downs.is_empty())
        };
        self.parent.is_none()
            && self.children.is_none()
            && !self.extras.as_deref().is_some_and(has_edges)
    }
}

/// How many places of a list are looked at in one step.
const CHUNK: usize = 16;

type Key<C> = (*const Node<C>, Event);

/// A process, and the event that an event of it requires.
type Found<C> = (Arc<Node<C>>, Key<C>);

/// An event whose neighbours are being looked at.
struct Cursor<C: Contents> {
    node: Arc<Node<C>>,
    event: Event,
    /// How many places have been looked at.
    looked_at: usize,
}

/// The events that require a given one, directly or through others.
struct Upward<C: Contents> {
    /// Each with the event that it requires; the first one requires itself here.
    found: HashMap<Key<C>, Found<C>>,
    /// How many parents of a process are known to require it, as long as not all of them are.
    choices: HashMap<*const Node<C>, Choices>,
    open: VecDeque<Cursor<C>>,
    spent: usize,
}

/// How many parents of a process were found to begin to close after the given event, and with it.
#[derive(Default)]
struct Choices {
    after: usize,
    with: usize,
}

impl<C: Contents> Upward<C> {
    fn from((node, event): (&Arc<Node<C>>, Event)) -> Self {
        let mut found = Self {
            found: HashMap::new(),
            choices: HashMap::new(),
            open: VecDeque::new(),
            spent: 0,
        };
        found.add(node.clone(), event, (Arc::as_ptr(node), event));
        found
    }

    fn add(&mut self, node: Arc<Node<C>>, event: Event, requires: Key<C>) {
        if let Entry::Vacant(entry) = self.found.entry((Arc::as_ptr(&node), event)) {
            entry.insert((node.clone(), requires));
            self.open.push_back(Cursor { node, event, looked_at: 0 });
        }
    }

    /// Looks a little further; `false` if there is nothing left to look at.
    fn step(&mut self) -> bool {
        let Some(Cursor { node, event, looked_at: skip }) = self.open.pop_front() else {
            return false;
        };
        let key = (Arc::as_ptr(&node), event);
        let (above, children, is_done) = neighbours_above(&node, event, skip);
        self.spent += 1 + above.len() + children.len();
        if !is_done {
            self.open.push_back(Cursor { node: node.clone(), event, looked_at: skip + CHUNK });
        }
        if skip == 0 && matches!(event, Event::BeginsToClose | Event::ClosesWithParent) {
            self.add(node, Event::IsClosed, key);
        }
        for (node, event) in above {
            self.add(node, event, key);
        }
        for child in children {
            // Only if all its parents require it.
            let (is_running, parents) = {
                let inner = child.inner.lock();
                let mut is_chosen = false;
                let mut count = 0;
                for parent in inner.parents() {
                    is_chosen |= parent.phase() != Phase::Running;
                    count += 1;
                }
                (child.phase() == Phase::Running && !is_chosen, count)
            };
            let known = self.choices.entry(Arc::as_ptr(&child)).or_default();
            let is_after = event == Event::BeginsToClose;
            *(if is_after { &mut known.after } else { &mut known.with }) += 1;
            let (after, with) = (known.after, known.with);
            if is_running && after >= parents {
                self.add(child, Event::BeginsToClose, key);
            } else if is_running && after + with >= parents {
                self.add(child, Event::ClosesWithParent, key);
            }
        }
        true
    }

    /// The processes from `from` to `to`, each requiring the next.
    fn path(&self, from: Key<C>, to: (&Arc<Node<C>>, Event)) -> Vec<Label> {
        let to = (Arc::as_ptr(to.0), to.1);
        let mut path: Vec<(*const Node<C>, Label)> = Vec::new();
        let mut key = from;
        while let Some((node, requires)) = self.found.get(&key) {
            if path.last().is_none_or(|(last, _)| *last != key.0) {
                path.push((key.0, node.label()));
            }
            if key == to {
                break;
            }
            key = *requires;
        }
        // An event that requires the other event of the same process closes the circle.
        if path.len() > 1
            && path.first().map(|(first, _)| first) == path.last().map(|(last, _)| last)
        {
            path.pop();
        }
        path.into_iter().map(|(_, label)| label).collect()
    }
}

type Events<C> = Vec<(Arc<Node<C>>, Event)>;

/// The events that require this one, in the places from `skip` on; the children whose choice it is; and whether that
/// was all.
fn neighbours_above<C: Contents>(
    node: &Arc<Node<C>>,
    event: Event,
    skip: usize,
) -> (Events<C>, Vec<Arc<Node<C>>>, bool) {
    let inner = node.inner.lock();
    let mut above = Vec::new();
    match event {
        Event::IsClosed | Event::IsHeld => {
            let mut add = |node: &Arc<Node<C>>, kind: EdgeKind| {
                if event == Event::IsHeld {
                    if kind.owns() && node.phase() != Phase::Closed {
                        above.push((node.clone(), Event::IsHeld));
                    }
                    return;
                }
                if kind.requires_closed() && node.phase() != Phase::Closed {
                    above.push((node.clone(), Event::IsClosed));
                }
                if kind.orders() && node.phase() == Phase::Running {
                    above.push((node.clone(), Event::BeginsToClose));
                }
            };
            if skip == 0 {
                inner.parent.iter().for_each(|parent| add(parent, inner.parent_edge));
            }
            let chunk = inner.extras.as_ref().and_then(|extras| extras.ups.chunk(skip, CHUNK));
            let is_done = chunk.is_none();
            chunk.into_iter().flatten().for_each(|up| add(&up.target, up.kind));
            (above, Vec::new(), is_done)
        }
        Event::BeginsToClose | Event::ClosesWithParent => {
            let chunk = inner.children.as_ref().and_then(|children| children.chunk(skip, CHUNK));
            let is_done = chunk.is_none();
            (above, chunk.into_iter().flatten().cloned().collect(), is_done)
        }
    }
}

/// The events that a given one might require, directly or through others.
struct Downward<C: Contents> {
    found: HashSet<Key<C>>,
    open: VecDeque<Cursor<C>>,
    spent: usize,
    /// Nothing has been left out, and nothing that the upward side has found was met.
    is_conclusive: bool,
}

impl<C: Contents> Downward<C> {
    fn from((node, event): (&Arc<Node<C>>, Event)) -> Self {
        let mut found =
            Self { found: HashSet::new(), open: VecDeque::new(), spent: 0, is_conclusive: true };
        found.add(node.clone(), event);
        found
    }

    fn add(&mut self, node: Arc<Node<C>>, event: Event) {
        if self.found.insert((Arc::as_ptr(&node), event)) {
            self.open.push_back(Cursor { node, event, looked_at: 0 });
        }
    }

    /// Looks further until it has spent as much as the upward side; `true` if that was all there is and the sides
    /// have not met, so that there is no cycle.
    fn runs_dry(&mut self, upward: &Upward<C>) -> bool {
        while self.is_conclusive && self.spent <= upward.spent {
            let Some(Cursor { node, event, looked_at: skip }) = self.open.pop_front() else {
                return true;
            };
            let has_found = |event| upward.found.contains_key(&(Arc::as_ptr(&node), event));
            let closes_with = event == Event::BeginsToClose && has_found(Event::ClosesWithParent);
            let has_met = has_found(event) || closes_with;
            // If they have met, only the upward side knows whether they are really connected.
            let below = if has_met { None } else { neighbours_below(&node, event, skip) };
            let Some((below, is_done)) = below else {
                self.is_conclusive = false;
                break;
            };
            self.spent += 1 + below.len();
            if !is_done {
                self.open.push_back(Cursor { node: node.clone(), event, looked_at: skip + CHUNK });
            }
            if skip == 0 && event == Event::IsClosed {
                self.add(node, Event::BeginsToClose);
            }
            for (node, event) in below {
                self.add(node, event);
            }
        }
        false
    }
}

/// The events that this one might require, in the places from `skip` on, and whether that was all; `None` if not all
/// of them can be seen.
fn neighbours_below<C: Contents>(
    node: &Arc<Node<C>>,
    event: Event,
    skip: usize,
) -> Option<(Events<C>, bool)> {
    let inner = node.inner.lock();
    let phase = node.phase();
    if phase == Phase::Closed {
        return Some((Vec::new(), true));
    }
    let mut below = Vec::new();
    let mut is_done = true;
    match event {
        Event::IsClosed => {
            if phase == Phase::Closing && inner.children.is_some() {
                return None;
            }
            is_done = !inner.chunk_below(skip, |node| below.push((node, Event::IsClosed)));
        }
        Event::BeginsToClose if phase == Phase::Running => {
            let mut ordered = Vec::new();
            if let Some(extras) = &inner.extras {
                if let Some(chunk) = extras.closes_after.chunk(skip, CHUNK) {
                    is_done = false;
                    ordered.extend(chunk.filter_map(|down| down.upgrade()));
                }
            }
            below.extend(ordered.into_iter().map(|node| (node, Event::IsClosed)));
            if skip == 0 {
                below.extend(inner.parents().map(|node| (node.clone(), Event::BeginsToClose)));
            }
        }
        Event::BeginsToClose | Event::ClosesWithParent => {}
        Event::IsHeld => {
            if phase == Phase::Closing {
                return None;
            }
            if let Some(chunk) = inner.children.as_ref().and_then(|list| list.chunk(skip, CHUNK)) {
                is_done = false;
                below.extend(chunk.map(|child| (child.clone(), Event::IsHeld)));
            }
        }
    }
    Some((below, is_done))
}

impl<C: Contents> Inner<C> {
    /// Calls `add` for whatever the process waits for, or is blocked for, in the places from `skip` on; `false` if there
    /// are no places any more.
    fn chunk_below(&self, skip: usize, mut add: impl FnMut(Arc<Node<C>>)) -> bool {
        let mut is_any = false;
        if let Some(chunk) = self.children.as_ref().and_then(|list| list.chunk(skip, CHUNK)) {
            is_any = true;
            chunk.cloned().for_each(&mut add);
        }
        if let Some(extras) = &self.extras {
            for downs in [&extras.waits_for, &extras.closes_after, &extras.blocked_for] {
                if let Some(chunk) = downs.chunk(skip, CHUNK) {
                    is_any = true;
                    chunk.filter_map(|down| down.upgrade()).for_each(&mut add);
                }
            }
        }
        is_any
    }
}

#[cfg(all(feature = "tokio", not(loom)))]
/// Everything that `from` waits for, or is blocked for, directly or through others, with `from` itself.
pub(crate) fn everything_below<C: Contents>(from: &Arc<Node<C>>) -> Vec<Arc<Node<C>>> {
    let mut seen = HashMap::from([(Arc::as_ptr(from), ())]);
    let mut all = vec![from.clone()];
    let mut next = 0;
    while let Some(node) = all.get(next).cloned() {
        let mut below = Vec::new();
        let inner = node.inner.lock();
        let mut skip = 0;
        while inner.chunk_below(skip, |node| below.push(node)) {
            skip += CHUNK;
        }
        drop(inner);
        below.retain(|node| {
            node.phase() != Phase::Closed && seen.insert(Arc::as_ptr(node), ()).is_none()
        });
        all.extend(below);
        next += 1;
    }
    all
}

/// Are all slots of `limiter` held by processes that wait for `waiting`, so that it would wait for ever?
pub(crate) fn slots_wait_for<C: Contents>(limiter: &Arc<Node<C>>, waiting: &Arc<Node<C>>) -> bool {
    let mut upward = Upward::from((waiting, Event::IsClosed));
    while upward.step() {}
    let (total, children) = {
        let inner = limiter.inner.lock();
        let limit = inner.extras.as_ref().and_then(|extras| extras.limit.as_ref());
        let Some(limit) = limit else { return false };
        let children = inner.children.iter().flat_map(|children| children.iter());
        (limit.total, children.cloned().collect::<Vec<_>>())
    };
    let held = children.iter().filter(|child| {
        upward.found.contains_key(&(Arc::as_ptr(child), Event::IsClosed))
            && child.inner.lock().parent_edge.holds_slot()
    });
    held.count() == total
}
