//! How a thread sleeps until it is woken: a [`Waker`](std::task::Waker) with a thread behind it, so that
//! blocked threads stand in the same list as tasks.

use std::sync::Arc;
use std::task::Wake;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, wait_until};

pub(crate) struct Parker {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { woken: Mutex::new(false), condvar: Condvar::new() })
    }

    /// Blocks until woken; `false` if the deadline came first.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        let mut woken = self.woken.lock();
        while !*woken {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            woken = wait_until(&self.condvar, woken, deadline);
        }
        *woken = false;
        true
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.woken.lock() = true;
        self.condvar.notify_one();
    }
}
