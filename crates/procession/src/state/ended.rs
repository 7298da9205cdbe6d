//! [`Ended`]: the remaining work at the end of a process; and prefetching nodes.

use std::hint;
use std::sync::Arc;

use super::contents::Contents;
use super::node::{Children, More, Node};
use crate::value::sync::Ordering;

/// The remaining work at the end of a process, for the caller to do after it has released the lock.
pub(super) struct Ended<C: Contents> {
    /// The number to subtract from `waiting` of the parent over whose children the walk goes.
    pub(super) counted: u32,
    /// The children of the process, which are dropped with the lock released.
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

/// The number of nodes that are prefetched at once.
pub(super) const AHEAD: usize = 16;

/// Prefetches nodes: reads from each of them, so that the processor loads them from memory in parallel. Locking or
/// dropping a node is an atomic read-modify-write, which waits for earlier accesses, so without this, each node would
/// cost a separate cache miss.
pub(super) fn fetch<C: Contents>(nodes: &[Option<Arc<Node<C>>>]) {
    nodes.iter().flatten().for_each(fetch_one);
}

#[inline]
pub(super) fn fetch_one<C: Contents>(node: &Arc<Node<C>>) {
    hint::black_box((Arc::strong_count(node), node.handles.load(Ordering::Relaxed)));
}
