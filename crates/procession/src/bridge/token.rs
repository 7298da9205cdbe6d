//! tokio-util's `CancellationToken` on either side (feature `tokio-util`).
//!
//! There is no task and no thread in it: a token of a process is cancelled by the waker that the process
//! wakes, and what waits for a token is polled by whoever cancels that.

use std::sync::Arc;
use std::task::{Wake, Waker};

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::process::Process;
use crate::spawn::{Inline, Spawner};
use crate::state::{Event, Inherited};

impl Process {
    /// A token that is cancelled when this process is Closing (feature `tokio-util`).
    ///
    /// Cancelling it closes nothing, and does not touch the tokens of other calls.
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
        self.token(Event::Closing)
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
        self.token(Event::Closed)
    }

    /// Closes the process when `token` is cancelled: [`close_when`](Self::close_when), without a spawner
    /// (feature `tokio-util`).
    ///
    /// # Errors
    ///
    /// [`Error::Background`] on the background.
    ///
    /// ```
    /// use procession::Process;
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let (process, token) = (Process::new(), CancellationToken::new());
    /// process.close_when_cancelled(&token)?;
    /// token.cancel();
    /// assert!(process.is_closing());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_when_cancelled(&self, token: &CancellationToken) -> Result<(), Error> {
        self.watch(inline(), token.clone().cancelled_owned())
    }

    /// Makes the teardown start only after `token` is cancelled: [`wait_for_future`](Self::wait_for_future),
    /// without a spawner (feature `tokio-util`).
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
    /// assert!(process.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_for_cancelled(&self, token: &CancellationToken) -> Result<(), Error> {
        self.wait_on(inline(), token.clone().cancelled_owned())
    }

    /// One token for each event is kept with the process, so that a long-lived process does not grow (I12);
    /// what goes out are children of it, which tokio-util forgets when they are dropped.
    fn token(&self, event: Event) -> CancellationToken {
        let mut made = false;
        let token: CancellationToken = self.node.keep(event, || {
            made = true;
            CancellationToken::new()
        });
        if made {
            let waker = Waker::from(Arc::new(Cancel(token.clone())));
            if !self.node.register(event, &mut None, &waker) {
                token.cancel();
            }
        }
        token.child_token()
    }
}

fn inline() -> Option<Arc<Inherited>> {
    Some(Arc::new(Inherited { name: None, spawner: Some(Spawner::new(Inline)) }))
}

/// Cancels a token when it is woken.
struct Cancel(CancellationToken);

impl Wake for Cancel {
    fn wake(self: Arc<Self>) {
        self.0.cancel();
    }
}
