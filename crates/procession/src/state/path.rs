//! The path of a process: the names or sites of its first parents and its own. Errors name the process by it.

use std::iter;
use std::sync::Arc;

use super::contents::Contents;
use super::node::{Inner, Node};
#[cfg(not(loom))]
use crate::value::{Above, ProcessId, Source};
use crate::value::{Label, NEAREST, Segment};

impl<C: Contents> Node<C> {
    /// The label, with the nearest segments of the path. It locks the process and those above it, one at a time.
    pub(crate) fn label(self: &Arc<Self>) -> Label {
        let mut above = self.path_above(NEAREST);
        let is_cut = above.len() == NEAREST;
        if is_cut {
            above.pop();
        }
        above.reverse();
        Label::new(self.id(), self.segment(), above, is_cut)
    }

    /// The label without the processes above this one. It takes no lock.
    pub(crate) fn own_label(self: &Arc<Self>) -> Label {
        Label::new(self.id(), self.segment(), Vec::new(), false)
    }

    /// The segments of at most `limit` first parents, the nearest first.
    pub(crate) fn path_above(self: &Arc<Self>, limit: usize) -> Vec<Segment> {
        self.first_parents().take(limit).map(|parent| parent.segment()).collect()
    }

    /// The first parent, its first parent, and so on. It locks one of them at a time.
    ///
    /// Processes that close each other may form a ring. So the iteration ends where it comes back to this process or to
    /// a landmark. The landmark is moved to the current process whenever the number of steps has doubled.
    pub(crate) fn first_parents(self: &Arc<Self>) -> impl Iterator<Item = Arc<Self>> + use<C> {
        let (start, mut landmark, mut steps) = (self.clone(), self.clone(), 0_usize);
        let mut last = self.clone();
        iter::from_fn(move || {
            let parent = last.first_parent()?;
            if Arc::ptr_eq(&parent, &start) || Arc::ptr_eq(&parent, &landmark) {
                return None;
            }
            steps += 1;
            if steps.is_power_of_two() {
                landmark = parent.clone();
            }
            last = parent.clone();
            Some(parent)
        })
    }

    /// The ids and segments of at most `limit` first parents, the nearest first.
    #[cfg(not(loom))]
    pub(super) fn processes_above(self: &Arc<Self>, limit: usize) -> Vec<(ProcessId, Segment)> {
        let parents = self.first_parents().take(limit);
        parents.map(|parent| (parent.id(), parent.segment())).collect()
    }

    /// The description of the process in its events.
    #[cfg(not(loom))]
    pub(crate) fn source(self: &Arc<Self>) -> Source {
        let above = Above::of(self.processes_above(NEAREST));
        Source { id: self.id(), own: self.segment(), above }
    }

    /// Is this process below `top` along first parents that wait, so that `top` waits for it?
    pub(crate) fn is_waited_for_below(self: &Arc<Self>, top: &Arc<Self>) -> bool {
        let waiting_parent = |node: &Arc<Self>| node.inner.lock().parent.clone();
        let mut next = waiting_parent(self);
        // Edges that wait form no ring, so this ends.
        while let Some(parent) = next {
            if Arc::ptr_eq(&parent, top) {
                return true;
            }
            next = waiting_parent(&parent);
        }
        false
    }

    pub(crate) fn segment(&self) -> Segment {
        Segment { name: self.name().cloned(), site: self.site }
    }

    /// The first parent that also waits for it or, without one, the first that closes it.
    pub(super) fn first_parent(&self) -> Option<Arc<Self>> {
        self.inner.lock().first_parent().cloned()
    }
}

impl<C: Contents> Inner<C> {
    pub(super) fn first_parent(&self) -> Option<&Arc<Node<C>>> {
        self.parents().next()
    }
}
