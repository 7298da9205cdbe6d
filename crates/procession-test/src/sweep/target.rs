//! [`Target`]: a name for a process that is the same in each run.

use std::fmt;

/// A process that a fault can strike: its path, the place where it was made, and a number that distinguishes processes
/// for which both are the same. Their numbers are in the order in which their code first ran.
///
/// Its `Display` is the path, followed by the number if that is not the first: `app/session#2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target {
    pub(super) path: String,
    pub(super) site: String,
    pub(super) number: usize,
}

impl Target {
    /// Does this text of a user name the process?
    pub(super) fn is(&self, text: &str) -> bool {
        self.to_string() == text
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.number > 1 {
            write!(f, "#{}", self.number)?;
        }
        Ok(())
    }
}
