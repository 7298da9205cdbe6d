//! Readiness: how a run tells that it has started, and how that is waited for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use procession::Label;

/// Something that is ready when all its parts are.
struct Waiting {
    state: Mutex<State>,
}

struct State {
    /// How many parts are not ready.
    left: usize,
    /// A part ended without having been ready: this can never be.
    lost: Option<Lost>,
    waker: Option<Waker>,
    /// What this is a part of.
    whole: Option<Ready>,
}

/// Why something can never be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A part failed, or was closed; more says the outcome of its process.
    Failed,
    /// This part ended without an error.
    Ended(Label),
}

/// The right to say, once, that a part is ready. Dropped without that, it says that the part has failed.
pub(crate) struct Ready {
    of: Option<Arc<Waiting>>,
}

/// Waits for readiness, or until it cannot come any more.
pub(crate) struct Readiness {
    of: Arc<Waiting>,
}

impl Ready {
    /// Something with one part.
    pub(crate) fn new() -> (Self, Readiness) {
        let of = Waiting::new(1, None);
        (Self { of: Some(of.clone()) }, Readiness { of })
    }

    /// Splits it: it is said when all of `count` parts have said it.
    pub(crate) fn split(self, count: usize) -> Vec<Self> {
        if count == 0 {
            self.say();
            return Vec::new();
        }
        let of = Waiting::new(count, Some(self));
        (0..count).map(|_| Self { of: Some(of.clone()) }).collect()
    }

    pub(crate) fn say(mut self) {
        self.end(None);
    }

    /// The part has ended.
    pub(crate) fn lose(mut self, lost: Lost) {
        self.end(Some(lost));
    }

    /// Goes up from part to whole. A loop, since what is nested may be nested deep.
    fn end(&mut self, lost: Option<Lost>) {
        let mut next = self.of.take();
        while let Some(of) = next {
            let mut state = of.state.lock();
            state.left -= 1;
            state.lost = state.lost.take().or_else(|| lost.clone());
            let is_over = state.left == 0 || state.lost.is_some();
            let waker = if is_over { state.waker.take() } else { None };
            let mut whole = if is_over { state.whole.take() } else { None };
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            next = whole.as_mut().and_then(|whole| whole.of.take());
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.end(Some(Lost::Failed));
    }
}

impl Waiting {
    fn new(left: usize, whole: Option<Ready>) -> Arc<Self> {
        let state = State { left, lost: None, waker: None, whole };
        Arc::new(Self { state: Mutex::new(state) })
    }
}

impl Future for Readiness {
    type Output = Result<(), Lost>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.of.state.lock();
        if let Some(lost) = &state.lost {
            return Poll::Ready(Err(lost.clone()));
        }
        if state.left == 0 {
            return Poll::Ready(Ok(()));
        }
        let replaced = state.waker.replace(context.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::{Lost, Readiness, Ready};

    fn now(readiness: &mut Readiness) -> Option<Result<(), Lost>> {
        block_on(poll_once(readiness))
    }

    #[test]
    fn a_whole_is_ready_when_all_its_parts_are() {
        let (whole, mut readiness) = Ready::new();
        let mut parts = whole.split(2);
        let inner = parts.remove(0).split(2);
        parts.into_iter().for_each(Ready::say);
        assert_eq!(now(&mut readiness), None);
        inner.into_iter().for_each(Ready::say);
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn a_whole_whose_part_is_lost_is_never_ready() {
        let (whole, mut readiness) = Ready::new();
        let mut parts = whole.split(2);
        drop(parts.pop());
        assert_eq!(now(&mut readiness), Some(Err(Lost::Failed)));
        parts.into_iter().for_each(Ready::say);
        assert_eq!(now(&mut readiness), Some(Err(Lost::Failed)));
    }

    #[test]
    fn what_has_no_parts_is_ready() {
        let (whole, mut readiness) = Ready::new();
        assert!(whole.split(0).is_empty());
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let (mut ready, mut readiness) = Ready::new();
        for _ in 0..1_000_000 {
            ready = ready.split(1).remove(0);
        }
        ready.say();
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }
}
