//! Readiness: how a run tells that it has started, and how that is waited for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use procession::Label;
use procession::support::{Sleeper, model_has_failed, register};

use crate::sync::{AtomicBool, Mutex, Ordering};

/// Something that is ready when all its parts are.
struct Waiting {
    /// Which parts have said whether they are ready: the first, and the others.
    said: (AtomicBool, Box<[AtomicBool]>),
    /// A part is lost: what the others say changes nothing.
    is_lost: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// How many parts are not ready.
    left: usize,
    /// A part ended without having been ready: this can never be.
    lost: Option<Unready>,
    sleeper: Option<Sleeper>,
    /// What this is a part of.
    whole: Option<Ready>,
}

/// Why a run can never be ready any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// It failed, or was closed; more says the outcome of its process.
    Failed,
    /// This process ended without an error.
    Ended(Label),
}

/// The right to say that a part is ready; it is said once. Clones are of the same part; when [`Sure`] is
/// dropped and nothing was said, the part has failed.
#[derive(Clone)]
pub(crate) struct Ready {
    of: Arc<Waiting>,
    part: usize,
}

/// What makes sure that a part says something in the end.
#[derive(Debug)]
pub(crate) struct Sure {
    /// `None` once its parts see to it.
    ready: Option<Ready>,
}

/// Waits until a run is ready, or cannot be any more. Made by [`Start::under`](crate::Start::under).
///
/// # Cancel safety
///
/// It can be dropped and polled again, by one task at a time.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Readiness {
    of: Arc<Waiting>,
}

/// Tells whether something is ready, without waiting for it.
pub(crate) struct Watch {
    of: Arc<Waiting>,
}

impl Ready {
    /// Something with one part.
    pub(crate) fn pair() -> (Sure, Readiness) {
        let of = Waiting::new(1, None);
        (Self { of: of.clone(), part: 0 }.sure(), Readiness { of })
    }

    pub(crate) fn sure(self) -> Sure {
        Sure { ready: Some(self) }
    }

    pub(crate) fn say(&self) {
        self.end(None);
    }

    /// The part has ended.
    pub(crate) fn lose(&self, lost: impl FnOnce() -> Unready) {
        let has_said = self.of.said(self.part).load(Ordering::Acquire);
        if !has_said && !self.of.is_lost.load(Ordering::Acquire) {
            self.end(Some(lost()));
        }
    }

    /// Goes up from part to whole. A loop, since what is nested may be nested deep.
    fn end(&self, lost: Option<Unready>) {
        let mut next = Some(self.clone());
        while let Some(Self { of, part }) = next {
            if of.said(part).swap(true, Ordering::AcqRel) {
                return;
            }
            if lost.is_some() {
                of.is_lost.store(true, Ordering::Release);
            }
            let mut state = of.state.lock();
            state.left -= 1;
            state.lost = state.lost.take().or_else(|| lost.clone());
            let is_over = state.left == 0 || state.lost.is_some();
            let sleeper = if is_over { state.sleeper.take() } else { None };
            next = if is_over { state.whole.take() } else { None };
            drop(state);
            sleeper.into_iter().for_each(|sleeper| sleeper.into_waker().wake());
        }
    }
}

impl Sure {
    /// Splits it: it is said when all of `count` parts have said it.
    pub(crate) fn split(mut self, count: usize) -> Vec<Self> {
        let whole = self.ready.take();
        if count == 0 {
            whole.iter().for_each(Ready::say);
            return Vec::new();
        }
        let of = Waiting::new(count, whole);
        (0..count).map(|part| Ready { of: of.clone(), part }.sure()).collect()
    }

    pub(crate) fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("it is split by value")
    }
}

impl Drop for Sure {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        self.ready.iter().for_each(|ready| ready.lose(|| Unready::Failed));
    }
}

impl Waiting {
    fn new(left: usize, whole: Option<Ready>) -> Arc<Self> {
        let others = (1..left).map(|_| AtomicBool::new(false)).collect();
        let said = (AtomicBool::new(false), others);
        let state = State { left, lost: None, sleeper: None, whole };
        Arc::new(Self { said, is_lost: AtomicBool::new(false), state: Mutex::new(state) })
    }

    /// Has this part said it? What has one part, as a run has, needs no list.
    fn said(&self, part: usize) -> &AtomicBool {
        match part.checked_sub(1) {
            None => &self.said.0,
            Some(other) => &self.said.1[other],
        }
    }
}

impl Readiness {
    pub(crate) fn watch(&self) -> Watch {
        Watch { of: self.of.clone() }
    }
}

impl Watch {
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.of.state.lock();
        state.left == 0 && state.lost.is_none()
    }
}

impl Future for Readiness {
    type Output = Result<(), Unready>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut ended = None;
        let replaced = register(&self.of.state, context.waker(), |state| {
            ended = match &state.lost {
                Some(lost) => Some(Err(lost.clone())),
                None => (state.left == 0).then_some(Ok(())),
            };
            ended.is_none().then_some(&mut state.sleeper)
        });
        drop(replaced);
        ended.map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("parts", &(1 + self.said.1.len())).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::{Readiness, Ready, Sure, Unready};

    fn now(readiness: &mut Readiness) -> Option<Result<(), Unready>> {
        block_on(poll_once(readiness))
    }

    fn say(part: Sure) {
        part.ready().say();
    }

    #[test]
    fn a_whole_is_ready_when_all_its_parts_are() {
        let (whole, mut readiness) = Ready::pair();
        let mut parts = whole.split(2);
        let inner = parts.remove(0).split(2);
        parts.into_iter().for_each(say);
        assert_eq!(now(&mut readiness), None);
        inner.into_iter().for_each(say);
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    /// Saying it twice is saying it once.
    #[test]
    fn a_part_says_it_once() {
        let (whole, mut readiness) = Ready::pair();
        let parts = whole.split(2);
        parts[0].ready().say();
        parts[0].ready().clone().say();
        assert_eq!(now(&mut readiness), None);
        parts[1].ready().say();
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn a_whole_whose_part_is_lost_is_never_ready() {
        let (whole, mut readiness) = Ready::pair();
        let mut parts = whole.split(2);
        drop(parts.pop());
        assert_eq!(now(&mut readiness), Some(Err(Unready::Failed)));
        parts.into_iter().for_each(say);
        assert_eq!(now(&mut readiness), Some(Err(Unready::Failed)));
    }

    #[test]
    fn what_has_no_parts_is_ready() {
        let (whole, mut readiness) = Ready::pair();
        assert!(whole.split(0).is_empty());
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let (mut ready, mut readiness) = Ready::pair();
        for _ in 0..100_000 {
            ready = ready.split(1).remove(0);
        }
        say(ready);
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }
}
