//! The inbox of the manager, for the model checks of this workspace. It is not part of the public interface.

use std::sync::Arc;
use std::task::Waker;

use procession::support::{Listener, RunEvent, RunId, wake_sleeper};

use crate::engine::inbox;

/// The inbox, for commands `C`.
pub struct Inbox<C>(Arc<inbox::Inbox<C>>);

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

    /// Takes everything out of the inbox, and returns the commands and the number of reports.
    pub fn take(&self, waker: &Waker) -> (Vec<C>, usize) {
        let (commands, reports) = self.0.take(waker);
        (commands, reports.len())
    }

    /// A run reports that it is ready.
    pub fn tell(&self) {
        let sleeper = self.0.notify(RunId { unit: 0, number: 1 }, RunEvent::Ready);
        wake_sleeper(sleeper);
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
