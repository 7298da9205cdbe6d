//! The inbox of the manager, for the model checks of this workspace. It is not part of the public interface.

use std::sync::Arc;
use std::task::Waker;

use crate::engine::inbox;

/// The inbox, for commands `C`.
pub struct Inbox<C>(Arc<inbox::Inbox<C>>);

/// The watcher of a run: its waker adds the run to the inbox.
pub struct Watcher<C>(Arc<inbox::Watcher<C>>);

impl<C: Send + 'static> Inbox<C> {
    /// A closed inbox.
    pub fn new() -> Self {
        Self(inbox::Inbox::new())
    }

    /// Accepts commands from now on.
    pub fn open(&self) {
        self.0.open();
    }

    /// Rejects commands from now on, and drops the queued ones.
    pub fn close(&self) {
        self.0.close();
    }

    /// Returns whether the inbox accepts commands.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Queues a command.
    ///
    /// # Errors
    ///
    /// Returns the command if the inbox is closed.
    pub fn command(&self, command: C) -> Result<(), C> {
        self.0.command(command)
    }

    /// Takes the queued commands, and returns the number of woken runs.
    pub fn take(&self, waker: &Waker) -> (Vec<C>, usize) {
        let (commands, woken) = self.0.take(waker);
        (commands, woken.len())
    }

    /// Makes the watcher of a run.
    pub fn watcher(&self) -> Watcher<C> {
        let run = inbox::RunId { unit: 0, number: 1 };
        Watcher(inbox::Watcher::new(self.0.clone(), run))
    }
}

impl<C: Send + 'static> Default for Inbox<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Clone for Inbox<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Send + 'static> Watcher<C> {
    /// The waker of the run.
    pub fn waker(&self) -> Waker {
        Waker::from(self.0.clone())
    }

    /// Call this right before looking at the run.
    pub fn rearm(&self) {
        self.0.rearm();
    }
}
