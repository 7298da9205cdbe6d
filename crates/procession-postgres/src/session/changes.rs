//! Waiting for a change: notified, or by looking at a counter.
//!
//! A sequence counts the changes, next to the notifications, so that sessions of both sorts can share a table. It
//! counts a change shortly before the transaction commits. A session that sees it too early finds nothing, and so it
//! reports each change a second time after the next look.

use std::thread;
use std::time::{Duration, Instant};

use postgres::fallible_iterator::FallibleIterator;
use procession_supervisor::shared::TableError;

use super::PostgresSession;
use crate::error::failed;

/// The time between two looks at the counter: an idle manager sends 24 other statements a minute, and should send
/// fewer than 60 altogether.
const EVERY: Duration = Duration::from_secs(2);

/// The longest wait. It may end early, and the clock cannot add any duration.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) enum Changes {
    /// Nobody has asked for changes yet, so the server sends none: nobody would read them.
    Unwatched,
    /// The session listens.
    Notified,
    /// The session looks.
    Counted {
        /// The counter at the last look.
        seen: i64,
        /// It had changed then.
        again: bool,
        /// When to look again.
        next: Instant,
    },
}

impl PostgresSession {
    /// Begins to watch for changes.
    fn watch_changes(&mut self) -> Result<(), TableError> {
        if self.connection.about.is_poll_only {
            let (seen, next) = (self.count_changes()?, Instant::now() + EVERY);
            self.changes = Changes::Counted { seen, again: false, next };
            return Ok(());
        }
        let listen = format!("listen {}", self.connection.about.names.channel());
        self.connection.client.batch_execute(&listen).map_err(failed)?;
        self.changes = Changes::Notified;
        Ok(())
    }

    pub(super) fn wait_for_change(&mut self, timeout: Duration) -> Result<bool, TableError> {
        let timeout = timeout.min(LONGEST);
        match self.changes {
            Changes::Unwatched => self.watch_changes().map(|()| true),
            Changes::Notified => self.wait_for_notification(timeout),
            Changes::Counted { next, .. } => {
                let left = next.saturating_duration_since(Instant::now());
                if left > timeout {
                    thread::sleep(timeout);
                    return Ok(false);
                }
                thread::sleep(left);
                let count = self.count_changes()?;
                Ok(self.has_changed(count))
            }
        }
    }

    fn wait_for_notification(&mut self, timeout: Duration) -> Result<bool, TableError> {
        let mut notifications = self.connection.client.notifications();
        let first = notifications.timeout_iter(timeout).next().map_err(failed)?;
        // All that came with it are the same change to the caller.
        while !notifications.is_empty() {
            notifications.iter().next().map_err(failed)?;
        }
        drop(notifications);
        if self.connection.client.is_closed() {
            return Err(TableError::Unavailable("the server has closed the connection".into()));
        }
        Ok(first.is_some())
    }

    fn count_changes(&mut self) -> Result<i64, TableError> {
        let rows =
            self.connection.query("select last_value + is_called::int from {s}.changes", &[])?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// Takes note of the counter, and returns whether to report a change.
    fn has_changed(&mut self, count: i64) -> bool {
        let Changes::Counted { seen, again, next } = &mut self.changes else { return false };
        let (is_new, was_new) = (*seen != count, *again);
        (*seen, *again, *next) = (count, is_new, Instant::now() + EVERY);
        is_new || was_new
    }
}
