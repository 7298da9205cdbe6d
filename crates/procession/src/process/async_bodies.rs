//! Bodies as futures, on a spawner or in the caller's own task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::lazy_body::LazyBody;
use super::outcome_reader::OutcomeReader;
use super::{Process, Unstarted};
use crate::run::body::{Body, BodyEnd};
use crate::run::park::block_on;
use crate::run::waits::begin_wait;
use crate::run::{Inherited, Seed, spawn_body};
use crate::value::{Error, IntoOutcome, Site, Work};

impl Process {
    /// Runs `body` on the spawner, as a child of this process. The child is Closed once the body has ended, the child's
    /// own children are Closed, and its teardown has run.
    ///
    /// Everything that the documentation of [`spawn_thread`](Self::spawn_thread) says about the body also holds here,
    /// except that an [`abort`](Self::abort) drops the future; the outcome is then [`Error::Aborted`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of this process has started. Then the body is not run.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let session = app.spawn(|p| async move {
    ///     p.closing().await;
    ///     Err("the peer is gone")
    /// })?;
    /// app.close_blocking()?;
    /// assert!(session.outcome().unwrap().is_err());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<F, Fut>(&self, body: F) -> Result<Self, Error>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.spawn_at(Site::caller(), body)
    }

    /// [`spawn`](Self::spawn), with an explicit site.
    pub(crate) fn spawn_at<F, Fut>(&self, site: Site, body: F) -> Result<Self, Error>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        match Unstarted::child_of(self, site) {
            Ok(child) => Ok(child.spawn(body)),
            Err(_closed) => Err(Error::Closed(self.label())),
        }
    }

    /// Starts the body that this process was made with, on its spawner.
    #[inline(always)]
    pub(crate) fn start<F, Fut>(&self, end: BodyEnd, body: F)
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.start_as(Work::AsyncBody, end, body);
    }

    /// [`start`](Self::start), for a body whose work is of this kind.
    #[inline(always)]
    pub(crate) fn start_as<F, Fut>(&self, work: Work, end: BodyEnd, body: F)
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let future = LazyBody::new(self.clone(), body);
        spawn_body(self.node.spawner(), Body::with_work(work, end, future));
    }

    /// Runs `body` in the caller's own task, as a child of this process, and returns the child's outcome once it is
    /// Closed.
    ///
    /// The child is made by this call, so this process waits for it even before the first poll. The body need be
    /// neither `Send` nor `'static`.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of this process has started. Then the body is not run. Otherwise, those of the
    /// child's outcome.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the body has ended, the body is dropped and the child closes, with the outcome
    /// [`Error::Aborted`].
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let answer = std::cell::Cell::new(0);
    /// let run = app.run(|p| async {
    ///     let _child = p;
    ///     answer.set(42);
    /// });
    /// futures_lite::future::block_on(run)?;
    /// assert_eq!(answer.get(), 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn run<F, Fut>(&self, body: F) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        self.run_at(Site::caller(), body)
    }

    /// [`run`](Self::run), with an explicit site.
    pub(crate) fn run_at<F, Fut>(
        &self,
        site: Site,
        body: F,
    ) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let run = self.child_with_body(site).map(|(child, end)| child.run_by_caller(end, body));
        async move { run?.await }
    }

    /// [`run_at`](Self::run_at), blocking: the future is polled on this thread, which waits for the child (I13).
    pub(crate) fn run_blocking_at<F, Fut>(&self, site: Site, body: F) -> Result<(), Error>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let (child, end) = self.child_with_body(site)?;
        let _edges = begin_wait(&child.node)?;
        block_on(child.run_by_caller(end, body))
    }

    /// Polls the body that this process was made with in the caller's own task, and returns the outcome.
    fn run_by_caller<F, Fut>(
        self,
        end: BodyEnd,
        body: F,
    ) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let (closed, reader) = (self.closed(), OutcomeReader::polling(&self));
        let future = async move { body(self).await.into_outcome() };
        // The body is dropped first, while the failures of the process are still left to the caller.
        let run = (Body::of_caller(end, future), closed, reader);
        async move {
            let (body, closed, mut reader) = run;
            body.await;
            let outcome = closed.await;
            reader.mark_read();
            outcome
        }
    }

    /// Makes a child with this name. The returned future polls its body, and is ready when the body has ended. The
    /// caller is not handed the outcome, so failures are reported like those of [`spawn`](Self::spawn).
    pub(crate) fn run_unattended_at<F, Fut>(
        &self,
        site: Site,
        name: Arc<str>,
        body: F,
    ) -> Result<impl Future<Output = ()> + use<F, Fut>, Error>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let inherited = Some(Inherited::named(name, self.passed_on()));
        let (child, end) = self.child_with_body_for(Seed::inheriting(site, inherited))?;
        Ok(Body::of_caller(end, LazyBody::new(child, body)))
    }

    /// Polls `future` until it is ready or this process is Closing. Returns `None` if the process is Closing first.
    ///
    /// If the process is already Closing, the future is not polled. If between two polls the future becomes ready and
    /// the process begins to close, the output of the future is returned, as with tokio-util's `run_until_cancelled`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, or if the process is Closing first, `future` is dropped. So it is as
    /// cancel safe as `future`.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// # futures_lite::future::block_on(async {
    /// let process = Process::new();
    /// assert_eq!(process.run_until_closing(async { 1 }).await, Some(1));
    /// process.close();
    /// assert_eq!(process.run_until_closing(async { 2 }).await, None);
    /// # })
    /// ```
    pub fn run_until_closing<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let mut closing = self.closing();
        async move {
            let mut future = pin!(future);
            if closing.has_come() {
                return None;
            }
            poll_fn(|context| {
                if let Poll::Ready(output) = future.as_mut().poll(context) {
                    return Poll::Ready(Some(output));
                }
                Pin::new(&mut closing).poll(context).map(|()| None)
            })
            .await
        }
    }
}
