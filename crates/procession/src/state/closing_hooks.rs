//! Closing hooks: functions that run when a process begins to close.
//!
//! A closing hook is a process of its own, whose teardown is the function. While its process is Running, the hook waits
//! in a list, and is neither a child nor counted in `waiting`: so a process that closes after its children closes in
//! spite of its hooks. In the locked section in which Running becomes Closing, the hooks become children (S2), and
//! the closing walk hands their teardowns out like those of any other child. *A hook runs at most once* (S3), and *none
//! is lost*, because it is added with a look at the phase in the same locked section.
//!
//! The process and a hook in its list point to each other. *No such ring is left* (S8), because a process that anything
//! still refers to eventually closes, which empties the list, and a hook that is removed lets go of its process.

use std::sync::Arc;

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::edges::Added;
use super::node::{Inner, Node};
use super::phase_word::Holder;
use super::seed::Seed;
use crate::value::sync::Ordering;
use crate::value::{Phase, Work};

/// The place of a closing hook in the list of its process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HookPlace(u32);

impl<C: Contents> Node<C> {
    /// Adds a hook made from the seed, whose teardown is its function. If the process is Closing, the hook becomes a
    /// child, which the caller must close.
    pub(crate) fn add_closing_hook(
        self: &Arc<Self>,
        seed: Seed<C>,
    ) -> (Arc<Self>, Added, Option<HookPlace>) {
        let hook = Arc::new(Self::with_parent(seed, Some(self.clone()), Holder::Parent));
        hook.work.mark(Work::Hook);
        let mut inner = self.inner.lock();
        if inner.teardown.has_started() {
            drop(inner);
            hook.inner.lock().parent = None;
            return (hook, Added::Refused, None);
        }
        if self.phase() == Phase::Running {
            let hooks = inner.extras().closing_hooks.get_or_insert_default();
            let place = hooks.insert(hook.clone());
            return (hook, Added::Open, Some(HookPlace(place)));
        }
        self.count_in();
        if self.phase.is_watched() {
            inner.watch_fresh(self, &hook, None);
        }
        let dead = inner.add_late_child(hook.clone(), EdgeKind::CHILD);
        drop(inner);
        drop(dead);
        (hook, Added::Late, None)
    }

    /// Removes a hook, unless it has become a child.
    pub(crate) fn remove_closing_hook(&self, HookPlace(place): HookPlace) {
        let mut inner = self.inner.lock();
        let hooks = inner.extras_mut().and_then(|extras| extras.closing_hooks.as_mut());
        let hook = hooks.and_then(|hooks| hooks.remove(place));
        drop(inner);
        if let Some(hook) = hook {
            let parent = hook.inner.lock().parent.take();
            drop((hook, parent));
        }
    }

    /// The hooks become children, in the locked section in which the process begins to close.
    pub(super) fn begin_closing_hooks(&self, inner: &mut Inner<C>) {
        let hooks = inner.extras_mut().and_then(|extras| extras.closing_hooks.take());
        let Some(hooks) = hooks else { return };
        for hook in *hooks {
            self.count_in();
            let place = inner.children(EdgeKind::CHILD).insert(hook.clone());
            hook.place.store(place, Ordering::Relaxed);
            if self.phase.is_watched() {
                // Only the guard knows the hook, and locks it only after it has taken it out of the list.
                inner.watch_fresh(self, &hook, None);
            }
        }
    }
}
