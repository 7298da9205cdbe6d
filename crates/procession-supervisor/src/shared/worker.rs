//! The thread that does everything with the table except renewals: it claims units, reads the orders for them, records
//! what happens to them, and releases them.
//!
//! 1. A unit is released after all its records. Argument: both go through one queue, and a write that fails is repeated
//!    before the next one.
//! 2. Nothing that is queued before the end of the manager is lost while the lease lasts. Argument: the thread ends only
//!    after the last message, when nobody can send any more, or when the lease has ended; after that, the store refuses
//!    everything.
//! 3. The lease ends with the thread. Argument: [`Worker::work`] ends it, even if the store panics.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::keeper::Ending;
use super::lease::Term;
use super::manager::Settings;
use super::table::{Claimed, Order, Record, Session, SharedTable, TableError, Token};
use crate::engine::Shared;
use crate::engine::inbox::Inbox;
use crate::error::SharedError;
use crate::event::Happening;

/// How long the thread waits for a change before it looks at its queue.
const SLICE: Duration = Duration::from_millis(25);
/// The minimum time between two looks at the table. Each record of each manager is a change, so without it the cost
/// would grow with the product of both.
const APART: Duration = Duration::from_millis(50);
/// The maximum number of units that are claimed in one call.
const BATCH: usize = 500;

/// What the thread tells the manager.
pub(super) enum FromTable {
    Claimed(Vec<Claimed>),
    Orders(Vec<Order>),
    /// The claim of this unit is over.
    Lost(String, Token),
    /// The manager owns this many units more than its share.
    Surplus(usize),
    /// The table has been read once.
    Looked,
}

/// What the manager tells the thread.
pub(super) enum ToTable {
    Record(String, Token, Record),
    Release(String, Token),
    /// The last message. If `leaves` is not set, units have not ended, and keep the lease until it runs out.
    Finish {
        leaves: bool,
    },
}

pub(super) struct Worker<'a> {
    pub(super) table: &'a dyn SharedTable,
    pub(super) settings: &'a Settings,
    pub(super) shared: &'a Shared<String>,
    pub(super) term: &'a Term,
    pub(super) to: &'a Inbox<FromTable>,
    pub(super) from: mpsc::Receiver<ToTable>,
}

impl Worker<'_> {
    /// Works until the manager has finished or its lease has ended.
    pub(super) fn work(self) {
        let _ending = Ending(self.term);
        let policy = &self.shared.about.policy;
        let (mut queue, mut pauses) = (VecDeque::new(), policy.pauses());
        while self.goes_on(&queue) {
            let mut has_looked = false;
            let served = self
                .table
                .open()
                .and_then(|mut session| self.serve(&mut *session, &mut queue, &mut has_looked));
            let error = match served {
                Ok(()) | Err(TableError::Refused) => return,
                Err(error) => Arc::new(error) as SharedError,
            };
            if has_looked {
                pauses = policy.pauses();
            }
            let delay = policy.next(&mut pauses);
            self.shared.events.tell(None, Happening::ScanFailed { error, delay });
            // Another session may succeed where this one could not.
            match self.from.recv_timeout(delay) {
                Ok(next) => queue.push_back(next),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(delay),
            }
        }
    }

    /// In a store whose leases do not end by time, nobody else can free the units of a manager that only wants to leave.
    fn goes_on(&self, queue: &VecDeque<ToTable>) -> bool {
        let wants_to_leave = matches!(queue.back(), Some(ToTable::Finish { leaves: true }));
        self.term.is_valid() || wants_to_leave && self.term.lasts.is_none()
    }

    /// Uses a session until the manager has finished or its lease has ended.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the store has ended the lease of the manager; others may pass.
    fn serve(
        &self,
        session: &mut dyn Session,
        queue: &mut VecDeque<ToTable>,
        has_looked: &mut bool,
    ) -> Result<(), TableError> {
        let every = self.settings.poll_every(self.term.lasts);
        let (mut looked, mut changed) = (None::<Instant>, true);
        loop {
            if self.write(session, queue)? || !self.goes_on(queue) {
                return Ok(());
            }
            let since = looked.map_or(Duration::MAX, |looked| looked.elapsed());
            if since >= every || changed && since >= APART {
                (looked, changed) = (Some(Instant::now()), false);
                self.look(session)?;
                *has_looked = true;
            }
            changed |= session.wait_for_change(SLICE)?;
        }
    }

    /// Performs the queued writes. Returns whether the manager has finished.
    fn write(
        &self,
        session: &mut dyn Session,
        queue: &mut VecDeque<ToTable>,
    ) -> Result<bool, TableError> {
        loop {
            match self.from.try_recv() {
                Ok(next) => queue.push_back(next),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    // Without a last message, the manager had not come to take any unit.
                    if !matches!(queue.back(), Some(ToTable::Finish { .. })) {
                        queue.push_back(ToTable::Finish { leaves: true });
                    }
                    break;
                }
            }
        }
        while let Some(next) = queue.front() {
            let (key, token, done) = match next {
                ToTable::Finish { leaves } => {
                    if *leaves {
                        session.leave(self.term.manager)?;
                    }
                    return Ok(true);
                }
                ToTable::Record(key, token, record) => {
                    (key, *token, session.record(key, *token, record))
                }
                ToTable::Release(key, token) => (key, *token, session.release(key, *token)),
            };
            match done {
                Ok(()) => {}
                Err(error @ (TableError::Unavailable(_) | TableError::Unusable(_))) => {
                    return Err(error);
                }
                Err(_) => self.tell(FromTable::Lost(key.clone(), token)),
            }
            queue.pop_front();
        }
        Ok(false)
    }

    /// Reads the orders, and claims units up to the share of the manager.
    fn look(&self, session: &mut dyn Session) -> Result<(), TableError> {
        let manager = self.term.manager;
        session.expire_dead(self.settings.crash_limit)?;
        let orders = session.orders(manager)?;
        if !orders.is_empty() {
            self.tell(FromTable::Orders(orders));
        }
        let share = session.share(manager)?;
        let fair = share.units.div_ceil(share.managers.max(1)) + 1;
        if let surplus @ 1.. = share.owned.saturating_sub(fair) {
            self.tell(FromTable::Surplus(surplus));
        }
        let mut left = fair.min(self.settings.capacity).saturating_sub(share.owned);
        // A manager that stops claims nothing: not even what it has just released.
        while left > 0 && self.to.is_open() {
            let claimed = session.claim(manager, left.min(BATCH))?;
            if claimed.is_empty() {
                break;
            }
            left = left.saturating_sub(claimed.len());
            self.tell(FromTable::Claimed(claimed));
        }
        self.tell(FromTable::Looked);
        Ok(())
    }

    fn tell(&self, what: FromTable) {
        // The manager may be stopping. Units that it does not take are free when it leaves or its lease ends.
        let _told = self.to.command(what);
    }
}
