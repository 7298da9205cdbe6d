//! [`SharedTable`] and [`Session`]: what a store of shared units must do.
//!
//! The rules that every store keeps, and that the conformance suite checks:
//!
//! 1. **One owner.** A unit has at most one owner at any time, and only [`Session::claim`] makes a manager the owner.
//! 2. **Tokens grow.** Each claim of a unit has a greater token than all earlier claims of a unit with the same key,
//!    even if the unit was removed and put again meanwhile.
//! 3. **Writes are fenced.** [`Session::write`] changes nothing, and answers [`WriteResult::Refused`], unless the token
//!    is that of the current claim and its owner's lease has not ended.
//! 4. **The end is final.** A manager whose lease has ended never owns anything again: all its calls are refused. It
//!    must register again, which gives it another id.
//! 5. **One clock.** Whether a lease has ended is decided by the clock of the store, never by that of a manager.
//! 6. **Desired and actual state are separate.** Calls of operators change what a unit should do, and never its owner
//!    or its token. Calls of managers do the opposite.
//! 7. **Repetitions change nothing.** A record with a [number](Write::number) that is not greater than the greatest one
//!    of the current claim so far changes nothing, and is answered with [`WriteResult::Done`].
//! 8. **A unit that somebody holds delays no other.** The transaction of a user can hold a unit for any length of time.
//!    Meanwhile, writes about other units are performed, and the end of a lease frees the other units. Which units are
//!    to blame for a death is decided once, and does not depend on when they become free.

mod error;
mod managers;
mod units;
mod writes;

use std::sync::Arc;
use std::time::Duration;

pub use self::error::TableError;
pub use self::managers::{ManagerId, ManagerRow, Registered, Registration, Request, Share, Wanted};
pub use self::units::{Claimed, Desired, Order, Ordered, PROBATION_CRASHES, Token, UnitRow};
pub use self::writes::{Record, Write, WriteResult, Written};

/// A table of units that several programs share, in which each unit has at most one owner.
///
/// A table opens sessions. A manager uses two of them, each on a thread of its own: one only renews the manager's
/// lease, and the other does everything else. So nothing that is slow delays a renewal.
///
/// Run [`conformance::run`](super::conformance::run) in the tests of your own store.
pub trait SharedTable: Send + Sync + 'static {
    /// Opens a session. It stays on the thread that opened it.
    ///
    /// # Errors
    ///
    /// [`TableError::Unavailable`] if another attempt may succeed; [`TableError::Unusable`] and
    /// [`TableError::Incompatible`] if not.
    fn open(&self) -> Result<Box<dyn Session>, TableError>;

    /// A query that makes a transaction of the same database conditional on a claim, if the store has one: it locks the
    /// row of the unit until the transaction ends and returns one row, or it returns no row because the claim is not
    /// the current one. Its parameters are the key of the unit (text) and the [token](Token::get) (a 64-bit integer).
    ///
    /// Keep such a transaction short: until it ends, the unit cannot move, and what happens to it is not recorded.
    fn guard_sql(&self) -> Option<String> {
        None
    }
}

/// For programs that choose the store at run time.
impl<T: SharedTable + ?Sized> SharedTable for Arc<T> {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        (**self).open()
    }

    fn guard_sql(&self) -> Option<String> {
        (**self).guard_sql()
    }
}

/// A connection to a [`SharedTable`]. All its calls block.
///
/// Each call is atomic: if it fails, it has changed nothing. After [`TableError::Unavailable`], the caller cannot know
/// whether it has. [`owned`](Self::owned) shows which claims have succeeded.
pub trait Session {
    /// Registers a manager, whose lease begins now.
    ///
    /// # Errors
    ///
    /// As [`SharedTable::open`].
    fn register(&mut self, registration: &Registration) -> Result<Registered, TableError>;

    /// Renews the lease of a manager for its time to live from now on.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn renew(&mut self, manager: ManagerId) -> Result<(), TableError>;

    /// Makes a manager give its units away. From now on, the shares of others do not count it, so they claim what it
    /// releases. It claims nothing itself, unless all managers that could run a unit are draining. It keeps its lease.
    /// Nothing undoes this, but a manager that registers again is not draining.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn drain(&mut self, manager: ManagerId) -> Result<(), TableError>;

    /// Asks the other managers of the same kinds to give up units, and replaces the last [request](Request) of this one.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn request_release(&mut self, manager: ManagerId, wanted: Wanted) -> Result<(), TableError>;

    /// Returns the last requests of all other managers that share a kind with this one, whose lease has not ended, and
    /// that are not draining, if the [number](Request::number) is greater than `after`. The smallest number comes
    /// first.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn requests(&mut self, manager: ManagerId, after: u64) -> Result<Vec<Request>, TableError>;

    /// Ends the lease of a manager that owns nothing any more, and forgets the manager. If it still owns units, they
    /// become free as in [`expire`](Self::expire). Does nothing if the lease has ended already.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn leave(&mut self, manager: ManagerId) -> Result<(), TableError>;

    /// Ends the leases of all dead managers, and returns their ids, each once. A manager is dead if its lease has ended
    /// by the clock of the store or, in a store that can tell, if its program has ended.
    ///
    /// A unit that somebody holds becomes free in a later call, in whatever way the lease of its owner has ended.
    ///
    /// Their units become free, or are removed if they should be. A unit that was not [steady](super::Record::Steady)
    /// yet has crashed: see [`UnitRow::crashes`]. It is quarantined when it has crashed `crash_limit` times.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError>;

    /// Ends the lease of a manager by force. For operators, if a store cannot know that the manager is gone. Its units
    /// become free, or are removed if they should be, and do not count as crashed. Does nothing if the lease has ended
    /// already.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn expire(&mut self, manager: ManagerId) -> Result<(), TableError>;

    /// Returns what a manager must know to decide what it does next. A manager calls this often, so it should be one
    /// cheap query.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn share(&mut self, manager: ManagerId) -> Result<Share, TableError>;

    /// Claims at most `max` free units that should run, are of the manager's kinds, and are neither quarantined nor
    /// done. For each, it increases the token and the number of starts. It claims none if the manager is
    /// [draining](Self::drain) and another one of these kinds is not. Several managers may claim at the same time.
    ///
    /// A unit that has crashed at least [`PROBATION_CRASHES`] times and is not steady is on probation. A manager owns
    /// at most one such unit at a time, so its next crash shows which unit is the cause.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn claim(&mut self, manager: ManagerId, max: usize) -> Result<Vec<Claimed>, TableError>;

    /// Returns the units of a manager that should do something else now: stop, because they should not run or are
    /// quarantined, or start again because their [generation](UnitRow::generation) is newer than the one they run. A
    /// unit whose new kind the manager cannot run must stop, so that another manager can claim it. An order stands
    /// until it is carried out.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn orders(&mut self, manager: ManagerId) -> Result<Vec<Order>, TableError>;

    /// Returns the keys and the tokens of all units that a manager owns. A manager asks after an error, because the
    /// answer to a claim may be lost.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended.
    fn owned(&mut self, manager: ManagerId) -> Result<Vec<(String, Token)>, TableError>;

    /// Performs several writes in this order, and returns the answer to each. A write that is refused or not possible
    /// now does not keep the others from being performed.
    ///
    /// If a write is answered with [`WriteResult::NotNow`], so are all later ones about the same claim in this call. A
    /// store answers so instead of waiting for a transaction of a user, which may last for any time.
    ///
    /// # Errors
    ///
    /// [`TableError::Unavailable`] and [`TableError::Unusable`]. Any number of the writes may have been performed.
    fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError>;

    /// Performs one [`Write::record`] without a number. Stores need not implement this.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write); [`TableError::Refused`] if the claim is not the current one, and
    /// [`TableError::Unavailable`] if somebody holds the unit.
    fn record(&mut self, key: &str, token: Token, record: &Record) -> Result<(), TableError> {
        only(self.write(&[Write::record(key, token, record.clone())])?)
    }

    /// Performs one [`Write::release`]. Stores need not implement this.
    ///
    /// # Errors
    ///
    /// Those of [`record`](Self::record).
    fn release(&mut self, key: &str, token: Token) -> Result<(), TableError> {
        only(self.write(&[Write::release(key, token)])?)
    }

    /// Waits until something may have changed since the last call of this function, for at most `timeout`. Returns
    /// whether it may have. It may return early; it may also miss changes, so callers must look from time to time.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn wait_for_change(&mut self, timeout: Duration) -> Result<bool, TableError>;

    /// Adds a unit that should run, or changes the kind and the spec of the one with this key. Returns its generation,
    /// which grows whenever the kind or the spec changes. A new generation ends a quarantine, and forgets failures,
    /// crashes, and that a unit is done. A unit that should stop remains so; a pending removal is cancelled.
    ///
    /// # Errors
    ///
    /// [`TableError::Invalid`] if the store cannot keep the text.
    fn put(&mut self, key: &str, kind: &str, spec: &str) -> Result<u64, TableError>;

    /// Makes a unit run, even if it was done or should be removed. Its failures and crashes are forgotten, but not its
    /// quarantine.
    ///
    /// # Errors
    ///
    /// [`TableError::NotFound`].
    fn want_run(&mut self, key: &str) -> Result<(), TableError>;

    /// Makes a unit stop where it runs, and stay stopped. A pending removal is cancelled.
    ///
    /// # Errors
    ///
    /// [`TableError::NotFound`].
    fn want_stop(&mut self, key: &str) -> Result<(), TableError>;

    /// Removes a unit: at once if it is free, otherwise when its owner has stopped it.
    ///
    /// # Errors
    ///
    /// [`TableError::NotFound`].
    fn remove(&mut self, key: &str) -> Result<(), TableError>;

    /// Ends the quarantine of a unit, and forgets its failures and crashes.
    ///
    /// # Errors
    ///
    /// [`TableError::NotFound`].
    fn clear_quarantine(&mut self, key: &str) -> Result<(), TableError>;

    /// Returns one unit; `None` if there is no unit with this key.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn get(&mut self, key: &str) -> Result<Option<UnitRow>, TableError>;

    /// Returns at most `limit` units in the order of the bytes of their keys, from the first one after the key `after`.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn scan(&mut self, after: Option<&str>, limit: usize) -> Result<Vec<UnitRow>, TableError>;

    /// Returns all managers whose lease has not ended, in the order of their ids.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] and [`TableError::Unusable`].
    fn managers(&mut self) -> Result<Vec<ManagerRow>, TableError>;
}

/// The answer to the only write of a call.
fn only(results: Vec<WriteResult>) -> Result<(), TableError> {
    match results.first() {
        Some(WriteResult::Done) => Ok(()),
        Some(WriteResult::NotNow) => {
            Err(TableError::Unavailable("a transaction holds the unit".into()))
        }
        _ => Err(TableError::Refused),
    }
}
