//! Bridges: between a process and other things that end, so that nobody passes both around.

#[cfg(all(feature = "tokio-util", not(loom)))]
mod token;

use std::future::Future;
use std::sync::Arc;

use crate::dispatch::dispatch;
use crate::error::Error;
use crate::process::Process;
use crate::reason::Reason;
use crate::state::{EdgeKind, Inherited, Seed, link};

impl Process {
    /// Closes the process when `future` is ready, whatever its output.
    ///
    /// The future is polled on the spawner, as the body of a no-wait child: it is dropped when the process
    /// closes, and the process does not wait for it. If it panics, the process stays open and
    /// [hooks](Self::on_failure) are told. On a process that is Closing already, it is dropped and not
    /// polled.
    ///
    /// # Errors
    ///
    /// [`Error::Background`] on the background.
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
    pub fn close_when<F>(&self, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        self.watch(self.heritage(), future)
    }

    /// Makes the teardown start only after `future` is ready, whatever its output, as with
    /// [`wait_for`](Self::wait_for).
    ///
    /// The future is polled on the spawner, as the body of a child that does not end before: closing does not
    /// drop it. An [`abort`](Self::abort) does.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown has started, [`Error::Background`] on the background. Then the
    /// future is dropped and not polled.
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
    pub fn wait_for_future<F>(&self, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        self.wait_on(self.heritage(), future)
    }

    fn watch<F>(&self, inherited: Option<Arc<Inherited>>, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        let seed = self.lend_name(Seed { inherited, body: true, ..Seed::default() });
        let watcher = Self::from_seed(seed);
        // A fresh process is on no cycle, and nobody waits for it: nothing is refused.
        let linked = link(&self.node, &watcher.node, EdgeKind::NoWaitChild);
        linked.into_iter().for_each(dispatch);
        // Not a handle, which would keep the process open.
        let node = self.node.clone();
        watcher.start(move |watcher| async move {
            if watcher.run_until_closing(future).await.is_some() {
                dispatch(node.close(Reason::Asked, false));
            }
        });
        Ok(())
    }

    fn wait_on<F>(&self, inherited: Option<Arc<Inherited>>, future: F) -> Result<(), Error>
    where
        F: Future + Send + 'static,
    {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        let waited_for = self.child_for(Seed { inherited, body: true, ..Seed::default() })?;
        waited_for.start(|_| async move { drop(future.await) });
        Ok(())
    }
}
