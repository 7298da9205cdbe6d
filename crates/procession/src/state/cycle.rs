//! The search for waiting cycles, upward: from a process to who waits for it.
//!
//! A process has few processes above it and may have very many below, so upward is the short way.

use std::collections::HashSet;
use std::sync::Arc;

use super::Node;
use crate::phase::Phase;
use crate::sync::{Mutex, MutexGuard};

/// The lock under which edges that could close a cycle are looked at and linked (S7).
pub(super) type GraphLock = MutexGuard<'static, ()>;

#[cfg(not(all(loom, feature = "loom")))]
pub(super) fn lock_graph() -> GraphLock {
    static GRAPH: Mutex<()> = Mutex::new(());
    GRAPH.lock()
}

#[cfg(all(loom, feature = "loom"))]
pub(super) fn lock_graph() -> GraphLock {
    loom::lazy_static! {
        static ref GRAPH: Mutex<()> = Mutex::new(());
    }
    GRAPH.lock()
}

/// The processes from `from` to `to`, each waiting for the next, if `from` waits for `to`. Nothing that the
/// answer depends on can be linked meanwhile.
pub(super) fn path_under_lock(
    _graph: &GraphLock,
    from: &Arc<Node>,
    to: &Arc<Node>,
) -> Option<Vec<Arc<Node>>> {
    path(from, to)
}

/// Does `from` wait for `to`, directly or through others? A process waits for itself here.
pub(crate) fn waits_for(from: &Arc<Node>, to: &Arc<Node>) -> bool {
    path(from, to).is_some()
}

/// All that wait for `to`, directly or through others, with `to` itself.
pub(crate) fn waiting_for(to: &Arc<Node>) -> HashSet<*const Node> {
    let mut all = vec![to.clone()];
    let mut seen = HashSet::from([Arc::as_ptr(to)]);
    while let Some(node) = all.pop() {
        all.extend(
            node.waited_for_by().into_iter().filter(|above| seen.insert(Arc::as_ptr(above))),
        );
    }
    seen
}

fn path(from: &Arc<Node>, to: &Arc<Node>) -> Option<Vec<Arc<Node>>> {
    // Each with the index of the one that it waits for.
    let mut found = vec![(to.clone(), 0)];
    let mut seen = HashSet::from([Arc::as_ptr(to)]);
    let mut next = 0;
    while let Some((node, _)) = found.get(next) {
        if Arc::ptr_eq(node, from) {
            return Some(trace(&found, next));
        }
        for above in node.waited_for_by() {
            if above.phase() != Phase::Closed && seen.insert(Arc::as_ptr(&above)) {
                found.push((above, next));
            }
        }
        next += 1;
    }
    None
}

fn trace(found: &[(Arc<Node>, usize)], from: usize) -> Vec<Arc<Node>> {
    let mut path = vec![found[from].0.clone()];
    let mut at = from;
    while at != 0 {
        at = found[at].1;
        path.push(found[at].0.clone());
    }
    path
}

impl Node {
    /// The processes that wait for this one.
    fn waited_for_by(&self) -> Vec<Arc<Self>> {
        let inner = self.inner.lock();
        let further = inner.rare.iter().flat_map(|rare| &rare.ups).filter(|up| up.kind.waits());
        inner.parent.iter().chain(further.map(|up| &up.target)).cloned().collect()
    }
}
