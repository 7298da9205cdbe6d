//! [`Inherited`]: the name of a process, and what it passes on to its children.

use std::sync::Arc;

use super::contents::Contents;

/// The name of a process, and the spawner that it shares with the processes that inherit it.
pub(crate) struct Inherited<C: Contents> {
    /// The name, which no other process inherits.
    pub(crate) name: Option<Arc<str>>,
    /// Where bodies and teardowns run; `None` is the default.
    pub(crate) spawner: Option<C::Spawner>,
    /// The same without the name, for the children; `None` if there is nothing else.
    pub(crate) unnamed: Option<Arc<Inherited<C>>>,
}

impl<C: Contents> Inherited<C> {
    /// A name, together with a spawner that is inherited without a name.
    pub(crate) fn named(name: Arc<str>, unnamed: Option<Arc<Self>>) -> Arc<Self> {
        let spawner = unnamed.as_ref().and_then(|inherited| inherited.spawner.clone());
        Arc::new(Self { name: Some(name), spawner, unnamed })
    }

    pub(crate) fn unnamed(spawner: C::Spawner) -> Arc<Self> {
        Arc::new(Self { name: None, spawner: Some(spawner), unnamed: None })
    }
}
