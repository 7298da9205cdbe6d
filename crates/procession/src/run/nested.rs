//! The drop of a [`Nested`] value.
//!
//! Nothing recurses over values inside each other (I11), whatever types are in between: users' error types, or closures.
//! Argument: at most [`MAX_DEPTH`] drops of a value nest on a thread. Values that are dropped inside those wait until
//! the outermost drop on the thread gets to them. So values that are not nested deeply are all dropped before the drop
//! returns, in the usual order.
//!
//! *This is correct under races*, because it does not depend on reference counts: the thread that drops the last handle
//! to a value drops the values inside it.
//!
//! Each drop has a catch of its own (I14): if it panics, the panic hook prints that, and the other values are dropped all
//! the same. So a [`Nested`] may be dropped anywhere in the library where foreign code may run.

use std::any::Any;
use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};
// Also in a model, because its counts hold for any order of the model's threads, which are all on one OS thread.
use std::thread_local;

use super::catch::contain;
use crate::value::model::model_has_failed;
use crate::value::nested::{MAX_DEPTH, Nested};

thread_local! {
    /// The drops on this thread. It has no destructor, so it can still be used while the thread's other locals are
    /// destroyed. Nothing leaks, because the outermost drop empties it.
    static DROPS: RefCell<ManuallyDrop<Drops>> = const {
        RefCell::new(ManuallyDrop::new(Drops { depth: 0, waiting: Vec::new() }))
    };
}

struct Drops {
    /// The number of drops that are running inside each other.
    depth: usize,
    /// The values that the outermost drop has yet to drop.
    waiting: Vec<Box<dyn Any>>,
}

impl<T: 'static> Drop for Nested<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        if model_has_failed() {
            return drop(value);
        }
        let now = DROPS.with_borrow_mut(|drops| drops.enter(value));
        if let Some(value) = now {
            contain(|| drop(value));
            while let Some(value) = DROPS.with_borrow_mut(|drops| drops.next_or_leave()) {
                contain(|| drop(value));
            }
        }
    }
}

impl Drops {
    /// Returns the value if it is to be dropped at once. Then [`next_or_leave`](Self::next_or_leave) must follow, until
    /// it returns `None`.
    fn enter<T: 'static>(&mut self, value: T) -> Option<T> {
        if self.depth == MAX_DEPTH {
            self.waiting.push(Box::new(value));
            return None;
        }
        self.depth += 1;
        Some(value)
    }

    /// Returns the next value that waits, if this is the outermost drop. Otherwise, or if there is none, the drop is
    /// over.
    fn next_or_leave(&mut self) -> Option<Box<dyn Any>> {
        if self.depth == 1 {
            match self.waiting.pop() {
                Some(next) => return Some(next),
                None => drop(mem::take(&mut self.waiting)),
            }
        }
        self.depth -= 1;
        None
    }
}
