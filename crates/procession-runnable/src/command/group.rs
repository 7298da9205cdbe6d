//! [`Group`]: the process group of a program.

use procession::BoxError;
use rustix::process::{Pid, Signal, kill_process_group};

/// The process group whose leader is a program that this one has started.
///
/// Signals reach only the program and the programs that it has started, *because* they are sent before the program is
/// known to have ended or immediately afterwards, and the kernel reuses a process id only after it has used all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(Pid);

impl Group {
    /// The group of the program with this process id.
    pub(super) fn of(program: u32) -> Option<Self> {
        i32::try_from(program).ok().and_then(Pid::from_raw).map(Self)
    }

    /// Sends a signal to all processes of the group. If none is left, nothing happens.
    pub(super) fn signal(self, signal: Signal) -> Result<(), BoxError> {
        match kill_process_group(self.0, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            // The program may have changed its user id.
            Err(error) => Err(error.into()),
        }
    }

    /// Ends all processes of the group.
    pub(super) fn kill(self) {
        // An error means that no process is left, or that the remaining ones belong to another user.
        let _ended = kill_process_group(self.0, Signal::KILL);
    }
}
