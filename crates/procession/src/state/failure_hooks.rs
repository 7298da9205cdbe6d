//! [`CallingHooks`]: the time during which a process waits for the hooks that are called for its failure.
//!
//! - H1. While hooks are called for a failure of a process, and while a subscriber is given the failure, snapshots show
//!   it, whatever else the process does. *Because* the layer above holds a [`CallingHooks`] for as long as it makes
//!   these calls, and its start is a list entry that no other work of the process overwrites: when a time limit ends,
//!   hooks are called while the body or the teardown may still run.
//! - H2. A process that does not fail pays nothing for it, *because* the list is in the extras, which a failure needs
//!   anyway.

use std::sync::Arc;

use super::contents::Contents;
use super::node::{Inner, Node};
use crate::value::model::model_has_failed;
use crate::value::stamp::Stamp;

/// As long as it exists, snapshots show that hooks are being called for a failure of the process.
#[must_use = "the calls are shown as long as this exists"]
pub(crate) struct CallingHooks<C: Contents> {
    node: Arc<Node<C>>,
    since: Stamp,
}

impl<C: Contents> CallingHooks<C> {
    pub(crate) fn begin(node: &Arc<Node<C>>) -> Self {
        let since = Stamp::now();
        node.inner.lock().extras().calling_hooks.push(since);
        Self { node: node.clone(), since }
    }
}

impl<C: Contents> Drop for CallingHooks<C> {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        let mut inner = self.node.inner.lock();
        let calling = &mut inner.extras().calling_hooks;
        // Equal entries are interchangeable.
        if let Some(place) = calling.iter().position(|since| *since == self.since) {
            calling.swap_remove(place);
        }
    }
}

impl<C: Contents> Inner<C> {
    /// Since when hooks have been called for a failure of the process, if they are being called.
    pub(super) fn calling_hooks_since(&self) -> Option<Stamp> {
        self.extras_ref()?.calling_hooks.iter().min().copied()
    }
}
