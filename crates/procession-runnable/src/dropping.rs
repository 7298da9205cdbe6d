//! Drops values that may be deeply nested, in a loop instead of a recursion.
//!
//! The outermost drop of such a value on a thread makes a list. Values that are dropped on the same thread meanwhile,
//! because the first value held them, are added to the list, and the outermost drop then drops them one after the
//! other. So the stack never holds more than one drop of a foreign value. Each drop has a catch of its own: if a
//! captured value panics, the panic hook prints that, and the other values are dropped all the same. So a runnable may
//! be dropped anywhere in the library.
//!
//! *This is correct under races*, because it does not depend on reference counts: the thread that drops the last handle
//! to a value drops the values inside it through its own list.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

#[cfg(feature = "tracing")]
use procession::Error;
use procession::support::catch;

use crate::start::StartRun;

/// A value that may hold others of its kind. It is kept only until it is dropped.
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
    /// It has no destructor, so it can still be used while the thread's other locals are destroyed. Nothing leaks,
    /// because the call that makes the list also removes it.
    static TO_DROP: RefCell<ManuallyDrop<Option<Vec<Nested>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Drops the value now or, inside another call on this thread, when that call gets to it.
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
