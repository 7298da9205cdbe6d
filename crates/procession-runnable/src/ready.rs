//! Readiness: how a run reports that it has started, and how others wait for that.
//!
//! A *whole* is ready once all its parts are. A run is a whole with one part, and so is a part that has parts of its
//! own. A part is *lost* if it can no longer become ready. A part *reports* once: that it is ready, or that it is lost.
//!
//! 1. *A part counts once.* Its flag in [`Whole::reported`] is swapped to `true`, and only the caller that finds
//!    `false` continues. Because the swap is atomic, two callers cannot both find `false`.
//! 2. *The result is decided once*: when the last part is ready, or when the first part is lost. Both happen under the
//!    lock. Afterwards, [`Count::left`] may still change, but [`Count::lost`] does not, because it is only set while it
//!    is `None`; and once `left` is zero, every part has counted, so by 1 nothing can set `lost`.
//! 3. *Each part reports in the end*, because the [`Ready`] that is answerable for it reports when it is dropped. A part
//!    that is never taken from its [`Parts`] is taken and dropped when they are.
//! 4. *The waiter is woken*: it stores its sleeper under the lock only while the result is undecided, and the caller
//!    that decides the result takes the sleeper in the same locked section.
//! 5. *Nothing recurses*: the result of a whole is passed to the whole above it in a loop. A decided whole has given up
//!    its link to the whole above, so no chain of wholes is ever dropped link by link.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use procession::support::{Sleeper, Supervised, model_has_failed, register, wake_sleeper};
use procession::{Error, Label, Process};

use crate::sync::{AtomicBool, Mutex, Ordering};

/// Reports that a part is ready or lost. Clones report on the same part; only the first report counts.
///
/// One of them is *answerable* for the part: if it is dropped before the part has reported, the part is lost. A clone
/// is not answerable.
pub(crate) struct Ready(Target);

/// The parts that a part is [split](Ready::split) into. Those that are not taken from it are lost when it is dropped.
pub(crate) struct Parts {
    of: Option<Arc<Whole>>,
    /// The parts that were not taken yet.
    rest: Range<u32>,
}

enum Target {
    Whole {
        of: Arc<Whole>,
        part: u32,
        is_answerable: bool,
    },
    /// A run of a supervisor, which receives the report at once.
    Supervised {
        of: Supervised,
        is_answerable: bool,
    },
}

/// A future that waits until a run is ready, or can no longer become ready. It is made by
/// [`Start::under`](crate::Start::under).
///
/// A run can no longer become ready once its body has returned, failed, panicked or been dropped. The future may be
/// polled again after it was ready. It wakes only the task that polled it last.
///
/// # Cancel safety
///
/// If the future is dropped before its end, the run continues.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Readiness {
    of: Arc<Whole>,
}

/// Why a run is not ready, and cannot become ready any more.
///
/// If a part of a group ends before it is ready, [`Ended`](Self::Ended) is the [source](std::error::Error::source) of
/// the group's [`Error::Failed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The run failed, or was closed. The outcome of its process has the details.
    #[error("the run failed or was closed before it was ready")]
    Failed,
    /// This process ended without an error before it was ready.
    #[error("{0} ended before it was ready")]
    Ended(Label),
    /// The process that waited for the run began to close first. Only [`Readiness::until_closing`] returns this.
    #[error("closing began before the run was ready")]
    Closed,
}

/// It is ready once all its parts are.
struct Whole {
    /// Which parts have reported: the first part, and the others. A run has one part and needs no list.
    ///
    /// The swaps are `AcqRel`, so that everything that a part did before its report happens-before the return of a
    /// second call, which finds the flag set and does nothing.
    reported: (AtomicBool, Box<[AtomicBool]>),
    /// A part is lost, so the reports of the others change nothing. The flag only avoids making a label in vain. It is
    /// set before the lock is taken, with `Release`, which pairs with the `Acquire` in [`Ready::lose`].
    is_lost: AtomicBool,
    count: Mutex<Count>,
}

struct Count {
    /// The number of parts that have not reported.
    left: usize,
    /// The first part that was lost. If there is one, the whole never becomes ready.
    lost: Option<NotReady>,
    sleeper: Option<Sleeper>,
    /// The part of the whole above that this whole is, or the run of a supervisor. `None` once the result is decided.
    above: Option<Ready>,
}

impl NotReady {
    /// The error of a group, or of a run, whose part `label` ended without an error before it was ready.
    pub fn of(label: Label) -> Error {
        Error::failed(label.clone(), Box::new(Self::Ended(label)))
    }
}

impl Ready {
    /// The part of a new whole with one part, and a future that waits for the whole.
    pub(crate) fn pair() -> (Self, Readiness) {
        let of = Whole::new(1, None);
        (Self::part(of.clone(), 0), Readiness { of })
    }

    /// A run of a supervisor.
    pub(crate) fn supervised(of: Supervised) -> Self {
        Self(Target::Supervised { of, is_answerable: true })
    }

    fn part(of: Arc<Whole>, part: u32) -> Self {
        Self(Target::Whole { of, part, is_answerable: true })
    }

    /// The same part, for code that is answerable for it from now on.
    pub(crate) fn into_answerable(mut self) -> Self {
        self.set_answerable(true);
        self
    }

    /// Splits the part: it is ready once all `count` parts of it are.
    pub(crate) fn split(mut self, count: usize) -> Parts {
        let count = u32::try_from(count).expect("fewer parts than 2^32");
        if count == 0 {
            self.report_ready();
            return Parts { of: None, rest: 0..0 };
        }
        // The parts are answerable in its place.
        self.set_answerable(false);
        Parts { of: Some(Whole::new(count as usize, Some(self))), rest: 0..count }
    }

    /// The part is ready.
    pub(crate) fn report_ready(&self) {
        self.end(None);
    }

    /// The part has ended. If it has not reported, it is lost.
    #[inline]
    pub(crate) fn lose(&self, lost: impl FnOnce() -> NotReady) {
        let is_over = match &self.0 {
            // `is_lost` comes first, because it is cheaper to check.
            Target::Whole { of, part, .. } => {
                of.is_lost.load(Ordering::Acquire) || of.reported(*part).load(Ordering::Acquire)
            }
            Target::Supervised { of, .. } => of.has_reported_readiness(),
        };
        if !is_over {
            self.end(Some(lost()));
        }
    }

    /// Is the whole that this is a part of ready?
    pub(crate) fn is_ready(&self) -> bool {
        match &self.0 {
            Target::Whole { of, .. } => of.result() == Some(Ok(())),
            // Only the supervisor knows, and it never asks here.
            Target::Supervised { .. } => false,
        }
    }

    fn end(&self, lost: Option<NotReady>) {
        let mut next = self.end_one(&lost);
        while let Some(above) = next {
            next = above.end_one(&lost);
        }
    }

    /// The part is ready, or `lost`. If that decides the whole, returns the whole's own place in the whole above.
    fn end_one(&self, lost: &Option<NotReady>) -> Option<Self> {
        match (&self.0, lost) {
            (Target::Whole { of, part, .. }, _) => return of.end(*part, lost),
            (Target::Supervised { of, .. }, None) => of.ready(),
            (Target::Supervised { of, .. }, Some(NotReady::Ended(label))) => {
                of.ended_unready(label.clone());
            }
            (Target::Supervised { of, .. }, Some(_)) => of.not_ready(),
        }
        None
    }

    fn set_answerable(&mut self, to: bool) {
        let (Target::Whole { is_answerable, .. } | Target::Supervised { is_answerable, .. }) =
            &mut self.0;
        *is_answerable = to;
    }

    fn is_answerable(&self) -> bool {
        let (Target::Whole { is_answerable, .. } | Target::Supervised { is_answerable, .. }) =
            &self.0;
        *is_answerable
    }
}

impl Iterator for Parts {
    type Item = Ready;

    #[inline]
    fn next(&mut self) -> Option<Ready> {
        let part = self.rest.next()?;
        // The last one needs no further handle.
        let of = if self.rest.is_empty() { self.of.take()? } else { self.of.clone()? };
        Some(Ready::part(of, part))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // Each of them is answerable.
        self.for_each(drop);
    }
}

impl Clone for Ready {
    #[inline]
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Target::Whole { of, part, .. } => {
                Target::Whole { of: of.clone(), part: *part, is_answerable: false }
            }
            Target::Supervised { of, .. } => {
                Target::Supervised { of: of.clone(), is_answerable: false }
            }
        })
    }
}

impl Drop for Ready {
    #[inline]
    fn drop(&mut self) {
        if self.is_answerable() && !model_has_failed() {
            self.lose(|| NotReady::Failed);
        }
    }
}

impl Whole {
    fn new(left: usize, above: Option<Ready>) -> Arc<Self> {
        let others = (1..left).map(|_| AtomicBool::new(false)).collect();
        let reported = (AtomicBool::new(false), others);
        let count = Count { left, lost: None, sleeper: None, above };
        Arc::new(Self { reported, is_lost: AtomicBool::new(false), count: Mutex::new(count) })
    }

    fn reported(&self, part: u32) -> &AtomicBool {
        match part.checked_sub(1) {
            None => &self.reported.0,
            Some(other) => &self.reported.1[other as usize],
        }
    }

    /// A part is ready, or `lost`. If that decides the whole, returns the whole's own place in the whole above.
    fn end(&self, part: u32, lost: &Option<NotReady>) -> Option<Ready> {
        if self.reported(part).swap(true, Ordering::AcqRel) {
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
    /// Waits until the start is over: the run is ready, has failed, or has ended before it was ready; or `process`, on
    /// whose behalf it was started, began to close first.
    ///
    /// If the failure of the run also closes `process`, the result is always the failure, because the future checks the
    /// run once more when it sees that `process` is closing.
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
    /// [`NotReady`], unless the run is ready.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the run continues.
    pub fn until_closing(
        self,
        process: &Process,
    ) -> impl Future<Output = Result<(), NotReady>> + Send + use<> {
        self.until(process.closing())
    }

    /// [`until_closing`](Self::until_closing) with any future that is ready once closing has begun.
    async fn until(mut self, closing: impl Future<Output = ()>) -> Result<(), NotReady> {
        let mut closing = pin!(closing);
        poll_fn(|context| {
            if let Poll::Ready(result) = Pin::new(&mut self).poll(context) {
                return Poll::Ready(result);
            }
            ready!(closing.as_mut().poll(context));
            // The run may have ended in between, and that may be why the process closes. A run reports how it ended
            // before its end closes anything, so this check cannot come too early.
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
        f.debug_struct("Whole").field("parts", &(1 + self.reported.1.len())).finish_non_exhaustive()
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

    fn report(part: Ready) {
        part.report_ready();
    }

    #[test]
    fn a_whole_is_ready_when_all_its_parts_are() {
        let (whole, mut readiness) = Ready::pair();
        let mut parts = whole.split(2);
        let inner = parts.next().unwrap().split(2);
        parts.for_each(report);
        assert_eq!(now(&mut readiness), None);
        inner.for_each(report);
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn a_part_counts_once() {
        let (whole, mut readiness) = Ready::pair();
        let parts: Vec<_> = whole.split(2).collect();
        parts[0].report_ready();
        parts[0].clone().report_ready();
        assert_eq!(now(&mut readiness), None);
        parts[1].report_ready();
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    #[test]
    fn a_whole_whose_part_is_lost_is_never_ready() {
        let (whole, mut readiness) = Ready::pair();
        let mut parts = whole.split(2);
        drop(parts.next());
        assert_eq!(now(&mut readiness), Some(Err(NotReady::Failed)));
        parts.for_each(report);
        assert_eq!(now(&mut readiness), Some(Err(NotReady::Failed)));
    }

    #[test]
    fn parts_that_are_not_taken_are_lost() {
        let (whole, mut readiness) = Ready::pair();
        let mut parts = whole.split(3);
        parts.next().into_iter().for_each(report);
        assert_eq!(now(&mut readiness), None);
        drop(parts);
        assert_eq!(now(&mut readiness), Some(Err(NotReady::Failed)));
    }

    #[test]
    fn a_whole_without_parts_is_ready() {
        let (whole, mut readiness) = Ready::pair();
        assert!(whole.split(0).next().is_none());
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
            ready = ready.split(1).next().unwrap();
        }
        report(ready);
        assert_eq!(now(&mut readiness), Some(Ok(())));
    }

    /// The run ends exactly between the check of the run and the check of the process.
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
        assert_eq!(block_on(readiness.until(async { ready.report_ready() })), Ok(()));
    }
}
