//! The answer to a command: [`Reply`] sends it once, and [`Answer`] waits for it. No answer comes if the [`Reply`] is
//! dropped.
//!
//! A failure in an answer is not lost (I17): it is left to the callers that it was given to and to the restart of its
//! unit, if there will be one, and reported when none of them can handle it any more. Argument: these share an
//! [`Unread`]. Only a caller that takes its answer and a restart that has come take the failure out of it, and the last
//! one that drops it reports what is still in it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use procession::support::{
    Sleeper, catch, model_has_failed, register, report_failure, report_failure_elsewhere,
    wake_sleeper,
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

/// A failure that is left to callers or to a restart. If none of them has handled it, it is reported when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Unread {
    run: Process,
    /// `None` once it is handled.
    failure: Mutex<Option<Error>>,
}

impl Unread {
    /// A failure in the tree of `run`.
    pub(crate) fn new(run: &Process, failure: Error) -> Arc<Self> {
        Arc::new(Self { run: run.clone(), failure: Mutex::new(Some(failure)) })
    }

    /// A caller has read the failure, the restart has come, or the outcome of the run has the failure.
    pub(crate) fn mark_handled(&self) {
        let _dropped = catch(|| drop(self.take()));
    }

    /// Gives one share of the failure up. The last one reports the failure at once, so call it with no lock held.
    pub(super) fn give_up(self: Arc<Self>) {
        if let Some(last) = Arc::into_inner(self) {
            let failure = last.take();
            failure.iter().for_each(|failure| report_failure(&last.run, failure));
            let _dropped = catch(|| drop(failure));
        }
    }

    fn take(&self) -> Option<Error> {
        self.failure.lock().take()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        if let Some(failure) = self.take() {
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
            unread.mark_handled();
        }
        answered.map_or(Poll::Pending, Poll::Ready)
    }
}
