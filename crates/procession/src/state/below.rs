//! Everything below a process.

use std::collections::HashSet;
use std::sync::Arc;

use super::contents::Contents;
use super::cycle::CHUNK;
use super::node::Node;
use crate::value::Phase;

/// The process itself, and every open process that it waits for, directly or through others. A process in whose wait a
/// thread is blocked counts as waited for.
pub(crate) fn everything_below<C: Contents>(from: &Arc<Node<C>>) -> Vec<Arc<Node<C>>> {
    everything_below_all(vec![from.clone()])
}

/// The children that the process waits for, and everything below them.
pub(crate) fn everything_below_children<C: Contents>(from: &Arc<Node<C>>) -> Vec<Arc<Node<C>>> {
    let inner = from.inner.lock();
    let children = inner.waited_children().into_iter().flat_map(|children| children.iter());
    let open = children.filter(|child| child.phase() != Phase::Closed).cloned().collect();
    drop(inner);
    everything_below_all(open)
}

fn everything_below_all<C: Contents>(mut all: Vec<Arc<Node<C>>>) -> Vec<Arc<Node<C>>> {
    let mut visited: HashSet<_> = all.iter().map(Arc::as_ptr).collect();
    let mut next = 0;
    while let Some(node) = all.get(next).cloned() {
        let mut below = Vec::new();
        let inner = node.inner.lock();
        let mut skip = 0;
        while inner.chunk_below(skip, |node| below.push(node)) {
            skip += CHUNK;
        }
        drop(inner);
        below.retain(|lower| lower.phase() != Phase::Closed && visited.insert(Arc::as_ptr(lower)));
        all.extend(below);
        next += 1;
    }
    all
}
