//! The thread that does everything with the table except renewals: it claims units, reads the orders for them, records
//! what happens to them, and releases them.
//!
//! 1. A unit is released after all its records. Argument: both go through one [`Queue`], which keeps the order of the
//!    writes about a unit.
//! 2. Nothing that is queued before the end of the manager is lost while the lease lasts. Argument: the thread ends
//!    only after the last message, when nobody can send any more, or when the lease has ended; after that, the store
//!    refuses everything.
//! 3. A claim is not lost if the answer to it is. Argument: after each error, the manager is told what it owns, after
//!    all claims that it was told of before, and releases what it does not know.
//! 4. The lease ends with the thread. Argument: [`Worker::work`] ends it, even if the store panics.
//! 5. A unit that somebody holds, for example a transaction of a user, delays neither the other units nor the end of
//!    the manager. The same is true of units that the store cannot write about, except for the pauses of rule 4 of the
//!    queue. Argument: the queue keeps the writes of both apart. [`Worker::write`] fails because of a write only when a
//!    batch fails for the first time. It returns when only writes that wait apart are left, so the worker looks at the
//!    table although they wait, and the next failure begins with the shortest pause again. [`Worker::write`] also
//!    answers the manager then. The thread and the lease go on until these writes were performed, because only then is
//!    the unit's row right.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use procession::support::deadline_after;

use super::balance::{Balance, Plan, Surplus};
use super::hand_over::HandOver;
use super::keeper::Ending;
use super::lease::Term;
use super::queue::{BATCH, Queue};
use super::settings::Settings;
use super::table::{
    Claimed, Order, Ordered, Record, Session, Share, SharedTable, TableError, Token, Write,
    WriteResult, Written,
};
use crate::engine::Shared;
use crate::engine::inbox::Inbox;
use crate::engine::reply::Reply;
use crate::error::SharedError;
use crate::event::Happening;

/// How long the thread waits for a change before it looks at its queue.
const SLICE: Duration = Duration::from_millis(25);
/// The minimum time between two looks at the table. Each release is a change that all managers see, so without this
/// time the cost would grow with the product of releases and managers.
const APART: Duration = Duration::from_millis(50);

/// What the thread tells the manager.
pub(super) enum FromTable {
    Claimed(Vec<Claimed>),
    Orders(Vec<Order>),
    /// The claim of this unit is over.
    Lost(String, Token),
    /// All units that the manager owns, after an error that may have lost the answer to a claim.
    Owned(Vec<(String, Token)>),
    /// The manager should give up these units.
    Surplus(Surplus),
    /// The table has been read once.
    Looked,
}

/// What the manager tells the thread.
pub(super) enum ToTable {
    Write(Write),
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
    pub(super) hand_over: &'a HandOver,
    pub(super) to: &'a Inbox<FromTable>,
    pub(super) from: mpsc::Receiver<ToTable>,
}

/// What the thread must still do.
struct ToDo {
    writes: Queue,
    /// The last message has come; the value is its `leaves`.
    finish: Option<bool>,
    /// Dropped when the manager need not wait any more.
    done: Option<Reply<()>>,
    orders: Orders,
}

/// Which orders the manager was told of, so that they are not read again and again while its units stop.
#[derive(Default)]
struct Orders {
    /// The keys of the units that have not carried theirs out, and whether they stop.
    open: HashMap<String, bool>,
    read: Option<Instant>,
}

impl Orders {
    /// Returns whether there may be new ones. If one has replaced another, their number does not show it, so they are
    /// also read from time to time.
    fn may_differ(&self, count: usize, every: Duration) -> bool {
        count != self.open.len()
            || count > 0 && self.read.is_none_or(|read| read.elapsed() >= every)
    }

    fn were_read(&mut self, orders: &[Order]) {
        let open = orders.iter().map(|order| (order.key.clone(), order.what == Ordered::Stop));
        self.open = open.collect();
        self.read = Some(Instant::now());
    }

    fn written(&mut self, write: &Write) {
        if matches!(write.what, Written::Release | Written::Record(Record::Restarted { .. })) {
            self.open.remove(&write.key);
        }
    }
}

impl ToDo {
    fn push(&mut self, message: ToTable) {
        match message {
            ToTable::Write(write) => self.writes.push(write),
            ToTable::Finish { leaves } => self.finish = Some(leaves),
        }
    }
}

impl Worker<'_> {
    /// Works until the manager has finished or its lease has ended. `done` is dropped then.
    pub(super) fn work(self, done: Reply<()>) {
        let _ending = Ending(self.term);
        let policy = &self.shared.about.policy;
        let (writes, orders) = (Queue::new(), Orders::default());
        let mut to_do = ToDo { writes, finish: None, done: Some(done), orders };
        let mut pauses = policy.pauses();
        let every = self.settings.poll_every(self.term.lasts);
        let mut balance = Balance::new(every);
        let mut has_failed = false;
        while self.goes_on(&to_do) {
            let mut has_looked = false;
            let served = self.table.open().and_then(|mut session| {
                if has_failed {
                    self.tell(FromTable::Owned(session.owned(self.term.manager)?));
                }
                self.serve(&mut *session, &mut to_do, &mut balance, &mut has_looked)
            });
            let error = match served {
                Ok(()) => {
                    // The end of the manager does not wait for a stuck unit.
                    to_do.done = None;
                    return self.leave_when_ended(&to_do);
                }
                Err(TableError::Refused) => return,
                Err(error) => error,
            };
            has_failed = true;
            if has_looked {
                pauses = policy.pauses();
            }
            let delay = policy.next(&mut pauses);
            self.tell_failed(error, delay);
            // Another session may succeed where this one could not.
            self.pause(delay, &mut to_do);
        }
    }

    /// Lets this time pass. The messages that come meanwhile are queued: they are no reason to try again earlier.
    fn pause(&self, time: Duration, to_do: &mut ToDo) {
        let end = deadline_after(time);
        loop {
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            match self.from.recv_timeout(left) {
                Ok(next) => to_do.push(next),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => return thread::sleep(left),
            }
        }
    }

    /// In a store whose leases do not end by time, a manager that has closed although units have not ended leaves when
    /// they have.
    fn leave_when_ended(&self, to_do: &ToDo) {
        if to_do.finish != Some(false) || self.term.lasts.is_some() {
            return;
        }
        for unit in self.term.runs.of_lease(self.shared) {
            self.shared.wait_for_end(&unit, None);
        }
        let mut pauses = self.shared.about.policy.pauses();
        let leave = || self.table.open().and_then(|mut session| session.leave(self.term.manager));
        while self.term.is_valid() && leave().is_err() {
            thread::sleep(self.shared.about.policy.next(&mut pauses));
        }
    }

    /// In a store whose leases do not end by time, nobody else can free the units of a manager that only wants to
    /// leave.
    fn goes_on(&self, to_do: &ToDo) -> bool {
        self.term.is_valid() || to_do.finish == Some(true) && self.term.lasts.is_none()
    }

    /// Uses a session until the manager has finished or its lease has ended.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the store has ended the lease of the manager; others may pass.
    fn serve(
        &self,
        session: &mut dyn Session,
        to_do: &mut ToDo,
        balance: &mut Balance,
        has_looked: &mut bool,
    ) -> Result<(), TableError> {
        let every = self.settings.poll_every(self.term.lasts);
        let (mut looked, mut changed, mut drains) = (None::<Instant>, true, true);
        loop {
            // The shares of others no longer count a manager that stops, so they claim what it releases.
            if drains && !self.to.is_open() {
                session.drain(self.term.manager)?;
                drains = false;
            }
            if !self.goes_on(to_do) || self.write(session, to_do)? {
                return Ok(());
            }
            let since = looked.map_or(Duration::MAX, |looked| looked.elapsed());
            changed |= self.hand_over.is_pending();
            let is_due = since >= every || changed && since >= APART;
            if is_due && to_do.finish.is_none() {
                (looked, changed) = (Some(Instant::now()), false);
                self.look(session, balance, to_do)?;
                *has_looked = true;
            }
            changed |= session.wait_for_change(SLICE)?;
        }
    }

    /// Performs the queued writes. Returns whether the manager has finished, and nothing is left.
    fn write(&self, session: &mut dyn Session, to_do: &mut ToDo) -> Result<bool, TableError> {
        loop {
            match self.from.try_recv() {
                Ok(next) => to_do.push(next),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    // Without a last message, the manager had not come to take any unit.
                    to_do.finish.get_or_insert(true);
                    break;
                }
            }
        }
        // The same time for all batches, so that a write which is not possible now is not tried again and again.
        let now = Instant::now();
        loop {
            let batch = to_do.writes.next(now);
            if batch.is_empty() {
                break;
            }
            let results = match session.write(batch) {
                Ok(results) => results,
                Err(error) => {
                    let delay = is_of_writes(&error).then(|| to_do.writes.failed(now)).flatten();
                    let Some(delay) = delay else { return Err(error) };
                    // Only these writes wait. The others may succeed, and are tried without a pause. If nothing waits,
                    // the writes of the batch are tried one at a time, and those that fail are told of then.
                    if !delay.is_zero() {
                        self.tell_failed(error, delay);
                    }
                    continue;
                }
            };
            for (write, result) in to_do.writes.answered(&results)? {
                to_do.orders.written(&write);
                if result == WriteResult::Refused {
                    self.tell(FromTable::Lost(write.key, write.token));
                }
            }
        }
        let Some(leaves) = to_do.finish else { return Ok(false) };
        if !to_do.writes.is_empty() {
            to_do.done = None;
            return Ok(false);
        }
        if leaves {
            session.leave(self.term.manager)?;
        }
        Ok(true)
    }

    /// Reads the orders, and claims units up to the share of the manager.
    fn look(
        &self,
        session: &mut dyn Session,
        balance: &mut Balance,
        to_do: &mut ToDo,
    ) -> Result<(), TableError> {
        let manager = self.term.manager;
        let mut share = session.share(manager)?;
        if share.has_dead && !session.expire_dead(self.settings.crash_limit)?.is_empty() {
            share = session.share(manager)?;
        }
        if self.hand_over.must_drain(&share) {
            session.drain(manager)?;
            share = session.share(manager)?;
        }
        if to_do.orders.may_differ(share.orders, self.settings.poll_every(self.term.lasts)) {
            let orders = session.orders(manager)?;
            to_do.orders.were_read(&orders);
            if !orders.is_empty() {
                self.tell(FromTable::Orders(orders));
            }
        }
        // A unit whose release waits does not run, although the manager still owns it. A unit that is stopping is not a
        // part of its share, but takes up its capacity.
        let released = to_do.writes.waiting_releases();
        let runs = share.owned.saturating_sub(released);
        let stop = to_do.orders.open.iter().filter(|(_, stops)| **stops);
        let stop = stop.filter(|(key, _)| !to_do.writes.is_release_waiting(key)).count();
        let owned = runs.saturating_sub(stop);
        let (share, now) = (Share { owned, ..share }, Instant::now());
        let requests = match balance.must_read_requests(&share) {
            Some(seen) => session.requests(manager, seen)?,
            None => Vec::new(),
        };
        let Plan { limit, surplus } = balance.plan(&share, requests, now);
        if let Some(surplus) = surplus {
            self.tell(FromTable::Surplus(surplus));
        }
        let room = self.settings.capacity.saturating_sub(runs);
        let may_claim = limit.saturating_sub(owned).min(room);
        let mut left = may_claim;
        while share.has_free && left > 0 && self.to.is_open() {
            let claimed = session.claim(manager, left.min(BATCH))?;
            if claimed.is_empty() {
                break;
            }
            left = left.saturating_sub(claimed.len());
            self.tell(FromTable::Claimed(claimed));
        }
        self.tell(FromTable::Looked);
        let claimed = may_claim - left;
        let share = Share { owned: owned + claimed, ..share };
        let wanted = balance.settle(&share, room - claimed, now);
        if let Some(wanted) = wanted.filter(|_| self.to.is_open()) {
            session.request_release(manager, wanted)?;
            balance.requested(now);
        }
        Ok(())
    }

    fn tell_failed(&self, error: TableError, delay: Duration) {
        let error = Arc::new(error) as SharedError;
        self.shared.events.tell(None, Happening::TableFailed { error, delay });
    }

    fn tell(&self, what: FromTable) {
        // The manager may be stopping. Units that it does not take are free when it leaves or its lease ends.
        let _told = self.to.command(what);
    }
}

/// Whether a call may have failed because of one of its writes: the store could be reached, and knows the manager.
fn is_of_writes(error: &TableError) -> bool {
    matches!(error, TableError::Unusable(_) | TableError::Invalid { .. })
}
