//! Closing hooks: functions that run when a process begins to close.
//!
//! A closing hook is itself a process, whose teardown is the function. While the process that it is set on is Running,
//! the hook is in a list of that process, and is neither a child nor counted in `waiting`; so it does not keep
//! `close_after_children` from closing the process. In the locked section in which Running becomes Closing, the hooks
//! become children (S2), and the closing walk hands out their teardowns like those of any other child. *A hook runs at
//! most once*, because a teardown does (S3). *No hook is lost*, because the section that adds it also checks the phase.
//!
//! The process and a hook in its list point to each other. *No such ring is left behind* (S8), because a process that
//! nothing holds closes (S5), which empties the list; and a hook that is removed from the list drops its pointer to the
//! process.

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
    /// Adds a hook made from the seed, whose teardown is the hook's function. If this process is Closing, the hook
    /// becomes a child at once, and the caller must close it.
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
        self.increment_waiting();
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
            self.increment_waiting();
            let place = inner.children(EdgeKind::CHILD).insert(hook.clone());
            hook.place.store(place, Ordering::Relaxed);
            if self.phase.is_watched() {
                // No other thread locks the hook: the guard refers to it, but locks it only after it has taken it out
                // of the list.
                inner.watch_fresh(self, &hook, None);
            }
        }
    }
}
