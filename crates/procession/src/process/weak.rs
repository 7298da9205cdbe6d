//! [`WeakProcess`]: refers to a process without keeping it open.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use super::Process;
use crate::run::Node;

/// Refers to a process without being a handle: it keeps no process open.
///
/// Made by [`Process::downgrade`]. Use it, for example, in a table of processes, in the process's own teardown, or in a
/// callback that the process's owner keeps. Like handles, two of them are equal if they refer to the same process.
///
/// ```
/// use procession::Process;
///
/// let session = Process::new();
/// let weak = session.downgrade();
/// assert_eq!(weak.upgrade().as_ref(), Some(&session));
///
/// drop(session); // the last handle: the process closes
/// assert!(weak.upgrade().is_none());
/// ```
#[derive(Clone)]
pub struct WeakProcess {
    node: Weak<Node>,
}

impl WeakProcess {
    /// A handle to the process, whatever its phase; `None` if nothing refers to the process any more.
    ///
    /// Handles, waiters and open parents refer to a process. So the result may be a handle to a Closed process, whose
    /// outcome can still be read. A call that races with the drop of the last handle may return a handle to a process
    /// that closes nevertheless.
    ///
    /// ```
    /// use procession::{Process, Reason};
    ///
    /// let session = Process::new();
    /// let (weak, closed) = (session.downgrade(), session.closed());
    /// drop(session);
    /// closed.wait()?;
    /// // The waiter still refers to it.
    /// assert_eq!(weak.upgrade().and_then(|session| session.reason()), Some(Reason::Dropped));
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    pub fn upgrade(&self) -> Option<Process> {
        // The drop of the last handle may have counted down to 0, and be about to close the process. Then the count is
        // 1 again, and the process still closes once, because closing looks at the phase under the lock.
        self.node.upgrade().map(Process::of_node)
    }
}

impl Process {
    /// Refers to the process without keeping it open.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let server = Process::new();
    /// let weak = server.downgrade();
    /// // A handle in its own teardown would keep the process open.
    /// server.set_teardown(move || assert!(weak.upgrade().is_some_and(|server| server.is_closing())))?;
    /// let closed = server.closed();
    /// drop(server);
    /// closed.wait()?;
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    pub fn downgrade(&self) -> WeakProcess {
        WeakProcess { node: Arc::downgrade(&self.node) }
    }
}

impl PartialEq for WeakProcess {
    fn eq(&self, other: &Self) -> bool {
        self.node.ptr_eq(&other.node)
    }
}

impl Eq for WeakProcess {}

impl Hash for WeakProcess {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.as_ptr().hash(state);
    }
}

impl fmt::Debug for WeakProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.node.upgrade().map(|node| node.label());
        f.debug_tuple("WeakProcess").field(&label).finish()
    }
}
