//! The upward side of the search: every event that might require a given event.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::event::{CHUNK, Cursor, Event, Events, Key};
use crate::state::contents::Contents;
use crate::state::edge_kind::EdgeKind;
use crate::state::node::Node;
use crate::value::{Label, Phase};

/// The events that might require a given event, directly or through others.
pub(super) struct Upward<C: Contents> {
    pub(super) found: HashMap<Key<C>, Found<C>>,
    start: Key<C>,
    open: VecDeque<Cursor<C>>,
    pub(super) spent: usize,
}

impl<C: Contents> Upward<C> {
    pub(super) fn from((node, event): (&Arc<Node<C>>, Event)) -> Self {
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
                unmet: 0,
                choices: 0,
                unmet_choices: 0,
                is_removed: false,
                dependents: Vec::new(),
            });
        }
    }

    /// Records that an event requires `through`, which was found before. If `through` is the event of a parent that the
    /// event can choose, `choices` is the number of parents to choose from.
    fn add(&mut self, node: Arc<Node<C>>, event: Event, through: Key<C>, choices: Option<usize>) {
        let key = (Arc::as_ptr(&node), event);
        let need = if choices.is_some() { Need::One } else { Need::All };
        let Some(found) = self.found.get_mut(&through) else { return };
        found.dependents.push((key, need));
        let is_certain = found.is_certain && choices.is_none_or(|choices| choices == 1);
        self.find(node, event, is_certain);
        let Some(dependent) = self.found.get_mut(&key) else { return };
        match choices {
            None => dependent.unmet += 1,
            Some(choices) => {
                dependent.choices = choices;
                dependent.unmet_choices += 1;
            }
        }
    }

    /// Searches a little further; `false` if nothing is left to search.
    pub(super) fn step(&mut self) -> bool {
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

    /// Removes the events that can happen without the given event, and returns whether `goal` is left. If `after` is
    /// set, `goal` must also come strictly after the given event, and not together with it.
    pub(super) fn is_blocked(&mut self, goal: Key<C>, after: bool) -> bool {
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
            if std::mem::replace(&mut found.is_removed, true) {
                continue;
            }
            for (key, need) in std::mem::take(&mut found.dependents) {
                let Some(dependent) = self.found.get_mut(&key) else { continue };
                match need {
                    Need::All => dependent.unmet -= 1,
                    Need::One => dependent.unmet_choices -= 1,
                }
                if key != start && dependent.can_happen() {
                    free.push(key);
                }
            }
        }
        let is_left = |key: &Key<C>| self.found.get(key).is_some_and(|found| !found.is_removed);
        is_left(&goal) && (!after || self.comes_after().contains(&goal))
    }

    /// Of the events that are left, those of processes that begin to close strictly after the given event, and not
    /// together with it: because such a process closes after another process, or because all its parents come after the
    /// event.
    fn comes_after(&self) -> HashSet<Key<C>> {
        let begins = |key: &Key<C>| key.1 == Event::BeginsToClose && *key != self.start;
        let is_left = |key: &Key<C>| self.found.get(key).filter(|found| !found.is_removed);
        let mut open: Vec<_> = self.found.keys().filter(|key| begins(key)).copied().collect();
        open.retain(|key| is_left(key).is_some_and(|found| found.unmet > 0));
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

    /// The processes on the path from `goal` to the given event; each requires the next.
    pub(super) fn path(&self, goal: Key<C>) -> Vec<Label> {
        // Begins at the given event, and visits only events that are left, because an event may have been found through
        // one that was removed.
        let mut through = HashMap::from([(self.start, self.start)]);
        let mut open = VecDeque::from([self.start]);
        while let Some(key) = open.pop_front().filter(|_| !through.contains_key(&goal)) {
            for (dependent, _) in self.found.get(&key).iter().flat_map(|found| &found.dependents) {
                let is_left = self.found.get(dependent).is_some_and(|found| !found.is_removed);
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
        // If the path begins and ends with two events of the same process, name that process only once.
        if path.len() > 1 && path.first().map(|first| first.0) == path.last().map(|last| last.0) {
            path.pop();
        }
        path.into_iter().map(|(_, label)| label).collect()
    }
}

/// How an event requires another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// It is one of several events that must all happen.
    All,
    /// It is one of several events of which one must happen.
    One,
}

/// An event that might require the given event.
pub(super) struct Found<C: Contents> {
    node: Arc<Node<C>>,
    /// It requires the given event whatever is chosen.
    pub(super) is_certain: bool,
    /// The number of required events that might never happen, without those it can choose from.
    unmet: usize,
    /// The number of parents that it can choose from, and the number of those that might never begin to close.
    choices: usize,
    unmet_choices: usize,
    /// It was removed, because it can happen without the given event.
    is_removed: bool,
    /// The events that require this one.
    dependents: Vec<(Key<C>, Need)>,
}

impl<C: Contents> Found<C> {
    fn can_happen(&self) -> bool {
        self.unmet == 0 && (self.choices == 0 || self.unmet_choices < self.choices)
    }
}

impl<C: Contents> Node<C> {
    /// The number of parents that the process can choose from; `None` if it or one of them has already begun to close.
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

/// The events that require this event, and the children that can choose this process, read from the next places after
/// the first `skip`; and whether all places have been read.
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
            let extras = inner.extras_ref().into_iter();
            for ups in extras.flat_map(|extras| [&extras.parents, &extras.dependents]) {
                if let Some(chunk) = ups.chunk(skip, CHUNK) {
                    is_done = false;
                    chunk.for_each(|up| add(&up.target, up.kind));
                }
            }
            (above, Vec::new(), is_done)
        }
        Event::BeginsToClose => {
            let lists = inner.waited_children().into_iter().chain(inner.no_wait_children());
            let chunks: Vec<_> = lists.filter_map(|list| list.chunk(skip, CHUNK)).collect();
            let is_done = chunks.is_empty();
            (above, chunks.into_iter().flatten().cloned().collect(), is_done)
        }
    }
}
