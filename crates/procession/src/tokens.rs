//! Bridges to and from tokio-util's `CancellationToken` (feature `tokio-util`).
//!
//! A token of a process needs no task and no thread, because a sleeper of the process cancels it. The wait of a process
//! for a token is polled on the shared executor.

use std::sync::Arc;
use std::task::{Wake, Waker};

use tokio_util::sync::CancellationToken;

use crate::process::Process;
use crate::run::{Seed, register};
use crate::state::Moment;
use crate::value::{Error, Site};

impl Process {
    /// A token that is cancelled when this process is Closing (feature `tokio-util`).
    ///
    /// Cancelling the token closes nothing, and does not affect the tokens that other calls return.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let token = process.closing_token();
    /// process.close();
    /// assert!(token.is_cancelled());
    /// ```
    pub fn closing_token(&self) -> CancellationToken {
        self.token(Moment::Closing)
    }

    /// A token that is cancelled when this process is Closed (feature `tokio-util`).
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let token = process.closed_token();
    /// process.close_blocking()?;
    /// futures_lite::future::block_on(token.cancelled());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn closed_token(&self) -> CancellationToken {
        self.token(Moment::Closed)
    }

    /// Closes the process soon after `token` is cancelled (feature `tokio-util`). This is
    /// [`close_when`](Self::close_when) for tokens, but uses the shared executor instead of the spawner.
    ///
    /// # Errors
    ///
    /// [`Error::Background`] on the background process.
    ///
    /// ```
    /// use procession::Process;
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let (process, token) = (Process::new(), CancellationToken::new());
    /// process.close_when_cancelled(&token)?;
    /// token.cancel();
    /// process.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn close_when_cancelled(&self, token: &CancellationToken) -> Result<(), Error> {
        self.watch(Seed::at(Site::caller()), token.clone().cancelled_owned())
    }

    /// Makes the teardown of this process start only after `token` is cancelled (feature `tokio-util`). This is
    /// [`wait_for_future`](Self::wait_for_future) for tokens, but uses the shared executor instead of the spawner.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for_future`](Self::wait_for_future).
    ///
    /// ```
    /// use procession::Process;
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let (process, token) = (Process::new(), CancellationToken::new());
    /// process.wait_for_cancelled(&token)?;
    /// process.close();
    /// assert!(!process.is_closed());
    /// token.cancel();
    /// process.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_for_cancelled(&self, token: &CancellationToken) -> Result<(), Error> {
        self.wait_on(Seed::at(Site::caller()), token.clone().cancelled_owned())
    }

    /// The process keeps only one token for each moment, so a long-lived process does not grow (I12). The returned
    /// tokens are children of that token, which tokio-util removes when they are dropped.
    fn token(&self, moment: Moment) -> CancellationToken {
        let (token, is_new) = self.node.keep_token(moment, CancellationToken::new());
        if is_new {
            let waker = Waker::from(Arc::new(Cancel(token.clone())));
            if !register(&self.node, moment, &mut None, &waker) {
                token.cancel();
            }
        }
        let child = token.child_token();
        // The walk that cancels the token may still be under way.
        if self.node.has_come(moment) {
            child.cancel();
        }
        child
    }
}

/// Cancels a token when it is woken.
struct Cancel(CancellationToken);

impl Wake for Cancel {
    fn wake(self: Arc<Self>) {
        self.0.cancel();
    }
}
