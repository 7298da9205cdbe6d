//! [`Seed`] and [`Inherited`]: everything that a new process starts with.

use std::sync::Arc;

use super::contents::Contents;
use super::extras::Extras;
use crate::value::Site;

/// Everything that a new process starts with.
pub(crate) struct Seed<C: Contents> {
    /// Where it is made.
    pub(crate) site: Site,
    pub(crate) inherited: Option<Arc<Inherited<C>>>,
    pub(crate) teardown: Option<C::Teardown>,
    /// It has a body, or its maker has yet to add edges: it waits for that to end.
    pub(crate) body: bool,
    /// It holds a slot of the parent that it is made under.
    pub(crate) limited: bool,
    /// It never closes.
    pub(crate) background: bool,
    pub(crate) extras: Option<Box<Extras<C>>>,
}

impl<C: Contents> Seed<C> {
    #[inline]
    pub(crate) fn at(site: Site) -> Self {
        Self {
            site,
            inherited: None,
            teardown: None,
            body: false,
            limited: false,
            background: false,
            extras: None,
        }
    }

    pub(crate) fn extras(&mut self) -> &mut Extras<C> {
        self.extras.get_or_insert_default()
    }
}

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
