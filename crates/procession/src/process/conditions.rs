//! Conditions: closing a process when a future is ready, and making a process wait for a future.

use std::future::Future;

use super::Process;
use crate::run::body::BodyEnd;
use crate::run::{Seed, perform};
use crate::state::{EdgeKind, link};
use crate::value::{Error, Reason, Site, Work};

impl Process {
    /// Closes the process when `future` is ready, whatever its output.
    ///
    /// The future is polled on the spawner, as the body of a no-wait child: it is dropped when the process begins to
    /// close, and the process does not wait for it. If it panics, that child has failed: the [hooks](Self::on_failure)
    /// are called, and with [`ChildFailure::Close`](crate::ChildFailure::Close), the process closes; by default, it
    /// stays open. If the process is already Closing, the future is dropped without being polled.
    ///
    /// # Errors
    ///
    /// [`Error::Background`] on the background process. Then the future is dropped without being polled.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let (server, idle) = (Process::new(), Process::new());
    /// server.close_when(idle.closed())?;
    /// idle.close();
    /// server.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn close_when<F>(&self, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        self.close_when_at(Site::caller(), future)
    }

    /// [`close_when`](Self::close_when), with an explicit site.
    pub(crate) fn close_when_at<F>(&self, site: Site, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        self.watch(Seed { inherited: self.passed_on(), ..Seed::at(site) }, future)
    }

    /// Makes the teardown of this process start only after `future` is ready, whatever its output. Compare
    /// [`wait_for`](Self::wait_for), which waits for a process.
    ///
    /// The future is polled on the spawner, as the body of a child. An [`abort`](Self::abort) drops it; a
    /// [`close`](Self::close) does not.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown has started, [`Error::Background`] on the background process. Then the future
    /// is dropped without being polled.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let (server, upload) = (Process::new(), Process::new());
    /// server.wait_for_future(upload.closed())?;
    /// server.close();
    /// assert!(!server.is_closed());
    /// upload.close();
    /// server.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_for_future<F>(&self, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        self.wait_on(Seed { inherited: self.passed_on(), ..Seed::at(Site::caller()) }, future)
    }

    /// Polls the future in a no-wait child that is made from the seed, and closes the process when it is ready.
    pub(crate) fn watch<F>(&self, seed: Seed, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        #[cfg(not(loom))]
        let scope = self.passed_on_scope();
        #[cfg(loom)]
        let scope = None;
        // It is made with its observers, so that `Made` is the first event that they receive.
        let watcher = Self::watched_from_seed(Seed { body: true, ..seed }, scope);
        let end = BodyEnd::of(watcher.node.clone());
        // A fresh process is on no cycle, so the edge is refused only if the teardown of this process has started. Then
        // nothing is left to close.
        match link(&self.node, &watcher.node, EdgeKind::NO_WAIT_CHILD) {
            Ok(effects) => perform(effects),
            Err(_closed) => {
                end.cancel_body();
                return Ok(());
            }
        }
        // This holds the node, because a handle would keep the process open.
        let node = self.node.clone();
        watcher.start(end, move |watcher| async move {
            if watcher.run_until_closing(future).await.is_some() {
                perform(node.close(&Reason::Asked, false));
            }
        });
        Ok(())
    }

    /// Polls the future in a child that is made from the seed, so that the process waits for it.
    pub(crate) fn wait_on<F>(&self, seed: Seed, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        let (child, end) = self.child_with_body_for(seed)?;
        child.start_as(Work::Future, end, |_| async move { drop(future.await) });
        Ok(())
    }
}
