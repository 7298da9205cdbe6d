//! The downward side of the search: every event that a given event might require.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::event::{CHUNK, Cursor, Event, Events, Key};
use super::upward::Upward;
use crate::state::contents::Contents;
use crate::state::node::{Inner, Node};
use crate::value::Phase;

/// The events that a given event might require, directly or through others.
pub(super) struct Downward<C: Contents> {
    found: HashSet<Key<C>>,
    open: VecDeque<Cursor<C>>,
    spent: usize,
    /// Nothing was left out, and the two sides have not met, so an exhausted search would prove that there is no cycle.
    is_conclusive: bool,
    /// The ancestors of the upper process, which need not be searched.
    pub(super) ancestors: Ancestors<C>,
}

/// The chain of sole parents above a process, as far as it was followed. Only such an ancestor can make the process
/// begin to close.
pub(super) struct Ancestors<C: Contents> {
    known: HashSet<*const Node<C>>,
    /// The last known ancestor; `None` if the chain has ended.
    last: Option<Arc<Node<C>>>,
}

impl<C: Contents> Ancestors<C> {
    fn none() -> Self {
        Self { known: HashSet::new(), last: None }
    }

    pub(super) fn begin(&mut self, node: &Arc<Node<C>>) {
        self.last = Some(node.clone());
    }

    /// Follows the chain to one more ancestor.
    fn look(&mut self) {
        let Some(node) = self.last.take() else { return };
        let inner = node.inner.lock();
        let mut parents = inner.parents();
        if let (Some(parent), None, Phase::Running) = (parents.next(), parents.next(), node.phase())
        {
            self.known.insert(Arc::as_ptr(parent));
            self.last = Some(parent.clone());
        }
    }
}

impl<C: Contents> Downward<C> {
    pub(super) fn from((node, event): (&Arc<Node<C>>, Event)) -> Self {
        let mut found = Self {
            found: HashSet::new(),
            open: VecDeque::new(),
            spent: 0,
            is_conclusive: true,
            ancestors: Ancestors::none(),
        };
        found.add(node.clone(), event);
        found
    }

    fn add(&mut self, node: Arc<Node<C>>, event: Event) {
        if self.found.insert((Arc::as_ptr(&node), event)) {
            self.open.push_back(Cursor { node, event, looked_at: 0 });
        }
    }

    /// Searches on until it has spent as much as the upward side. Returns `true` if nothing is left to search and the
    /// sides have not met, which proves that there is no cycle.
    pub(super) fn is_exhausted(&mut self, upward: &Upward<C>) -> bool {
        while self.is_conclusive && self.spent <= upward.spent {
            let Some(Cursor { node, event, looked_at: skip }) = self.open.pop_front() else {
                return true;
            };
            self.ancestors.look();
            if event == Event::BeginsToClose && self.ancestors.known.contains(&Arc::as_ptr(&node)) {
                continue;
            }
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

/// The events that this event might require, read from the next places after the first `skip`, and whether all places
/// have been read; `None` if some of these events cannot be found.
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
            if phase == Phase::Closing && inner.may_have_children() {
                return None;
            }
            is_done = !inner.chunk_below(skip, |node| below.push((node, Event::IsClosed)));
        }
        Event::BeginsToClose if phase == Phase::Running => {
            let mut ordered = Vec::new();
            if let Some(extras) = inner.extras_ref() {
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
            for children in inner.waited_children().into_iter().chain(inner.no_wait_children()) {
                if let Some(chunk) = children.chunk(skip, CHUNK) {
                    is_done = false;
                    below.extend(chunk.map(|child| (child.clone(), Event::IsHeld)));
                }
            }
        }
    }
    Some((below, is_done))
}

impl<C: Contents> Inner<C> {
    /// Calls `add` for the processes that this one waits for, or is blocked for, in the next places after the first
    /// `skip`. Returns `false` if there are no more places.
    pub(in crate::state) fn chunk_below(
        &self,
        skip: usize,
        mut add: impl FnMut(Arc<Node<C>>),
    ) -> bool {
        let mut is_any = false;
        if let Some(chunk) = self.waited_children().and_then(|list| list.chunk(skip, CHUNK)) {
            is_any = true;
            chunk.cloned().for_each(&mut add);
        }
        if let Some(extras) = self.extras_ref() {
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
