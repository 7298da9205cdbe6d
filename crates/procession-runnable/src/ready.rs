//! Readiness: how a run reports that it has started, and how others wait for that.
//!
//! Something is ready once all its parts are. What holds here:
//!
//! 1. *A part counts once.* Its flag in [`Whole::said`] is swapped to `true`, and only the caller that finds `false`
//!    goes on. Because the swap is atomic, two callers cannot both find `false`.
//! 2. *The result is decided once*: when the last part is ready, or when the first part is lost. Both happen under the
//!    lock. Afterwards, [`Count::left`] may still change, but [`Count::lost`] never does, because it is only set while
//!    it is `None`; and once `left` is zero, every part has counted, so by 1 nothing can set `lost`.
//! 3. *Each part says something in the end*, because the [`Ready`] that is answerable for it does so when it is dropped.
//! 4. *The waiter is woken*: it stores its sleeper under the lock only while nothing is decided, and whoever decides
//!    takes the sleeper in the same locked section.
//! 5. *Nothing recurses*: a decided whole passes the news to the whole that it is a part of in a loop, and gives up its
//!    place there, so that no chain of wholes is ever dropped link by link.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use procession::support::{Sleeper, Supervised, model_has_failed, register, wake_sleeper};
use procession::{Error, Label, Process};

use crate::sync::{AtomicBool, Mutex, Ordering};

/// The right to say that a part is ready. Clones are about the same part, which says something once.
///
/// One of them is *answerable* for the part: if it is dropped before anything was said, the part has failed. A clone is
/// not answerable.
pub(crate) struct Ready(Of);

enum Of {
    Whole {
        of: Arc<Whole>,
        part: u32,
        is_answerable: bool,
    },
    /// A run of a supervisor, which is told at once.
    Supervised {
        of: Supervised,
        is_answerable: bool,
    },
}

/// A future that waits until a run is ready, or can no longer become ready. It is made by
/// [`Start::under`](crate::Start::under).
///
/// A run can no longer become ready once its body has returned, failed, panicked or been dropped.
///
/// # Cancel safety
///
/// It can be dropped, and it can be polled again after it was ready. Only one task at a time is woken.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Readiness {
    of: Arc<Whole>,
}

/// Why a run is not ready, and cannot become ready any more.
///
/// [`Ended`](Self::Ended) is the [source](std::error::Error::source) of an [`Error::Failed`] if a part of a group ends
/// too early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The run failed, or was closed. The outcome of its process says more.
    #[error("the run failed or was closed before it was ready")]
    Failed,
    /// This process ended without an error, and had not said that it was ready.
    #[error("{0} ended before it was ready")]
    Ended(Label),
    /// The process that waited for it began to close first. Only [`Readiness::until_closing`] says this.
    #[error("closing began before the run was ready")]
    Closed,
}

/// Something that is ready once all its parts are.
struct Whole {
    /// Which parts have said something: the first part, and the others. A run has one part and needs no list.
    ///
    /// The swaps are `AcqRel`, so that what a part did before it said that it is ready happens-before a second call that
    /// finds the flag set and does nothing.
    said: (AtomicBool, Box<[AtomicBool]>),
    /// A part is lost, so what the others say changes nothing. This only saves making a label; it is set before the
    /// lock is taken, with `Release`, and pairs with the `Acquire` in [`Ready::lose`].
    is_lost: AtomicBool,
    count: Mutex<Count>,
}

struct Count {
    /// The number of parts that have said nothing.
    left: usize,
    /// The first part that was lost. If there is one, the whole never becomes ready.
    lost: Option<NotReady>,
    sleeper: Option<Sleeper>,
    /// The part that this is of another whole, or of a run of a supervisor.
    above: Option<Ready>,
}

impl NotReady {
    /// The error of a group, or of a run, whose part `label` ended without an error before it was ready.
    pub fn of(label: Label) -> Error {
        Error::failed(label.clone(), Box::new(Self::Ended(label)))
    }
}

impl Ready {
    /// Something with one part.
    pub(crate) fn pair() -> (Self, Readiness) {
        let of = Whole::new(1, None);
        (Self::part(of.clone(), 0), Readiness { of })
    }

    /// A run of a supervisor.
    pub(crate) fn supervised(of: Supervised) -> Self {
        Self(Of::Supervised { of, is_answerable: true })
    }

    fn part(of: Arc<Whole>, part: u32) -> Self {
        Self(Of::Whole { of, part, is_answerable: true })
    }

    /// The same part, for code that is answerable for it from now on.
    pub(crate) fn into_answerable(mut self) -> Self {
        self.set_answerable(true);
        self
    }

    /// Splits the part: it is ready once all `count` parts of it are.
    pub(crate) fn split(mut self, count: usize) -> Vec<Self> {
        if count == 0 {
            self.say();
            return Vec::new();
        }
        // The parts are answerable in its place.
        self.set_answerable(false);
        let of = Whole::new(count, Some(self));
        let parts = 0..u32::try_from(count).expect("fewer parts than 2^32");
        parts.map(|part| Self::part(of.clone(), part)).collect()
    }

    /// The part is ready.
    pub(crate) fn say(&self) {
        self.end(None);
    }

    /// The part has ended. If it has said nothing, it is lost.
    pub(crate) fn lose(&self, lost: impl FnOnce() -> NotReady) {
        let is_over = match &self.0 {
            Of::Whole { of, part, .. } => {
                of.said(*part).load(Ordering::Acquire) || of.is_lost.load(Ordering::Acquire)
            }
            Of::Supervised { of, .. } => of.has_reported_readiness(),
        };
        if !is_over {
            self.end(Some(lost()));
        }
    }

    /// Is the whole that this is a part of ready?
    pub(crate) fn is_ready(&self) -> bool {
        match &self.0 {
            Of::Whole { of, .. } => of.result() == Some(Ok(())),
            // Only its supervisor knows, and asks nobody else.
            Of::Supervised { .. } => false,
        }
    }

    fn end(&self, lost: Option<NotReady>) {
        let mut next = self.end_one(&lost);
        while let Some(above) = next {
            next = above.end_one(&lost);
        }
    }

    /// The part is ready, or `lost`. If that decides the whole, returns the part that the whole is of another one.
    fn end_one(&self, lost: &Option<NotReady>) -> Option<Self> {
        match (&self.0, lost) {
            (Of::Whole { of, part, .. }, _) => return of.end(*part, lost),
            (Of::Supervised { of, .. }, None) => of.ready(),
            (Of::Supervised { of, .. }, Some(NotReady::Ended(label))) => {
                of.ended_unready(label.clone());
            }
            (Of::Supervised { of, .. }, Some(_)) => of.not_ready(),
        }
        None
    }

    fn set_answerable(&mut self, to: bool) {
        let (Of::Whole { is_answerable, .. } | Of::Supervised { is_answerable, .. }) = &mut self.0;
        *is_answerable = to;
    }

    fn is_answerable(&self) -> bool {
        let (Of::Whole { is_answerable, .. } | Of::Supervised { is_answerable, .. }) = &self.0;
        *is_answerable
    }
}

impl Clone for Ready {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Of::Whole { of, part, .. } => {
                Of::Whole { of: of.clone(), part: *part, is_answerable: false }
            }
            Of::Supervised { of, .. } => Of::Supervised { of: of.clone(), is_answerable: false },
        })
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.is_answerable() && !model_has_failed() {
            self.lose(|| NotReady::Failed);
        }
    }
}

impl Whole {
    fn new(left: usize, above: Option<Ready>) -> Arc<Self> {
        let others = (1..left).map(|_| AtomicBool::new(false)).collect();
        let said = (AtomicBool::new(false), others);
        let count = Count { left, lost: None, sleeper: None, above };
        Arc::new(Self { said, is_lost: AtomicBool::new(false), count: Mutex::new(count) })
    }

    fn said(&self, part: u32) -> &AtomicBool {
        match part.checked_sub(1) {
            None => &self.said.0,
            Some(other) => &self.said.1[other as usize],
        }
    }

    /// A part is ready, or `lost`. If that decides the whole, returns the part that the whole is of another one.
    fn end(&self, part: u32, lost: &Option<NotReady>) -> Option<Ready> {
        if self.said(part).swap(true, Ordering::AcqRel) {
            return None;
        }
        if lost.is_some() {
            self.is_lost.store(true, Ordering::Release);
        }
        let mut count = self.count.lock();
        count.left -= 1;
        count.lost = count.lost.take().or_else(|| lost.clone());
        if count.left > 0 && count.lost.is_none() {
            return None;
        }
        let (sleeper, above) = (count.sleeper.take(), count.above.take());
        drop(count);
        wake_sleeper(sleeper);
        above
    }

    fn result(&self) -> Option<Result<(), NotReady>> {
        self.count.lock().result()
    }
}

impl Count {
    fn result(&self) -> Option<Result<(), NotReady>> {
        match &self.lost {
            Some(lost) => Some(Err(lost.clone())),
            None => (self.left == 0).then_some(Ok(())),
        }
    }
}

impl Readiness {
    /// Waits until the start has ended in one way or another: the run is ready, or ended before it was ready, or
    /// failed; or `process`, for which it is started, began to close first.
    ///
    /// A run that fails may also close `process`. Then the failure is why the start has ended, whichever of the two this
    /// future sees first: when it sees the closing, it looks at the run once more.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_runnable::{NotReady, Start, body};
    ///
    /// let app = Process::new();
    /// let (start, readiness) = Start::under(&app);
    /// let never_ready = body(|run| async move { run.closing().await }).start(start)?;
    /// app.close();
    /// let ended = futures_lite::future::block_on(readiness.until_closing(&app));
    /// assert!(ended.is_err());
    /// # never_ready.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotReady`], in each case but the first.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing about the run.
    pub fn until_closing(
        self,
        process: &Process,
    ) -> impl Future<Output = Result<(), NotReady>> + Send + use<> {
        self.until(process.closing())
    }

    /// [`until_closing`](Self::until_closing), for anything that says when closing has begun.
    async fn until(mut self, closing: impl Future<Output = ()>) -> Result<(), NotReady> {
        let mut closing = pin!(closing);
        poll_fn(|context| {
            if let Poll::Ready(result) = Pin::new(&mut self).poll(context) {
                return Poll::Ready(result);
            }
            ready!(closing.as_mut().poll(context));
            // The end of the run may have come in between, and then it is why the process closes. A run says how it
            // ended before its end closes anything, so this look cannot come too early.
            Poll::Ready(self.of.result().unwrap_or(Err(NotReady::Closed)))
        })
        .await
    }

    /// Is the run ready?
    #[cfg(loom)]
    pub(crate) fn is_ready(&self) -> bool {
        self.of.result() == Some(Ok(()))
    }
}

impl Future for Readiness {
    type Output = Result<(), NotReady>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut result = None;
        let replaced = register(&self.of.count, context.waker(), |count| {
            result = count.result();
            result.is_none().then_some(&mut count.sleeper)
        });
        drop(replaced);
        result.map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whole").field("parts", &(1 + self.said.1.len())).finish_non_exhaustive()
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
    use procession::Process;

    use super::{NotReady, Readiness, Ready};

    fn now(readiness: &mut Readiness) -> Option<Result<(), NotReady>> {
        block_on(poll_once(readiness))
    }

    fn say(part: Ready) {
        part.say();
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

    #[test]
    fn a_part_counts_once() {
        let (whole, mut readiness) = Ready::pair();
        let parts = whole.split(2);
        parts[0].say();
        parts[0].clone().say();
        assert_eq!(now(&mut readiness), None);
        parts[1].say();
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn a_whole_whose_part_is_lost_is_never_ready() {
        let (whole, mut readiness) = Ready::pair();
        let mut parts = whole.split(2);
        drop(parts.pop());
        assert_eq!(now(&mut readiness), Some(Err(NotReady::Failed)));
        parts.into_iter().for_each(say);
        assert_eq!(now(&mut readiness), Some(Err(NotReady::Failed)));
    }

    #[test]
    fn a_whole_without_parts_is_ready() {
        let (whole, mut readiness) = Ready::pair();
        assert!(whole.split(0).is_empty());
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn a_clone_is_not_answerable() {
        let (ready, mut readiness) = Ready::pair();
        drop(ready.clone());
        assert_eq!(now(&mut readiness), None);
        drop(ready.clone().into_answerable());
        assert_eq!(now(&mut readiness), Some(Err(NotReady::Failed)));
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

    /// The run ends exactly between the look at the run and the look at the process.
    #[test]
    fn an_end_that_also_closes_the_process_is_seen() {
        let label = Process::new().label();
        for lost in [Some(NotReady::Ended(label)), Some(NotReady::Failed), None] {
            let (ready, readiness) = Ready::pair();
            let closing = async {
                lost.iter().for_each(|lost| ready.lose(|| lost.clone()));
            };
            let expected = lost.clone().unwrap_or(NotReady::Closed);
            assert_eq!(block_on(readiness.until(closing)), Err(expected));
        }
        let (ready, readiness) = Ready::pair();
        assert_eq!(block_on(readiness.until(async { ready.say() })), Ok(()));
    }
}
