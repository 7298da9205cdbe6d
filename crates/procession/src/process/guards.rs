//! Guards: [`CloseOnDrop`] and [`AbortOnDrop`] close or abort their process when they are dropped.

use std::fmt;

use super::Process;
use crate::value::Reason;

impl Process {
    /// A guard that closes the process when it is dropped, unless it is [disarmed](CloseOnDrop::disarm).
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// {
    ///     let _guard = process.clone().close_on_drop();
    /// }
    /// assert!(process.is_closing());
    /// ```
    pub fn close_on_drop(self) -> CloseOnDrop {
        CloseOnDrop(Guard { process: self, begins: Some(Begin::Close) })
    }

    /// A guard that [aborts](Self::abort) the process when it is dropped, unless it is
    /// [disarmed](AbortOnDrop::disarm).
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// {
    ///     let _guard = process.clone().abort_on_drop();
    /// }
    /// assert!(process.is_aborting());
    /// ```
    pub fn abort_on_drop(self) -> AbortOnDrop {
        AbortOnDrop(Guard { process: self, begins: Some(Begin::Abort) })
    }
}

/// Closes its process when it is dropped. Made by [`Process::close_on_drop`].
#[must_use = "the process closes at once if the guard is dropped: keep it in a variable"]
pub struct CloseOnDrop(Guard);

/// Aborts its process when it is dropped. Made by [`Process::abort_on_drop`].
#[must_use = "the process is aborted at once if the guard is dropped: keep it in a variable"]
pub struct AbortOnDrop(Guard);

/// The common part of both guards.
struct Guard {
    process: Process,
    /// `None` once the guard is disarmed.
    begins: Option<Begin>,
}

enum Begin {
    Close,
    Abort,
}

impl CloseOnDrop {
    /// The process.
    pub fn process(&self) -> &Process {
        &self.0.process
    }

    /// Disarms the guard, and returns the process without closing it.
    ///
    /// ```
    /// use procession::{LinkError, Process};
    ///
    /// /// Closes what it has made if it returns early.
    /// fn start(app: &Process) -> Result<Process, LinkError> {
    ///     let guard = app.child().close_on_drop();
    ///     guard.process().wait_for(&Process::new())?;
    ///     Ok(guard.disarm())
    /// }
    ///
    /// let app = Process::new();
    /// assert!(!start(&app)?.is_closing());
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    pub fn disarm(self) -> Process {
        self.0.disarm()
    }
}

impl AbortOnDrop {
    /// The process.
    pub fn process(&self) -> &Process {
        &self.0.process
    }

    /// Disarms the guard, and returns the process without aborting it.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let guard = Process::new().abort_on_drop();
    /// assert!(!guard.disarm().is_closing());
    /// ```
    pub fn disarm(self) -> Process {
        self.0.disarm()
    }
}

impl Guard {
    fn disarm(mut self) -> Process {
        self.begins = None;
        self.process.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(begin) = &self.begins {
            self.process.begin(&Reason::Asked, matches!(begin, Begin::Abort));
        }
    }
}

impl fmt::Debug for CloseOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CloseOnDrop").field(self.process()).finish()
    }
}

impl fmt::Debug for AbortOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AbortOnDrop").field(self.process()).finish()
    }
}
