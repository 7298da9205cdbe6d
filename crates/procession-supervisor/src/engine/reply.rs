//! The answer to a command: [`Reply`] sends it once, and [`Answer`] waits for it. No answer comes if the [`Reply`] is
//! dropped.
//!
//! A failure in an answer is not lost (I17): it is left to the callers that it was given to, and reported when the last
//! of them has dropped it unread. Argument: [`Unread`] is dropped with the last answer that has it, and only a caller
//! that takes its answer takes the failure out of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use procession::support::{
    Sleeper, model_has_failed, register, report_failure_elsewhere, wake_sleeper,
};
use procession::{Error, Process};

use crate::sync::Mutex;

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
    unread: Option<Arc<Unread>>,
    is_over: bool,
    sleeper: Option<Sleeper>,
}

/// A failure that is left to callers. If none of them has read it, it is reported when it is dropped.
pub(crate) struct Unread {
    run: Process,
    /// `None` once a caller has read it.
    failure: Mutex<Option<Error>>,
}

impl Unread {
    /// A failure in the tree of `run`.
    pub(crate) fn new(run: &Process, failure: Error) -> Arc<Self> {
        Arc::new(Self { run: run.clone(), failure: Mutex::new(Some(failure)) })
    }

    fn mark_read(&self) {
        let failure = self.failure.lock().take();
        drop(failure);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        let failure = self.failure.lock().take();
        if let Some(failure) = failure {
            report_failure_elsewhere(&self.run, failure);
        }
    }
}

/// Makes the two ends of one answer.
pub(crate) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let shared = Shared { answer: None, unread: None, is_over: false, sleeper: None };
    let shared = Arc::new(Mutex::new(shared));
    (Reply { shared: shared.clone() }, Answer { shared })
}

impl<T> Reply<T> {
    pub(crate) fn give(self, answer: T) {
        self.give_failure(answer, None);
    }

    /// Gives an answer with a failure that is left to the caller.
    pub(crate) fn give_failure(self, answer: T, unread: Option<Arc<Unread>>) {
        let mut shared = self.shared.lock();
        (shared.answer, shared.unread) = (Some(answer), unread);
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
                read = shared.unread.take();
            }
            answered.is_none().then_some(&mut shared.sleeper)
        });
        drop(replaced);
        if let Some(unread) = read {
            unread.mark_read();
        }
        answered.map_or(Poll::Pending, Poll::Ready)
    }
}
