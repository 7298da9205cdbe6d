//! The hooks that hear of a failure: those of the failed process and of everything above it.
//!
//! As long as no process has a hook, a failure costs one relaxed load here. After that, each process remembers the
//! hooks above it once it has looked for them, so that in a chain of failing processes, each process is looked at once
//! (I16). The memory is valid as long as the *generation* stays the same. It changes when a hook is added anywhere, and
//! when an edge is added to a process that existed before, because only these can put a hook above a process.

use std::collections::HashSet;
use std::sync::Arc;

use super::node::{Contents, Node};
use crate::value::sync::{AtomicU32, Ordering};

/// The hooks above a process, and the generation in which they were found.
pub(super) struct KnownHooks<C: Contents> {
    generation: u32,
    above: Arc<[C::Hook]>,
}

/// 0 as long as no process has a hook. Relaxed, because a failure that races with the call that adds a hook may or may
/// not be reported to it.
#[cfg(not(loom))]
static GENERATION: AtomicU32 = AtomicU32::new(0);

#[cfg(loom)]
loom::lazy_static! {
    static ref GENERATION: AtomicU32 = AtomicU32::new(0);
}

/// Notes that a process has a new hook.
pub(crate) fn hooks_are_used() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Notes that an edge was added to a process that may have processes below it.
pub(super) fn edge_was_added() {
    if GENERATION.load(Ordering::Relaxed) != 0 {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
}

impl<C: Contents> Node<C> {
    pub(crate) fn add_hook(&self, hook: C::Hook) {
        self.inner.lock().extras().hooks.push(hook);
        hooks_are_used();
    }

    /// The hooks of the process and of everything above it, the nearest first.
    pub(crate) fn hooks(self: &Arc<Self>) -> Vec<C::Hook> {
        let generation = GENERATION.load(Ordering::Relaxed);
        if generation == 0 {
            return Vec::new();
        }
        // Go up to the first process that knows the hooks above it, or that has several parents or none.
        let mut chain = vec![self.clone()];
        let mut seen = HashSet::from([Arc::as_ptr(self)]);
        let mut above: Arc<[C::Hook]> = loop {
            let node = chain.last().expect("it begins with one");
            match node.look_for_hooks(generation) {
                Above::Known(above) => break above,
                // Around a ring of processes that close each other, nothing is remembered.
                Above::Parent(parent) if !seen.insert(Arc::as_ptr(&parent)) => {
                    return search(vec![self.clone()], HashSet::new());
                }
                Above::Parent(parent) => chain.push(parent),
                Above::Parents(parents) if parents.is_empty() => break Vec::new().into(),
                Above::Parents(_) => return search(vec![self.clone()], HashSet::new()),
            }
        };
        // Go down again, and remember.
        let mut own = Vec::new();
        while let Some(node) = chain.pop() {
            let mut inner = node.inner.lock();
            let extras = inner.extras();
            extras.known_hooks = Some(KnownHooks { generation, above: above.clone() });
            own = extras.hooks.clone();
            drop(inner);
            if !own.is_empty() && !chain.is_empty() {
                above = own.iter().chain(&*above).cloned().collect();
            }
        }
        own.extend(above.iter().cloned());
        own
    }

    fn look_for_hooks(&self, generation: u32) -> Above<C> {
        let inner = self.inner.lock();
        let known = inner.extras.as_ref().and_then(|extras| extras.known_hooks.as_ref());
        if let Some(known) = known.filter(|known| known.generation == generation) {
            return Above::Known(known.above.clone());
        }
        let mut parents: Vec<_> = inner.parents().cloned().collect();
        if parents.len() == 1 {
            return Above::Parent(parents.remove(0));
        }
        Above::Parents(parents)
    }
}

/// The next step of the way up.
enum Above<C: Contents> {
    Known(Arc<[C::Hook]>),
    Parent(Arc<Node<C>>),
    Parents(Vec<Arc<Node<C>>>),
}

/// The hooks of these processes and of everything above them, each once, without those of processes in `seen`.
fn search<C: Contents>(from: Vec<Arc<Node<C>>>, mut seen: HashSet<*const Node<C>>) -> Vec<C::Hook> {
    let mut hooks = Vec::new();
    let mut found = from;
    found.retain(|node| seen.insert(Arc::as_ptr(node)));
    let mut next = 0;
    while let Some(node) = found.get(next).cloned() {
        let inner = node.inner.lock();
        hooks.extend(inner.extras.iter().flat_map(|extras| &extras.hooks).cloned());
        found.extend(inner.parents().filter(|parent| seen.insert(Arc::as_ptr(parent))).cloned());
        drop(inner);
        next += 1;
    }
    hooks
}
