//! The drop of a [`Nested`] value.
//!
//! Nothing recurses over values inside each other (I11), whatever types are in between, such as users' error types and
//! closures. Argument: at most [`MAX_DEPTH`] drops nest on a thread. Values that are dropped inside those wait until
//! the outermost drop on the thread gets to them. Values that are not nested deeply are dropped at once, in the usual
//! order.
//!
//! *This is correct under races*, because it does not depend on reference counts: the thread that drops the last handle
//! to a value drops the values inside it.
//!
//! Each drop has a catch of its own (I14): if it panics, the panic hook prints that, and the other values are dropped
//! all the same. So a [`Nested`] may be dropped anywhere in the library where foreign code may run.

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
    /// Returns the value if it must be dropped at once. Then [`next_or_leave`](Self::next_or_leave) must follow, until
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::fmt;
    use std::panic::resume_unwind;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use crate::Process;
    use crate::value::{Error, FailedCalls, Label};

    const DEPTH: usize = 100_000;

    /// An error of a user, which may contain another one. It records its drop and, if it is told to, panics.
    #[derive(Debug)]
    struct Recorded {
        name: usize,
        dropped: Arc<Mutex<Vec<usize>>>,
        panics: bool,
        _inside: Option<Error>,
    }

    impl fmt::Display for Recorded {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.name.fmt(f)
        }
    }

    impl std::error::Error for Recorded {}

    impl Drop for Recorded {
        fn drop(&mut self) {
            self.dropped.lock().unwrap().push(self.name);
            if self.panics {
                resume_unwind(Box::new("not printed"));
            }
        }
    }

    fn label() -> Label {
        Process::background().label()
    }

    /// Errors inside each other. The outermost one has the name 0.
    fn chain(depth: usize, panics: bool) -> (Error, Arc<Mutex<Vec<usize>>>) {
        let dropped = Arc::new(Mutex::new(Vec::new()));
        let mut inside = None;
        for name in (0..depth).rev() {
            let error = Recorded { name, dropped: dropped.clone(), panics, _inside: inside };
            inside = Some(Error::failed(label(), Box::new(error)));
        }
        (inside.unwrap(), dropped)
    }

    fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
        thread::Builder::new().stack_size(128 << 10).spawn(run).unwrap().join().unwrap();
    }

    #[test]
    fn errors_inside_each_other_are_dropped_from_the_outside() {
        for depth in [1, 5, 50, DEPTH] {
            on_a_small_stack(move || {
                let (error, dropped) = chain(depth, false);
                let clone = error.clone();
                drop(error);
                assert!(dropped.lock().unwrap().is_empty());
                drop(clone);
                assert!(dropped.lock().unwrap().iter().copied().eq(0..depth));
            });
        }
    }

    /// Each of the drops panics, and the caller of the outermost one does not notice.
    #[test]
    fn drops_that_panic() {
        let (error, dropped) = chain(50, true);
        drop(error);
        assert!(dropped.lock().unwrap().iter().copied().eq(0..50));
    }

    #[test]
    fn errors_beside_each_other_are_dropped_in_order() {
        let (first, dropped) = chain(3, false);
        let beside = |name| {
            let error = Recorded { name, dropped: dropped.clone(), panics: false, _inside: None };
            Error::failed(label(), Box::new(error))
        };
        drop(Error::all([first, beside(3), beside(4)]));
        assert_eq!(*dropped.lock().unwrap(), [0, 1, 2, 3, 4]);
    }

    /// Each of these errors has the one inside it twice, so formatting all of them would never end.
    #[test]
    fn failed_calls_inside_each_other() {
        on_a_small_stack(|| {
            let mut error = Error::failed(label(), "broken".into());
            for _ in 0..DEPTH {
                let calls = FailedCalls::new(label(), 2, 2, error.clone(), error);
                error = Error::FailedCalls(calls);
            }
            assert!(format!("{error} {error:?} {error:#?}").len() < 1_000_000);
            drop(error);
        });
    }
}
