//! How a thread sleeps until it is woken.
//!
//! Each thread has a parker of its own for the library's waits, because the token of `std::thread::park` is shared with
//! all other code on the thread. Its waker is registered as one of the library's own, so it is woken before users'
//! wakers (I9). This includes every future of the library that [`block_on`] polls.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking::Parker;

use super::later::flush;
use super::pool;
use crate::value::sleeper::Blocking;

/// The parker of this thread, for one blocking wait.
pub(crate) struct ThisThread {
    /// `None` only once it has been dropped.
    parking: Option<(Parker, Waker)>,
    _blocking: Blocking,
    /// It has waited once with a deadline, and let the other threads run.
    #[cfg(loom)]
    has_yielded: Cell<bool>,
}

#[cfg(not(loom))]
thread_local! {
    /// The parker for the next wait of this thread. A wait inside another one finds none, and makes a new one, so it
    /// does not consume the token of the outer wait.
    static PARKER: Cell<Option<(Parker, Waker)>> = const { Cell::new(None) };
}

impl ThisThread {
    pub(crate) fn new() -> Self {
        #[cfg(not(loom))]
        let kept = PARKER.try_with(Cell::take).ok().flatten();
        #[cfg(loom)]
        let kept = None::<Cell<(Parker, Waker)>>.map(Cell::into_inner);
        let parking = kept.unwrap_or_else(|| {
            let parker = Parker::new();
            let waker = Waker::from(parker.unparker());
            (parker, waker)
        });
        let _blocking = Blocking::with(&parking.1);
        Self {
            parking: Some(parking),
            _blocking,
            #[cfg(loom)]
            has_yielded: Cell::new(false),
        }
    }

    fn parking(&self) -> &(Parker, Waker) {
        self.parking.as_ref().expect("it is taken when this is dropped")
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.parking().1
    }

    /// Blocks this thread until it is woken; `false` if the deadline came first.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        pool::while_blocked(|| match deadline {
            Some(deadline) => self.park_deadline(deadline),
            None => {
                self.parking().0.park();
                true
            }
        })
    }

    #[cfg(not(loom))]
    fn park_deadline(&self, deadline: Instant) -> bool {
        self.parking().0.park_deadline(deadline)
    }

    /// A model has no clock. At the first call, the thread only lets the others run; at the second, the deadline has
    /// come. Loom varies how far the others get, so the model explores waits that end in time and waits that do not.
    #[cfg(loom)]
    fn park_deadline(&self, _deadline: Instant) -> bool {
        if self.has_yielded.replace(true) {
            return false;
        }
        loom::thread::yield_now();
        true
    }
}

#[cfg(not(loom))]
impl Drop for ThisThread {
    fn drop(&mut self) {
        // If a token is left over, the next wait wakes once spuriously.
        let parking = self.parking.take();
        let _ = PARKER.try_with(|kept| kept.set(parking));
    }
}

/// Polls a future on this thread until it is ready.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let thread = ThisThread::new();
    let mut context = Context::from_waker(thread.waker());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        flush();
        thread.park(None);
    }
}
