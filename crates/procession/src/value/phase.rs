//! [`Phase`]: where a process stands.

/// Where a process stands: Running, then Closing, then Closed, never back.
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
    /// At work: children, edges and bodies can be added.
    Running,
    /// Asked to end: its children are closed, and it waits for them and for its body; then its teardown runs.
    Closing,
    /// At the end: everything it waited for is Closed, and its teardown has run.
    Closed,
}
