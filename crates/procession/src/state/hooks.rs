//! The hooks that are called for a failure: those of the failed process and of everything above it.
//!
//! As long as no process has a hook, a failure costs one relaxed load here. After that, each process caches the hooks
//! above it when they are first searched for, so that in a chain of failing processes, each process is visited once
//! (I16). The cache is valid as long as the *generation* stays the same. That changes when a hook is added anywhere,
//! and when a parent is added to a process that has children, because only these changes can put a hook above other
//! processes.

use std::collections::HashSet;
use std::sync::Arc;

use super::contents::Contents;
use super::known_hooks::{Above, KnownHooks, Level};
use super::node::{Inner, Node};
use crate::value::Phase;
use crate::value::sync::{AtomicUsize, Ordering};

/// 0 as long as no process has a hook. Relaxed, because a hook that is added at the same time as a process fails may or
/// may not be called for that failure.
#[cfg(not(loom))]
static GENERATION: AtomicUsize = AtomicUsize::new(0);

#[cfg(loom)]
loom::lazy_static! {
    static ref GENERATION: AtomicUsize = AtomicUsize::new(0);
}

/// Invalidates the caches. Call it after a hook was added to a process, or before a process that has a hook is made.
pub(crate) fn invalidate_hook_caches() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

impl<C: Contents> Node<C> {
    /// Adds a hook, which stays until the process is Closed.
    pub(crate) fn add_hook(&self, hook: C::Hook) {
        let mut inner = self.inner.lock();
        if self.phase() != Phase::Closed {
            inner.extras().hooks.push(hook);
            drop(inner);
            invalidate_hook_caches();
        }
    }

    /// The hooks of the process and of everything above it, the nearest first.
    pub(crate) fn hooks(self: &Arc<Self>) -> Vec<C::Hook> {
        let generation = GENERATION.load(Ordering::Relaxed);
        if generation == 0 {
            return Vec::new();
        }
        // Go up to the first process that has cached the hooks above it, or that has several parents or none.
        let mut chain = Vec::new();
        let mut visited = HashSet::from([Arc::as_ptr(self)]);
        let mut node = self.clone();
        let mut above = loop {
            match node.look_for_hooks(generation) {
                Look::Known(above) => break above,
                // Around a ring of processes that close each other, nothing is cached.
                Look::Parent(parent) if !visited.insert(Arc::as_ptr(&parent)) => {
                    return search(vec![self.clone()], HashSet::new());
                }
                Look::Parent(parent) => chain.push(std::mem::replace(&mut node, parent)),
                Look::NoParent => break None,
                Look::Parents => return search(vec![self.clone()], HashSet::new()),
            }
        };
        // Go down again, and cache the hooks on the way.
        loop {
            let hooks = node.inner.lock().extras_ref().map(|extras| extras.hooks.clone());
            if let Some(hooks) = hooks.filter(|hooks| !hooks.is_empty()) {
                above = Some(Arc::new(Level { hooks, above }));
            }
            let Some(lower) = chain.pop() else { break };
            lower.remember_hooks(&node, KnownHooks { generation, above: above.clone() });
            node = lower;
        }
        let levels = std::iter::successors(above.as_deref(), |level| level.above.as_deref());
        levels.flat_map(|level| &level.hooks).cloned().collect()
    }

    /// Caches the hooks above the process, unless it was given another parent or closed in the meantime.
    fn remember_hooks(&self, parent: &Arc<Self>, known: KnownHooks<C>) {
        let mut inner = self.inner.lock();
        let is_only_parent = inner.parents().all(|up| Arc::ptr_eq(up, parent));
        if is_only_parent && self.phase() != Phase::Closed {
            inner.extras().known_hooks = Some(known);
        }
    }

    fn look_for_hooks(&self, generation: usize) -> Look<C> {
        let inner = self.inner.lock();
        let known = inner.extras_ref().and_then(|extras| extras.known_hooks.as_ref());
        if let Some(known) = known.filter(|known| known.generation == generation) {
            return Look::Known(known.above.clone());
        }
        let mut parents = inner.parents();
        match (parents.next(), parents.next()) {
            (None, _) => Look::NoParent,
            (Some(parent), None) => Look::Parent(parent.clone()),
            (Some(_), Some(_)) => Look::Parents,
        }
    }
}

impl<C: Contents> Inner<C> {
    /// A parent is being added, so the caches of the process and of everything below it are out of date. Without
    /// children, only the cache of the process itself is.
    pub(super) fn forget_hooks_above(&mut self) {
        if !self.may_have_children() {
            if let Some(extras) = self.extras_mut() {
                extras.known_hooks = None;
            }
        } else if GENERATION.load(Ordering::Relaxed) != 0 {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The next step on the way up.
enum Look<C: Contents> {
    Known(Above<C>),
    NoParent,
    Parent(Arc<Node<C>>),
    /// There are several parents, so the hooks must be searched for without the cache.
    Parents,
}

/// The hooks of these processes and of everything above them, each once, except those of processes in `visited`.
fn search<C: Contents>(
    from: Vec<Arc<Node<C>>>,
    mut visited: HashSet<*const Node<C>>,
) -> Vec<C::Hook> {
    let mut hooks = Vec::new();
    let mut found = from;
    found.retain(|node| visited.insert(Arc::as_ptr(node)));
    let mut next = 0;
    while let Some(node) = found.get(next).cloned() {
        let inner = node.inner.lock();
        hooks.extend(inner.extras_ref().into_iter().flat_map(|extras| &extras.hooks).cloned());
        found.extend(inner.parents().filter(|parent| visited.insert(Arc::as_ptr(parent))).cloned());
        drop(inner);
        next += 1;
    }
    hooks
}
