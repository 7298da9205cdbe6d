//! [`ChildFailure`]: the reaction of a process to the failure of a child.

/// The reaction of a process to the failure of a child. A child fails if its body or teardown returns an error, panics,
/// or is dropped before its end. Set with [`Builder::on_child_failure`](crate::Builder::on_child_failure).
///
/// ```
/// use procession::{ChildFailure, Process, Reason};
///
/// let app = Process::builder().name("app").on_child_failure(ChildFailure::Close).build()?;
/// let worker = Process::builder().name("worker").parent(&app).build()?;
/// worker.set_teardown(|| Err("disk full"))?;
/// worker.close();
///
/// let error = app.closed().wait().unwrap_err();
/// assert_eq!(error.with_causes().to_string(), "process `worker` failed: disk full");
/// assert_eq!(app.reason(), Some(Reason::ChildFailed(worker.label())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChildFailure {
    /// The process goes on, and the failure is reported unless something else handles it.
    ///
    /// A failure is handled by a [hook](crate::Process::on_failure) on the child or above it, by another parent that
    /// ignores it or closes for it, or by the caller that it is handed to: the owner of a [`Task`](crate::Task), or of
    /// the future of [`Process::run`](crate::Process::run). A failure of a root is left to the code that has a handle
    /// to the root, or a waiter for its end; when the last of these is dropped and none has read the outcome, the
    /// failure is reported. Any other failure is reported at once: as the `tracing` event `failed` or, in a program
    /// that runs [`main`](crate::main()) and has no subscriber for it, on standard error. Such a program then exits
    /// with status 1, unless a signal or a grace determines its [exit status](crate::Exit::code).
    #[default]
    Report,
    /// The process goes on. The error is part of the child's outcome, and the hooks are called.
    Ignore,
    /// The process closes at once, with reason [`Reason::ChildFailed`](crate::Reason::ChildFailed); the child's error
    /// is part of its outcome. So are the errors of children that fail while it closes. A child whose work is
    /// [dropped](crate::Error::Aborted) because this process was aborted does not count as failed.
    ///
    /// The process has then failed too, and its own parents react to that in turn.
    Close,
}
