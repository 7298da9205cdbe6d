//! Bodies on threads, and closing on the caller's own thread.

use super::Process;
use crate::run::body::{BodyEnd, ErrorRecipient};
use crate::run::foreign::Foreign;
use crate::run::waits::begin_wait;
use crate::run::{Effects, perform, perform_here};
use crate::value::sync::spawn_thread_with;
use crate::value::{Error, IntoOutcome, Reason, Site};

impl Process {
    /// Runs `body` on a new thread, as a child of this process. The child is Closed once the body has returned, the
    /// child's own children are Closed, and its teardown has run.
    ///
    /// The child has no name, so the thread is named after the file and line of this call; with
    /// [`Builder::spawn_thread`](crate::Builder::spawn_thread), after the process. The body is given the child: its
    /// [`closing`](Self::closing) asks the body to end, and its [`aborting`](Self::aborting) to end at once. A body
    /// that returns `Ok` lets the child's children finish; one that fails or panics closes them. If this process is
    /// Closing, the body runs with a child that is Closing from the start.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of this process has started, [`Error::NoThread`] if the OS cannot create a
    /// thread. Then the body is not run.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let poller = app.spawn_thread(|p| {
    ///     while p.closing().wait_timeout(Duration::from_millis(1)).is_none() {
    ///         // poll something
    ///     }
    ///     procession::ok()
    /// })?;
    /// app.close_blocking()?;
    /// assert!(poller.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_thread<F, R>(&self, body: F) -> Result<Self, Error>
    where
        F: FnOnce(Self) -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.spawn_thread_at(Site::caller(), ErrorRecipient::Caller, body)
    }

    /// [`spawn_thread`](Self::spawn_thread), with an explicit site.
    pub(crate) fn spawn_thread_at<F, R>(
        &self,
        site: Site,
        error_to: ErrorRecipient,
        body: F,
    ) -> Result<Self, Error>
    where
        F: FnOnce(Self) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let (child, end) = self.child_with_body(site)?;
        child.start_thread(end, error_to, body)?;
        Ok(child)
    }

    /// Starts the body that this process was made with, on a thread of its own.
    pub(crate) fn start_thread<F, R>(
        &self,
        end: BodyEnd,
        error_to: ErrorRecipient,
        body: F,
    ) -> Result<(), Error>
    where
        F: FnOnce(Self) -> R + Send + 'static,
        R: IntoOutcome,
    {
        end.mark_thread_body();
        let work = (end, Foreign::new((self.clone(), body)));
        let run = |(end, work): (BodyEnd, Foreign<(Self, F)>)| {
            let (process, body) = work.into_inner();
            end.run(|| body(process));
        };
        let spawned = spawn_thread_with(Some(&self.node.segment().thread_name()), work, run);
        spawned.map_err(|(error, (end, _work))| end.refuse_thread(error, error_to))
    }

    /// Closes the process, and returns its outcome once it is Closed.
    ///
    /// If this call begins the closing, the blocking teardowns that become due because of it, except those of other
    /// spawners and of no-wait children, run on this thread. Other threads help if a teardown holds it up.
    ///
    /// # Errors
    ///
    /// Those of the outcome; [`Error::Deadlock`] at once if the process waits for the caller, as with
    /// [`Closed::wait`](crate::Closed::wait), although the closing has then begun; [`Error::Background`] on the
    /// background process.
    #[doc = include_str!("../../docs/blocking.md")]
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::with_teardown(|| println!("on this thread"));
    /// process.close_blocking()?;
    /// assert!(process.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_blocking(&self) -> Result<(), Error> {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        let effects = if self.is_closing() {
            Effects::default()
        } else {
            self.node.close(&Reason::Asked, false)
        };
        if self.is_closed() {
            perform(effects);
        } else {
            match begin_wait(&self.node) {
                // The edges also exist while this thread runs teardowns, which may wait for other processes.
                Ok(_edges) => perform_here(effects, &self.node),
                Err(deadlock) => {
                    perform(effects);
                    return Err(deadlock);
                }
            }
        }
        self.closed().wait()
    }
}
