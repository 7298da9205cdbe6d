//! The thread that does everything with the table except renewals: it claims units, reads the orders for them, records
//! what happens to them, and releases them.
//!
//! 1. A unit is released after all its records. Argument: both go through one queue, and a call that fails is repeated
//!    before the next one.
//! 2. Nothing that is queued before the end of the manager is lost while the lease lasts. Argument: the thread leaves
//!    only when the queue is closed and empty, or when the lease has ended; after that, the store refuses everything.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::keeper::Stop;
use super::lease::Term;
use super::manager::Settings;
use super::table::{Claimed, Order, Record, Session, SharedTable, TableError, Token};
use crate::error::SharedError;
use crate::event::{EventSource, Happening};

/// How long the thread waits for a change before it looks at its queue.
const SLICE: Duration = Duration::from_millis(25);
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
    /// Everything has ended. If `leaves` is not set, units have not ended, and keep the lease until it runs out.
    Finish {
        leaves: bool,
    },
}

pub(super) struct Worker<'a> {
    pub(super) table: &'a dyn SharedTable,
    pub(super) settings: &'a Settings,
    pub(super) events: &'a EventSource<String>,
    pub(super) term: &'a Term,
    pub(super) stop: &'a Stop,
    pub(super) to: async_channel::Sender<FromTable>,
    pub(super) from: mpsc::Receiver<ToTable>,
    pub(super) queue: VecDeque<ToTable>,
}

impl Worker<'_> {
    /// Works until the manager has finished or its lease has ended.
    pub(super) fn work(mut self) {
        let mut session = None;
        let mut pauses = self.settings.policy.pauses();
        while !self.stop.is_set() && self.term.is_valid() {
            let ended = match &mut session {
                None => self.table.open().map(|opened| session = Some(opened)),
                Some(session) => match self.serve(&mut **session) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                },
            };
            match ended {
                Ok(()) => {}
                Err(TableError::Refused) => return self.term.end(),
                Err(error) => {
                    let delay = self.settings.policy.next(&mut pauses);
                    let error: SharedError = std::sync::Arc::new(error);
                    self.events.tell(None, Happening::ScanFailed { error, delay });
                    // Another session may succeed where this one cannot.
                    session = None;
                    self.stop.sleep(delay);
                }
            }
        }
    }

    /// Uses a session until the manager has finished.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease of the manager has ended; others may be repeated.
    fn serve(&mut self, session: &mut dyn Session) -> Result<(), TableError> {
        let every = self.settings.poll_every(self.term.lasts());
        let (mut looked, mut changed) = (None::<Instant>, true);
        loop {
            if self.write(session)? {
                return Ok(());
            }
            if self.stop.is_set() || !self.term.is_valid() {
                return Ok(());
            }
            if changed || looked.is_none_or(|looked| looked.elapsed() >= every) {
                looked = Some(Instant::now());
                self.look(session)?;
            }
            changed = session.wait_for_change(SLICE)?;
        }
    }

    /// Performs the queued writes. Returns whether the manager has finished.
    fn write(&mut self, session: &mut dyn Session) -> Result<bool, TableError> {
        self.queue.extend(self.from.try_iter());
        while let Some(next) = self.queue.front() {
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
            self.queue.pop_front();
        }
        Ok(false)
    }

    /// Reads the orders, and claims units up to the share of the manager.
    fn look(&mut self, session: &mut dyn Session) -> Result<(), TableError> {
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
        while left > 0 {
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
        // The manager may have ended.
        let _sent = self.to.try_send(what);
    }
}
