//! The hooks that hear of a failure: those of the failed process and of everything above it.
//!
//! As long as no process has a hook, a failure costs one relaxed load here. After that, each process remembers the
//! hooks above it once it has looked for them, so that in a chain of failing processes, each process is looked at once
//! (I16). The memory is valid as long as the *generation* stays the same. It changes when a hook is added anywhere, and
//! when a parent is added to a process that has children, because only these can put a hook above other processes.

use std::collections::HashSet;
use std::sync::Arc;

use super::contents::Contents;
use super::known_hooks::{Above, KnownHooks, Level};
use super::node::{Inner, Node};
use crate::value::Phase;
use crate::value::sync::{AtomicUsize, Ordering};

/// 0 as long as no process has a hook. Relaxed, because a failure that races with the call that adds a hook may or may
/// not be reported to it.
#[cfg(not(loom))]
static GENERATION: AtomicUsize = AtomicUsize::new(0);

#[cfg(loom)]
loom::lazy_static! {
    static ref GENERATION: AtomicUsize = AtomicUsize::new(0);
}

/// Notes that a process has a new hook.
pub(crate) fn hooks_are_used() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

impl<C: Contents> Node<C> {
    /// Adds a hook, which stays until the process is Closed.
    pub(crate) fn add_hook(&self, hook: C::Hook) {
        let mut inner = self.inner.lock();
        if self.phase() != Phase::Closed {
            inner.extras().hooks.push(hook);
            drop(inner);
            hooks_are_used();
        }
    }

    /// The hooks of the process and of everything above it, the nearest first.
    pub(crate) fn hooks(self: &Arc<Self>) -> Vec<C::Hook> {
        let generation = GENERATION.load(Ordering::Relaxed);
        if generation == 0 {
            return Vec::new();
        }
        // Go up to the first process that knows the hooks above it, or that has several parents or none.
        let mut chain = Vec::new();
        let mut seen = HashSet::from([Arc::as_ptr(self)]);
        let mut node = self.clone();
        let mut above = loop {
            match node.look_for_hooks(generation) {
                Look::Known(above) => break above,
                // Around a ring of processes that close each other, nothing is remembered.
                Look::Parent(parent) if !seen.insert(Arc::as_ptr(&parent)) => {
                    return search(vec![self.clone()], HashSet::new());
                }
                Look::Parent(parent) => chain.push(std::mem::replace(&mut node, parent)),
                Look::NoParent => break None,
                Look::Parents => return search(vec![self.clone()], HashSet::new()),
            }
        };
        // Go down again, and remember.
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

    /// Remembers the hooks above it, unless it was given another parent or closed meanwhile.
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
    /// A parent was added: the hooks that the process and those below it remember are out of date. Without children,
    /// only those that the process itself remembers are.
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

/// The next step of the way up.
enum Look<C: Contents> {
    Known(Above<C>),
    NoParent,
    Parent(Arc<Node<C>>),
    /// It has several, whose hooks must be searched for.
    Parents,
}

/// The hooks of these processes and of everything above them, each once, without those of processes in `seen`.
fn search<C: Contents>(from: Vec<Arc<Node<C>>>, mut seen: HashSet<*const Node<C>>) -> Vec<C::Hook> {
    let mut hooks = Vec::new();
    let mut found = from;
    found.retain(|node| seen.insert(Arc::as_ptr(node)));
    let mut next = 0;
    while let Some(node) = found.get(next).cloned() {
        let inner = node.inner.lock();
        hooks.extend(inner.extras_ref().into_iter().flat_map(|extras| &extras.hooks).cloned());
        found.extend(inner.parents().filter(|parent| seen.insert(Arc::as_ptr(parent))).cloned());
        drop(inner);
        next += 1;
    }
    hooks
}
