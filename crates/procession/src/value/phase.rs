//! [`Phase`]: the phase of a process.

/// The phase of a process: Running, then Closing, then Closed, never back.
///
/// The order of the variants is the order in time, so phases can be compared:
///
/// ```
/// use procession::{Phase, Process};
///
/// let process = Process::new();
/// assert_eq!(process.phase(), Phase::Running);
/// process.close_blocking()?;
/// assert!(process.phase() > Phase::Closing);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The process is at work: children, edges and bodies can be added.
    Running,
    /// The process was asked to end: its children are closed, it waits for them, for its body and along its wait-for
    /// edges, and then its teardown runs.
    Closing,
    /// The process has ended: everything that it waited for is Closed, and its teardown has run.
    Closed,
}
