//! [`Ended`]: the rest of the end of a process, and how nodes are read ahead.

use std::hint;
use std::sync::Arc;

use super::contents::Contents;
use super::node::{Children, More, Node};
use crate::value::sync::Ordering;

/// The rest of the end of a process, for the caller to handle after it has released the lock.
pub(super) struct Ended<C: Contents> {
    /// By how much the count of the parent whose children are being walked must be reduced.
    pub(super) counted: u32,
    /// Its own children, which are dropped with the lock released.
    pub(super) more: Option<Box<More<C>>>,
}

impl<C: Contents> Drop for Ended<C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(more) = &mut self.more {
            forget_children(&mut more.children);
        }
    }
}

#[cold]
fn forget_children<C: Contents>(children: &mut Children<C>) {
    for chunk in children.chunks_mut(AHEAD) {
        fetch(chunk);
        chunk.iter_mut().for_each(|place| *place = None);
    }
}

/// The number of nodes that are fetched at once.
pub(super) const AHEAD: usize = 16;

/// Reads from each node, so that the processor loads them from memory in parallel. Locking or dropping a node is an
/// atomic read-modify-write, which waits for earlier accesses; without this, each node would cost a cache miss of its
/// own.
pub(super) fn fetch<C: Contents>(nodes: &[Option<Arc<Node<C>>>]) {
    nodes.iter().flatten().for_each(fetch_one);
}

#[inline]
pub(super) fn fetch_one<C: Contents>(node: &Arc<Node<C>>) {
    hint::black_box((Arc::strong_count(node), node.handles.load(Ordering::Relaxed)));
}
