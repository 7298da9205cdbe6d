//! The drop of values that may be nested deep: a loop instead of a recursion.
//!
//! A thread that drops such a value, and is not dropping one already, keeps a list while it does. Values that are
//! dropped meanwhile on the same thread, because the first one held them, are put on the list, and the thread drops them
//! one after the other. So the stack never holds more than one drop of a foreign value. Each drop is in a catch of its
//! own: a panic of a captured value is only printed, by the panic hook, and the other values are dropped all the same.
//! So a runnable may be dropped anywhere in the library.
//!
//! *This is right under races*, because it does not depend on reference counts: whichever thread drops the last handle
//! to a value, it drops what the value holds through its own list.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

#[cfg(feature = "tracing")]
use procession::Error;
use procession::support::catch;

use crate::start::StartRun;

/// A value that may hold others of its kind. It is only dropped.
#[expect(dead_code, reason = "the values are only dropped")]
pub(crate) enum Nested {
    Runnable(Arc<StartRun>),
    /// The error of a task, which may hold the error of another one.
    #[cfg(feature = "tracing")]
    Error(Error),
}

thread_local! {
    /// The values that this thread has yet to drop; `None` if it is not dropping any.
    ///
    /// It has no destructor, so it can still be used while the thread's other locals are destroyed. It holds nothing
    /// then, because the list is taken away by the call that made it.
    static TO_DROP: RefCell<ManuallyDrop<Option<Vec<Nested>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Drops the value, now or when the drop that is under way on this thread gets to it.
pub(crate) fn drop_nested(value: Nested) {
    let first = TO_DROP.with_borrow_mut(|to_drop| match &mut **to_drop {
        Some(to_drop) => {
            to_drop.push(value);
            None
        }
        none => {
            *none = Some(Vec::new());
            Some(value)
        }
    });
    let mut next = first;
    while let Some(value) = next {
        let _dropped = catch(|| drop(value));
        next = TO_DROP.with_borrow_mut(|to_drop| {
            let next = to_drop.as_mut().and_then(Vec::pop);
            if next.is_none() {
                **to_drop = None;
            }
            next
        });
    }
}
