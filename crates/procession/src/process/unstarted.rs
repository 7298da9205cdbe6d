//! [`Unstarted`]: a process that was made with a body, before the body has started.

use std::future::Future;

use super::{Builder, Process};
use crate::run::body::{BodyEnd, ErrorRecipient};
use crate::value::{Error, IntoOutcome, LinkError, Site};

/// A process that waits for a body, and the duty to start that body. If it is dropped, the body counts as
/// [aborted](Error::Aborted).
///
/// It separates making a process, which is the same code for all bodies, from starting a body.
#[must_use = "start the body with `spawn` or `spawn_thread`; if this is dropped, the body counts as aborted"]
pub struct Unstarted {
    /// `None` once the body is started or cancelled.
    process: Option<Process>,
}

impl Unstarted {
    /// For a process that was made with a body.
    #[inline(always)]
    pub(super) fn new(process: Process) -> Self {
        Self { process: Some(process) }
    }

    /// A child of `parent` that was made at `site`, with everything else as in [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] if the teardown of `parent` has started.
    pub fn child_of(parent: &Process, site: Site) -> Result<Self, LinkError> {
        parent.unstarted_child(parent.seed_of_child(site))
    }

    /// The process that the builder makes.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    #[track_caller]
    pub fn from_builder(builder: Builder<'_>) -> Result<Self, LinkError> {
        builder.make_unstarted(Site::caller())
    }

    /// The process.
    ///
    /// # Panics
    ///
    /// Never: only the calls that take this value, and its drop, take the process out.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("only the drop, and calls that take this value, take it")
    }

    /// Starts an async body on the spawner of the process.
    #[inline]
    pub fn spawn<F, Fut>(self, body: F) -> Process
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let (process, end) = self.into_parts();
        process.start(end, body);
        process
    }

    /// Starts a blocking body on a thread.
    ///
    /// # Errors
    ///
    /// [`Error::NoThread`] if the OS cannot create a thread.
    pub fn spawn_thread<F, R>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.spawn_thread_handed(ErrorRecipient::Caller, body)
    }

    /// [`spawn_thread`](Self::spawn_thread), with an explicit recipient of the error if the OS cannot create a thread.
    pub(super) fn spawn_thread_handed<F, R>(
        self,
        error_to: ErrorRecipient,
        body: F,
    ) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let (process, end) = self.into_parts();
        process.start_thread(end, error_to, body)?;
        Ok(process)
    }

    /// The process, and the report of the end of its body.
    #[inline(always)]
    pub(super) fn into_parts(mut self) -> (Process, BodyEnd) {
        let process = self.process.take().expect("it is taken by value");
        let end = BodyEnd::of(process.node.clone());
        (process, end)
    }

    /// There will be no body, because the process was refused its parent.
    pub(super) fn cancel(self) {
        self.into_parts().1.cancel_body();
    }
}

impl Drop for Unstarted {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            drop(BodyEnd::of(process.node.clone()));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_never_started_counts_as_aborted() {
        let app = Process::new();
        let unstarted = Unstarted::child_of(&app, Site::caller()).unwrap();
        let process = unstarted.process().clone();
        app.close();
        assert!(!app.is_closed(), "it waits for the body");
        drop(unstarted);
        assert!(matches!(process.outcome(), Some(Err(Error::Aborted(_)))), "{process:?}");
        assert!(app.is_closed());
    }
}
