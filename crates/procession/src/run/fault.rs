//! [`Fault`]: the faults that a test can inject, and the places where they strike (feature `test-faults`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::{Event, Listener};

use super::Node;

/// A place where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultPlace {
    /// A body begins.
    Body,
    /// A teardown begins.
    Teardown,
    /// A body or a teardown is given to a spawner.
    Spawner,
}

/// A fault that a test injects.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The body or teardown panics with this message instead of running. The panic hook is not called.
    Panic(String),
    /// A teardown returns this error instead of running.
    Fail(String),
    /// A body returns `Ok` instead of running.
    EndEarly,
    /// A body that ends after it was asked to close is reported as ended only when it is aborted.
    IgnoreClosing,
    /// A teardown runs only after the gate was opened.
    Hang(Arc<Gate>),
    /// The spawner drops the job.
    DropJob,
}

/// Keeps teardowns waiting until it is opened. The wait is not recorded as a wait for a process, so a report names the
/// teardown as the blocker.
#[derive(Debug, Default)]
pub struct Gate {
    is_open: AtomicBool,
    opened: Event,
}

/// The function that decides which fault strikes.
pub(crate) type FaultHook = Box<dyn Fn(FaultPlace, &Arc<Node>) -> Option<Fault> + Send + Sync>;

impl Gate {
    /// Opens it for ever.
    pub fn open(&self) {
        // Paired with the load after `listen`: a listener either sees this or is notified.
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.notify(usize::MAX);
    }

    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }

    pub(super) fn wait(&self) {
        while !self.is_open() {
            let listener = self.opened.listen();
            if !self.is_open() {
                listener.wait();
            }
        }
    }

    pub(super) async fn opened(&self) {
        while !self.is_open() {
            let listener = self.opened.listen();
            if !self.is_open() {
                listener.await;
            }
        }
    }
}
