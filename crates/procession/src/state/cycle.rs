//! The search for cycles that could never close (I5), and for rings of owning edges (I8).
//!
//! # Events and what they require
//!
//! Each process has two events: it begins to close, and it is Closed. They require other events to happen first:
//!
//! - "`q` is Closed" requires that `q` has begun to close, and that everything `q` waits for, or is blocked for, is
//!   Closed.
//! - "`q` begins to close" requires that everything `q` is closed after is Closed and, if `q` has parents, that one of
//!   them begins to close. This is a choice. (A process may also close for another reason. But an order that relies on
//!   that would never be fulfilled at the end of a program, when processes are closed by their parents only.)
//!
//! An edge makes an event of its upper end require an event of its lower end. It is refused if the event of the lower
//! end could then never happen, because it requires that of the upper end. A wait-for cycle is the case without a
//! choice; `p.close_after(&q)` where `q` closes because of `p` is another case.
//!
//! Processes that close each other, directly or around a ring, do not wait for each other: a cycle is refused only if
//! the event "is Closed" of some process is on it. So for an edge that adds a parent, the search distinguishes a
//! process that begins to close *with* another one from a process that begins to close *after* it.
//!
//! # The search
//!
//! It goes from both ends in turn, so that it costs at most twice the cheaper side (I5).
//!
//! - The *upward* side collects every event that might require the event of the upper end, assuming the worst of each
//!   choice. If it finds that the event of the lower end requires it whatever is chosen, this decides at once.
//!   Otherwise, once everything is collected, it strikes out the events that can still happen, one after the other, as
//!   in a topological sort; the events that are left could never happen.
//! - The *downward* side collects every event that the event of the lower end might require. If it runs dry without
//!   having met the upward side, there is no cycle. It cannot look through a Closing process, because the children of
//!   such a process may be in the hands of the walk that closes it.

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

/// Something that may happen to a process, and that may require other events.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    BeginsToClose,
    IsClosed,
    /// It is kept open by the processes that own it. Used only in the search for rings.
    IsHeld,
}

/// The result of a search.
pub(super) struct Verdict<C: Contents> {
    /// The processes on a cycle that could never close, each of which requires the next.
    pub(super) cycle: Option<Vec<Label>>,
    /// The edge would complete a ring of owning edges.
    pub(super) completes_ring: bool,
    /// The nodes that were looked at, to be dropped after the graph lock is released.
    _searched: Vec<(Upward<C>, Downward<C>)>,
}

/// Decides whether an edge may be added, and whether it would complete a ring.
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
        let new_parent = (upper, Event::BeginsToClose);
        verdict.search((lower, Event::BeginsToClose), new_parent);
    }
    if verdict.cycle.is_none() && kind.owns() {
        let ring = verdict.search((upper, Event::IsHeld), (lower, Event::IsHeld));
        verdict.completes_ring = ring;
        verdict.cycle = None;
    }
    verdict
}

impl<C: Contents> Verdict<C> {
    /// Does `required` itself require `dependent`, so that it could never happen first?
    fn search(
        &mut self,
        dependent: (&Arc<Node<C>>, Event),
        required: (&Arc<Node<C>>, Event),
    ) -> bool {
        let goal = (Arc::as_ptr(required.0), required.1);
        // Two processes that begin to close together are no cycle: `required` has to come strictly after `dependent`.
        let has_to_be_after = dependent.1 == required.1 && required.1 == Event::BeginsToClose;
        let mut upward = Upward::from(dependent);
        let mut downward = Downward::from(required);
        let blocked = loop {
            let found = upward.found.get(&goal);
            if found.is_some_and(|found| found.is_certain && !has_to_be_after) {
                break true;
            }
            let is_found = found.is_some();
            if !upward.step() {
                break upward.is_blocked(goal, has_to_be_after);
            }
            if !is_found && downward.runs_dry(&upward) && !upward.found.contains_key(&goal) {
                break false;
            }
        };
        if blocked {
            self.cycle = Some(upward.path(goal));
        }
        self._searched.push((upward, downward));
        blocked
    }
}

impl<C: Contents> Inner<C> {
    /// Is nothing above or below it, so that an edge to it completes nothing?
    fn is_untouched(&self) -> bool {
        let has_edges = |extras: &Extras<C>| {
            let downs = [&extras.waits_for, &extras.closes_after, &extras.blocked_for];
            let ups = [&extras.parents, &extras.dependents];
            ups.iter().any(|ups| !ups.is_empty()) || downs.iter().any(|downs| !downs.is_empty())
        };
        self.parent.is_none()
            && self.children.is_none()
            && !self.extras.as_deref().is_some_and(has_edges)
    }
}

/// How many places of a list are looked at in one step.
const CHUNK: usize = 16;

type Key<C> = (*const Node<C>, Event);

/// How an event requires another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// It is one of those that must all happen.
    All,
    /// It is one of those of which one must happen.
    One,
}

/// An event that might require the given one.
struct Found<C: Contents> {
    node: Arc<Node<C>>,
    /// It requires the given one whatever is chosen.
    is_certain: bool,
    /// How many of the events that it requires might never happen.
    all: usize,
    /// How many parents it can choose from, and how many of them might never begin to close.
    choices: usize,
    poor_choices: usize,
    /// It turned out that it can still happen.
    is_struck_out: bool,
    /// The events that require this one.
    dependents: Vec<(Key<C>, Need)>,
}

impl<C: Contents> Found<C> {
    fn can_happen(&self) -> bool {
        self.all == 0 && (self.choices == 0 || self.poor_choices < self.choices)
    }
}

/// An event whose neighbours are being looked at.
struct Cursor<C: Contents> {
    node: Arc<Node<C>>,
    event: Event,
    /// How many places have been looked at.
    looked_at: usize,
}

/// The events that might require a given one, directly or through others.
struct Upward<C: Contents> {
    found: HashMap<Key<C>, Found<C>>,
    start: Key<C>,
    open: VecDeque<Cursor<C>>,
    spent: usize,
}

impl<C: Contents> Upward<C> {
    fn from((node, event): (&Arc<Node<C>>, Event)) -> Self {
        let start = (Arc::as_ptr(node), event);
        let mut upward = Self { found: HashMap::new(), start, open: VecDeque::new(), spent: 0 };
        upward.find(node.clone(), event, true);
        upward
    }

    /// Adds an event, unless it was found before.
    fn find(&mut self, node: Arc<Node<C>>, event: Event, is_certain: bool) {
        if let Entry::Vacant(entry) = self.found.entry((Arc::as_ptr(&node), event)) {
            self.open.push_back(Cursor { node: node.clone(), event, looked_at: 0 });
            entry.insert(Found {
                node,
                is_certain,
                all: 0,
                choices: 0,
                poor_choices: 0,
                is_struck_out: false,
                dependents: Vec::new(),
            });
        }
    }

    /// Records that an event requires `through`, which was found before. `choices` is the number of parents that the
    /// event can choose from, if `through` is one of them.
    fn add(&mut self, node: Arc<Node<C>>, event: Event, through: Key<C>, choices: Option<usize>) {
        let key = (Arc::as_ptr(&node), event);
        let need = if choices.is_some() { Need::One } else { Need::All };
        let Some(found) = self.found.get_mut(&through) else { return };
        found.dependents.push((key, need));
        let is_certain = found.is_certain && choices.is_none_or(|choices| choices == 1);
        self.find(node, event, is_certain);
        let Some(dependent) = self.found.get_mut(&key) else { return };
        match choices {
            None => dependent.all += 1,
            Some(choices) => {
                dependent.choices = choices;
                dependent.poor_choices += 1;
            }
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
        if skip == 0 && event == Event::BeginsToClose {
            self.add(node, Event::IsClosed, key, None);
        }
        for (node, event) in above {
            self.add(node, event, key, None);
        }
        for child in children {
            let known = self.found.get(&(Arc::as_ptr(&child), Event::BeginsToClose));
            let choices = match known.map(|known| known.choices) {
                Some(choices) if choices > 0 => Some(choices),
                _ => child.choices(),
            };
            if choices.is_some() {
                self.add(child, Event::BeginsToClose, key, choices);
            }
        }
        true
    }

    /// Strikes out the events that can happen without the given one, and returns whether `goal` is left. With `after`,
    /// it must also come strictly after the given one, and not together with it.
    fn is_blocked(&mut self, goal: Key<C>, after: bool) -> bool {
        if !self.found.contains_key(&goal) {
            return false;
        }
        let start = self.start;
        let is_free = |(key, found): (&Key<C>, &Found<C>)| {
            (*key != start && found.can_happen()).then_some(*key)
        };
        let mut free: Vec<_> = self.found.iter().filter_map(is_free).collect();
        while let Some(key) = free.pop() {
            let Some(found) = self.found.get_mut(&key) else { continue };
            if std::mem::replace(&mut found.is_struck_out, true) {
                continue;
            }
            for (key, need) in std::mem::take(&mut found.dependents) {
                let Some(dependent) = self.found.get_mut(&key) else { continue };
                match need {
                    Need::All => dependent.all -= 1,
                    Need::One => dependent.poor_choices -= 1,
                }
                if key != start && dependent.can_happen() {
                    free.push(key);
                }
            }
        }
        let is_left = |key: &Key<C>| self.found.get(key).is_some_and(|found| !found.is_struck_out);
        is_left(&goal) && (!after || self.comes_after().contains(&goal))
    }

    /// Of the processes that are left, those that begin to close strictly after the given event, and not together with
    /// it, because they are closed after a process, or because all their parents come after the event.
    fn comes_after(&self) -> HashSet<Key<C>> {
        let begins = |key: &Key<C>| key.1 == Event::BeginsToClose && *key != self.start;
        let is_left = |key: &Key<C>| self.found.get(key).filter(|found| !found.is_struck_out);
        let mut open: Vec<_> = self.found.keys().filter(|key| begins(key)).copied().collect();
        open.retain(|key| is_left(key).is_some_and(|found| found.all > 0));
        let mut after: HashSet<_> = open.iter().copied().collect();
        let mut late_choices: HashMap<Key<C>, usize> = HashMap::new();
        while let Some(key) = open.pop() {
            for (child, need) in is_left(&key).iter().flat_map(|found| &found.dependents) {
                let Some(found) = is_left(child).filter(|_| *need == Need::One) else { continue };
                let late = late_choices.entry(*child).or_default();
                *late += 1;
                if *late == found.choices && begins(child) && after.insert(*child) {
                    open.push(*child);
                }
            }
        }
        after
    }

    /// The processes on the way from `goal` to the given event; each requires the next.
    fn path(&self, goal: Key<C>) -> Vec<Label> {
        // Begins at the given event, and looks only at events that are left: one may have been found through an event
        // that was struck out.
        let mut through = HashMap::from([(self.start, self.start)]);
        let mut open = VecDeque::from([self.start]);
        while let Some(key) = open.pop_front().filter(|_| !through.contains_key(&goal)) {
            for (dependent, _) in self.found.get(&key).iter().flat_map(|found| &found.dependents) {
                let is_left = self.found.get(dependent).is_some_and(|found| !found.is_struck_out);
                if let (true, Entry::Vacant(entry)) = (is_left, through.entry(*dependent)) {
                    entry.insert(key);
                    open.push_back(*dependent);
                }
            }
        }
        let mut path: Vec<(*const Node<C>, Label)> = Vec::new();
        let mut next = Some(goal);
        while let Some(key) = next {
            let Some(found) = self.found.get(&key) else { break };
            if path.last().is_none_or(|(last, _)| *last != key.0) {
                path.push((key.0, found.node.label()));
            }
            next = through.get(&key).copied().filter(|_| key != self.start);
        }
        // An event that requires the other event of the same process closes the circle.
        if path.len() > 1 && path.first().map(|first| first.0) == path.last().map(|last| last.0) {
            path.pop();
        }
        path.into_iter().map(|(_, label)| label).collect()
    }
}

impl<C: Contents> Node<C> {
    /// How many parents it can choose from; `None` if it or one of them has begun to close.
    fn choices(&self) -> Option<usize> {
        let inner = self.inner.lock();
        let mut choices = 0;
        for parent in inner.parents() {
            if parent.phase() != Phase::Running {
                return None;
            }
            choices += 1;
        }
        (self.phase() == Phase::Running).then_some(choices)
    }
}

type Events<C> = Vec<(Arc<Node<C>>, Event)>;

/// The events that require this one, in the places from `skip` on; the children that can choose this process; and
/// whether there are no more places.
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
            let mut is_done = true;
            for ups in inner.extras.iter().flat_map(|extras| [&extras.parents, &extras.dependents])
            {
                if let Some(chunk) = ups.chunk(skip, CHUNK) {
                    is_done = false;
                    chunk.for_each(|up| add(&up.target, up.kind));
                }
            }
            (above, Vec::new(), is_done)
        }
        Event::BeginsToClose => {
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
    /// Nothing has been left out, and the two sides have not met.
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

    /// Looks further until it has spent as much as the upward side. Returns `true` if nothing is left to look at and
    /// the sides have not met, so that there is no cycle.
    fn runs_dry(&mut self, upward: &Upward<C>) -> bool {
        while self.is_conclusive && self.spent <= upward.spent {
            let Some(Cursor { node, event, looked_at: skip }) = self.open.pop_front() else {
                return true;
            };
            let has_met = upward.found.contains_key(&(Arc::as_ptr(&node), event));
            // If the sides have met, only the upward side can decide.
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

/// The events that this one might require, in the places from `skip` on, and whether there are no more places; `None`
/// if not all of them can be seen.
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
        Event::BeginsToClose => {}
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
    /// Calls `add` for each process that this one waits for, or is blocked for, and for its no-wait children, in the
    /// places from `skip` on; `false` if there are no more places.
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

/// The process itself, and everything that it waits for or is blocked for, directly or through others.
#[cfg(all(feature = "tokio", not(loom)))]
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
        below.retain(|lower| {
            lower.phase() != Phase::Closed
                && !lower.is_no_wait_child_of(&node)
                && seen.insert(Arc::as_ptr(lower), ()).is_none()
        });
        all.extend(below);
        next += 1;
    }
    all
}

/// Are all slots of `limiter` held by processes that wait for `waiting`, so that it would wait for a slot for ever?
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
