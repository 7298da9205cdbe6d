//! What can be seen of a process.

use std::fmt;
use std::sync::Arc;

use super::Process;
use crate::error::Error;
use crate::name::{Label, ProcessId};
use crate::phase::Phase;
use crate::reason::Reason;
use crate::wait::{Aborting, Closed, Closing};

impl Process {
    /// The phase. One atomic load.
    ///
    /// ```
    /// use procession::{Phase, Process};
    ///
    /// let process = Process::new();
    /// assert_eq!(process.phase(), Phase::Running);
    /// process.close();
    /// assert_eq!(process.phase(), Phase::Closed); // it had nothing to wait for
    /// ```
    pub fn phase(&self) -> Phase {
        self.node.phase()
    }

    /// Is the process Closing or Closed? One atomic load, for the inside of loops.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let counter = process.spawn_thread(|p| {
    ///     let mut count = 0_u64;
    ///     while !p.is_closing() {
    ///         count += 1;
    ///     }
    /// })?;
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.node.phase() != Phase::Running
    }

    /// Is the process Closed? One atomic load.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.node.phase() == Phase::Closed
    }

    /// Is or was the process closed by force? One atomic load.
    #[inline]
    pub fn is_aborting(&self) -> bool {
        self.node.is_aborting()
    }

    /// A waiter for Closing.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let worker = process.spawn_thread(|p| p.closing().wait())?;
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn closing(&self) -> Closing {
        Closing::new(&self.node)
    }

    /// A waiter for Closed; it does not close the process.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let job = process.spawn(|_| async { println!("done") })?;
    /// job.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn closed(&self) -> Closed {
        Closed::new(&self.node)
    }

    /// A waiter for an [`abort`](Self::abort): the moment from which a thread body should no longer be
    /// polite.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// let process = Process::new();
    /// let flusher = process.spawn_thread(|p| {
    ///     p.closing().wait();
    ///     while p.aborting().wait_timeout(Duration::from_millis(1)).is_none() {
    ///         // flush a little more
    ///     }
    /// })?;
    /// process.close_within(Duration::from_millis(5)).wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn aborting(&self) -> Aborting {
        Aborting::new(&self.node)
    }

    /// The outcome once the process is Closed: `Ok`, or the error of its body, its teardown, or both. It
    /// never changes.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::with_teardown(|| Err("disk full"));
    /// assert!(process.outcome().is_none());
    /// let error = process.close_blocking().unwrap_err();
    /// assert_eq!(process.outcome().unwrap().unwrap_err().to_string(), error.to_string());
    /// ```
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        self.node.outcome()
    }

    /// Why the process began to close; `None` while it is Running.
    ///
    /// ```
    /// use procession::{Process, Reason};
    ///
    /// let process = Process::new();
    /// let body = process.spawn_thread(|_| Err("broken"))?;
    /// assert!(body.closed().wait().is_err());
    /// assert_eq!(body.reason(), Some(Reason::BodyFailed));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn reason(&self) -> Option<Reason> {
        self.node.reason()
    }

    /// The name given with [`Builder::name`](crate::Builder::name). The process of a spawned body goes by the
    /// name of its parent.
    pub fn name(&self) -> Option<Arc<str>> {
        self.node.name()
    }

    /// The id: equal for handles of one process.
    pub fn id(&self) -> ProcessId {
        self.node.id()
    }

    /// What errors call the process: its name, or else its id.
    pub fn label(&self) -> Label {
        self.node.label()
    }
}

/// Says also what a process that is not Closed waits for: the first thing to print when a shutdown hangs.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let (shown, waiting) = self.node.waiting_for(SHOWN);
        let mut debug = f.debug_struct("Process");
        if let Some(name) = self.name() {
            debug.field("name", &name);
        }
        debug.field("id", &self.id()).field("phase", &self.phase());
        if let Some(reason) = self.reason() {
            debug.field("reason", &reason);
        }
        if waiting > 0 {
            debug.field("waits_for", &waiting).field("of_these", &shown);
        }
        debug.finish()
    }
}
