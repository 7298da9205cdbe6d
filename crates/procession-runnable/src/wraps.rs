//! [`Wraps`]: the names and spans around a runnable.
//!
//! They are a list that a start applies in a loop, and not closures around closures. So a runnable that is wrapped any
//! number of times can start and be dropped on a stack of any size.

use std::sync::Arc;

use crate::start::Start;

/// A name or a span around a runnable, and the names and spans inside it.
pub(crate) struct Wraps {
    wrap: Wrap,
    inner: Option<Arc<Self>>,
}

/// Something that only changes how a runnable is started.
pub(crate) enum Wrap {
    Name(Arc<str>),
    /// A `tracing` span of this kind.
    #[cfg(feature = "tracing")]
    Region(Arc<str>),
}

impl Wraps {
    pub(crate) fn new(wrap: Wrap, inner: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { wrap, inner })
    }

    /// Applies them, the outermost first.
    pub(crate) fn apply<'a>(&self, mut start: Start<'a>) -> Start<'a> {
        let (mut name, mut next) = (Name(start.take_name(), String::new()), Some(self));
        while let Some(Self { wrap, inner }) = next {
            match wrap {
                Wrap::Name(inner) => name.add(inner),
                #[cfg(feature = "tracing")]
                Wrap::Region(kind) => start = start.in_region(kind),
            }
            next = inner.as_deref();
        }
        start.with_name(name.joined())
    }
}

/// A name, and more names inside it. A single name is not copied.
struct Name(Option<Arc<str>>, String);

impl Name {
    fn add(&mut self, inner: &Arc<str>) {
        match &self.0 {
            None => self.0 = Some(inner.clone()),
            Some(outer) => {
                if self.1.is_empty() {
                    self.1.push_str(outer);
                }
                self.1.push('/');
                self.1.push_str(inner);
            }
        }
    }

    fn joined(self) -> Option<Arc<str>> {
        if self.1.is_empty() { self.0 } else { Some(self.1.into()) }
    }
}

impl Drop for Wraps {
    /// A loop instead of a recursion, because the list may be long. `into_inner` returns an element only to the thread
    /// that drops its last handle, and that thread continues with the element inside it.
    fn drop(&mut self) {
        let mut next = self.inner.take();
        while let Some(mut wraps) = next.and_then(Arc::into_inner) {
            next = wraps.inner.take();
        }
    }
}
