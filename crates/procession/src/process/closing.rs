//! Closing and aborting a process.

use std::time::Duration;

use super::{Closed, Process};
use crate::run::abort::{ReportedBy, close};
use crate::run::{deadlines, perform};
use crate::value::Reason;
use crate::value::model::model_has_failed;

impl Process {
    /// Begins to close the process and everything below it, and returns at once.
    ///
    /// The closing goes on even if the returned waiter is dropped. Closing again changes nothing. This is safe inside
    /// `Drop`, in an executor's poll, and while you hold locks, because teardowns run on other threads.
    ///
    /// | call or setting | effect on bodies | bound |
    /// |---|---|---|
    /// | `close` | they are asked to end | none |
    /// | [`close_within`](Self::close_within) | they are asked to end, and aborted after the grace | the grace of this call |
    /// | [`abort`](Self::abort) | async bodies are dropped, thread bodies are asked a second time | none |
    /// | `Main::grace` | as with `close_within`, for all bodies of the program | the grace; the program ends after the abort grace |
    /// | `Policy::grace` (`procession-supervisor`) | as with `close_within`, for each unit | the grace |
    ///
    /// An outer grace must be longer than the inner ones together, or it aborts what is still within its own grace.
    ///
    /// # Ordering
    ///
    /// If this call begins the closing, everything that this thread did before happens before whatever runs because the
    /// process is Closing: code after [`closing`](Self::closing) has resolved, code after
    /// [`is_closing`](Self::is_closing) has returned `true`, and teardowns.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// process.close();
    /// assert!(process.is_closing());
    /// # futures_lite::future::block_on(async {
    /// process.close().await
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close(&self) -> Closed {
        self.begin(&Reason::Asked, false);
        self.closed()
    }

    /// Makes the process close as soon as it waits for nothing, so that its children and its body can finish. Until
    /// then, it is Running, and more children can be added.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let batch = Process::new();
    /// let job = batch.spawn_thread(|_| println!("to the end"))?;
    /// batch.close_after_children().wait()?;
    /// assert!(job.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_after_children(&self) -> Closed {
        if !self.node.is_background() {
            perform(self.node.close_after_children());
        }
        self.closed()
    }

    /// Begins to close the process, and aborts it if it is not Closed after `grace`. If it had to be aborted, its
    /// outcome contains [`Error::Forced`](crate::Error::Forced), with the names of the items that did not end in time.
    ///
    /// The deadline stays even if the returned waiter is dropped. If the process is aborted earlier, by a call or by
    /// another deadline, this deadline adds nothing to the outcome.
    ///
    /// ```
    /// use procession::{Error, Process};
    /// use std::time::Duration;
    ///
    /// let process = Process::new();
    /// let stubborn = process.spawn(|_| std::future::pending::<()>())?;
    /// let outcome = process.close_within(Duration::from_millis(10)).wait();
    /// assert!(matches!(outcome, Err(Error::Forced(_))));
    /// assert!(matches!(stubborn.outcome(), Some(Err(Error::Aborted(_)))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close_within(&self, grace: Duration) -> Closed {
        let closed = self.close();
        if !self.is_closed() && !self.node.is_background() {
            deadlines::abort_after(&self.node, grace);
        }
        closed
    }

    /// Begins to close the process and everything below it by force, and returns at once. Async bodies are dropped,
    /// with the outcome [`Error::Aborted`](crate::Error::Aborted); thread bodies see [`aborting`](Self::aborting).
    /// Teardowns run as usual.
    ///
    /// If the process is already Closing, the rest of the closing is forced. A process that must
    /// [close after](Self::close_after) another is aborted together with its parents only when its turn comes.
    ///
    /// ```
    /// use procession::{Error, Process};
    ///
    /// let process = Process::new();
    /// let stubborn = process.spawn(|_| std::future::pending::<()>())?;
    /// process.abort().wait()?;
    /// assert!(matches!(stubborn.outcome(), Some(Err(Error::Aborted(_)))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn abort(&self) -> Closed {
        self.begin(&Reason::Asked, true);
        self.closed()
    }

    /// Begins to close or abort the process, unless it is the background process.
    pub(crate) fn begin(&self, reason: &Reason, abort: bool) {
        if model_has_failed() {
            return;
        }
        if !self.node.is_background() && (abort || !self.is_closing()) {
            perform(close(&self.node, reason, abort, ReportedBy::Event));
        }
    }
}
