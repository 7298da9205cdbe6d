//! Everything below a process.

use std::collections::HashSet;
use std::sync::Arc;

use super::contents::Contents;
use super::cycle::CHUNK;
use super::node::Node;
use crate::value::Phase;

/// The process itself, and everything that it waits for or is blocked for, directly or through others.
pub(crate) fn everything_below<C: Contents>(from: &Arc<Node<C>>) -> Vec<Arc<Node<C>>> {
    let mut seen = HashSet::from([Arc::as_ptr(from)]);
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
        below.retain(|lower| lower.phase() != Phase::Closed && seen.insert(Arc::as_ptr(lower)));
        all.extend(below);
        next += 1;
    }
    all
}
