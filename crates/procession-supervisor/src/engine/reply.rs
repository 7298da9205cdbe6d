//! The answer to a command: [`Reply`] sends it once, and [`Answer`] waits for it. No answer comes if the [`Reply`] is
//! dropped.
//!
//! A failure in an answer is left to the caller: see [`Unhandled`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use procession::support::{Sleeper, model_has_failed, register, wake_sleeper};

use crate::sync::Mutex;
use crate::unhandled::Unhandled;

/// Sends the answer. If it is dropped without one, the [`Answer`] resolves to `None`.
pub(crate) struct Reply<T> {
    shared: Arc<Mutex<Shared<T>>>,
}

/// Resolves to the answer, or to `None` if none will come.
pub(crate) struct Answer<T> {
    shared: Arc<Mutex<Shared<T>>>,
}

struct Shared<T> {
    answer: Option<T>,
    /// The failure in the answer, if nothing else handles it.
    unhandled: Option<Arc<Unhandled>>,
    is_over: bool,
    sleeper: Option<Sleeper>,
}

/// Makes the two ends of one answer.
pub(crate) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let shared = Shared { answer: None, unhandled: None, is_over: false, sleeper: None };
    let shared = Arc::new(Mutex::new(shared));
    (Reply { shared: shared.clone() }, Answer { shared })
}

impl<T> Reply<T> {
    pub(crate) fn give(self, answer: T) {
        self.give_failure(answer, None);
    }

    /// Gives an answer with a failure that is left to the caller.
    pub(crate) fn give_failure(self, answer: T, unhandled: Option<Arc<Unhandled>>) {
        let mut shared = self.shared.lock();
        (shared.answer, shared.unhandled) = (Some(answer), unhandled);
    }

    /// Returns whether a caller still waits for the answer.
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        let mut shared = self.shared.lock();
        shared.is_over = true;
        let sleeper = shared.sleeper.take();
        drop(shared);
        wake_sleeper(sleeper);
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut answered, mut read) = (None, None);
        let replaced = register(&self.shared, context.waker(), |shared| {
            if shared.is_over {
                answered = Some(shared.answer.take());
                read = shared.unhandled.take();
            }
            answered.is_none().then_some(&mut shared.sleeper)
        });
        drop(replaced);
        if let Some(unhandled) = read {
            unhandled.mark_handled();
        }
        answered.map_or(Poll::Pending, Poll::Ready)
    }
}
