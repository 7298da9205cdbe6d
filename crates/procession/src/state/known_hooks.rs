//! The cache in which a node keeps the hooks above it.

use std::sync::Arc;

use super::contents::Contents;

/// The hooks above a process, and the generation in which they were found.
pub(super) struct KnownHooks<C: Contents> {
    pub(super) generation: usize,
    pub(super) above: Above<C>,
}

/// The hooks above a process: those of the nearest process that has any, and the hooks above that one. The levels are
/// shared, so the memory stays linear for a chain in which each process has a hook.
pub(super) type Above<C> = Option<Arc<Level<C>>>;

pub(super) struct Level<C: Contents> {
    pub(super) hooks: Vec<C::Hook>,
    pub(super) above: Above<C>,
}

/// A long chain is freed in a loop (I11).
impl<C: Contents> Drop for Level<C> {
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(mut level) = next.and_then(Arc::into_inner) {
            next = level.above.take();
        }
    }
}
