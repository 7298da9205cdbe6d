//! How a thread sleeps until it is woken: a [`Waker`] with a thread behind it, so that blocked threads stand
//! in the same list as tasks.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use crate::sync::{Thread, current_thread, park_thread, thread_local};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = this_thread();
}

fn this_thread() -> Waker {
    Waker::from(Arc::new(Unpark(current_thread())))
}

/// A waker of this thread.
pub(crate) fn waker() -> Waker {
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| this_thread())
}

/// Blocks this thread until it is woken, and sometimes for less; `false` if the deadline came first.
pub(crate) fn park(deadline: Option<Instant>) -> bool {
    match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(left) if left.is_zero() => return false,
        left => park_thread(left),
    }
    true
}
