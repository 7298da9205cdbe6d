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

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession::BoxError;

use super::writes::{Record, Write, WriteResult};

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

/// The number of crashes after which a unit is on probation until it is steady: see [`Session::claim`]. A single crash
/// does not matter, because it does not show which of the units in the dead program was the cause.
pub const PROBATION_CRASHES: u32 = 2;

/// The id of a registered manager. A table never gives the same id twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerId(u64);

impl ManagerId {
    /// Makes an id from its number. For stores.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns its number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fencing token: it identifies a claim of a unit, and is greater than the tokens of all earlier claims of that unit.
///
/// A service outside the database can use it as well: it must remember the greatest token it has seen for each unit,
/// and reject smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// Makes a token from its number. For stores.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns its number, which fits a signed 64-bit integer.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A manager that wants to register.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// A name for operators, such as the host name and the process id. It need not be unique.
    pub name: String,
    /// The kinds of units that the manager can run.
    pub kinds: Vec<String>,
    /// How long its lease lasts without a renewal. A store that can tell whether a program has ended ignores it.
    pub ttl: Duration,
    /// The id of its last registration, whose lease it no longer uses. That lease ends now, unless it has ended
    /// already. The new registration shows that the program lives on, so the units of that lease have not crashed: if
    /// the lease was already found [dead](Session::expire_dead), one crash of each unit is taken back from its
    /// [count](UnitRow::crashes). A quarantine remains.
    pub previous: Option<ManagerId>,
}

impl Registration {
    /// Makes the registration of a manager that has none yet.
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        kinds: impl IntoIterator<Item = S>,
        ttl: Duration,
    ) -> Self {
        let kinds = kinds.into_iter().map(Into::into).collect();
        Self { name: name.into(), kinds, ttl, previous: None }
    }

    /// Sets the id of the [last registration](Self::previous).
    #[must_use]
    pub fn after(mut self, previous: Option<ManagerId>) -> Self {
        self.previous = previous;
        self
    }
}

/// A manager that has registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// Its id.
    pub manager: ManagerId,
    /// How long its lease lasts without a renewal. `None` if it lasts until the program ends.
    pub ttl: Option<Duration>,
}

impl Registered {
    /// Makes the answer to a registration. For stores.
    pub fn new(manager: ManagerId, ttl: Option<Duration>) -> Self {
        Self { manager, ttl }
    }
}

/// What a manager must know to decide what it does next. Stores set the fields of [`Share::default`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// The number of units of the manager's kinds that should run, without those that are quarantined or done.
    pub units: usize,
    /// The number of managers that share at least one of these kinds, whose lease has not ended, and that are not
    /// draining. It includes this manager, unless it is draining.
    pub managers: usize,
    /// The number of these managers that are older than this one: that have smaller ids.
    pub older: usize,
    /// The newest of these managers: the one with the greatest id. `None` if there are none.
    pub newest: Option<ManagerId>,
    /// The number of units that the manager owns.
    pub owned: usize,
    /// The manager is [draining](Session::drain).
    pub is_draining: bool,
    /// [`claim`](Session::claim) may find a unit. A store that cannot tell sets both this and `has_dead` to `true`.
    pub has_free: bool,
    /// The number of [`orders`](Session::orders). An order stands while its unit stops, and orders are read again only
    /// if this number shows that some may be new. A store that cannot tell sets `usize::MAX`.
    pub orders: usize,
    /// [`expire_dead`](Session::expire_dead) may find a dead manager, or a unit of one that is not free yet.
    pub has_dead: bool,
}

/// A unit that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed {
    /// The key of the unit.
    pub key: String,
    /// Its kind.
    pub kind: String,
    /// Its spec.
    pub spec: String,
    /// The generation of the spec.
    pub generation: u64,
    /// The token of the claim.
    pub token: Token,
    /// The number of its starts by claims, including this one.
    pub starts: u64,
}

impl Claimed {
    /// Makes the claim of a unit with this kind and spec. For stores, which then set the numbers.
    pub fn new(
        key: impl Into<String>,
        kind: impl Into<String>,
        spec: impl Into<String>,
        token: Token,
    ) -> Self {
        let (key, kind, spec) = (key.into(), kind.into(), spec.into());
        Self { key, kind, spec, generation: 1, token, starts: 1 }
    }
}

/// A change that the owner of a unit must carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// The key of the unit.
    pub key: String,
    /// The token of its claim.
    pub token: Token,
    /// What to do.
    pub what: Ordered,
}

impl Order {
    /// Makes an order. For stores.
    pub fn new(key: impl Into<String>, token: Token, what: Ordered) -> Self {
        Self { key: key.into(), token, what }
    }
}

/// What an [`Order`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ordered {
    /// Stop the unit, and release it.
    Stop,
    /// Stop the unit, [record](super::Record::Restarted) the generation, and start the unit from the spec under the
    /// same token.
    Restart {
        /// The kind of the unit.
        kind: String,
        /// The new spec.
        spec: String,
        /// The generation of the spec.
        generation: u64,
    },
}

/// What an operator wants a unit to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Desired {
    /// Run.
    Run,
    /// Stop, and stay stopped.
    Stop,
    /// Stop, and be removed.
    Remove,
}

/// A row of a shared table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnitRow {
    /// The key of the unit.
    pub key: String,
    /// Its kind, which says which managers can run it.
    pub kind: String,
    /// What it should do in detail. Only the program that runs it understands this.
    pub spec: String,
    /// The number of its specs so far.
    pub generation: u64,
    /// What it should do.
    pub desired: Desired,
    /// It has ended for good.
    pub is_done: bool,
    /// It is quarantined: it is not claimed before its [quarantine is cleared](Session::clear_quarantine) or it has a
    /// new generation.
    pub is_quarantined: bool,
    /// Its owner.
    pub owner: Option<ManagerId>,
    /// The token of its last claim; zero if it was never claimed.
    pub token: Token,
    /// It is ready.
    pub is_ready: bool,
    /// It is steady.
    pub is_steady: bool,
    /// The number of its starts by claims.
    pub starts: u64,
    /// The number of its failures since it was last steady.
    pub failures: u32,
    /// The number of its crashes since it was last steady. When a manager dies, all its units that are not steady have
    /// crashed. But if it owned a unit on [probation](PROBATION_CRASHES), only that unit has.
    pub crashes: u32,
    /// Its last error.
    pub last_error: Option<String>,
}

impl UnitRow {
    /// Makes the row of a unit that was just [put](Session::put) into the table. For stores, which then set what
    /// differs.
    pub fn new(key: impl Into<String>, kind: impl Into<String>, spec: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            kind: kind.into(),
            spec: spec.into(),
            generation: 1,
            desired: Desired::Run,
            is_done: false,
            is_quarantined: false,
            owner: None,
            token: Token::new(0),
            is_ready: false,
            is_steady: false,
            starts: 0,
            failures: 0,
            crashes: 0,
            last_error: None,
        }
    }
}

/// A manager whose lease has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagerRow {
    /// Its id.
    pub manager: ManagerId,
    /// Its name.
    pub name: String,
    /// Its kinds, sorted.
    pub kinds: Vec<String>,
    /// The number of units that it owns.
    pub units: usize,
    /// It is [draining](Session::drain).
    pub is_draining: bool,
    /// When its lease ends unless it is renewed. `None` if it lasts until the program ends.
    pub remaining: Option<Duration>,
}

impl ManagerRow {
    /// Makes the row of a manager that was just registered. For stores, which then set what differs.
    pub fn new(manager: ManagerId, name: impl Into<String>, kinds: Vec<String>) -> Self {
        let name = name.into();
        Self { manager, name, kinds, units: 0, is_draining: false, remaining: None }
    }
}

/// Why a call of a shared table failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The lease of the manager has ended, or the claim is not the current one. Another attempt fails as well.
    #[error("the lease has ended, or the unit has been claimed again")]
    Refused,
    /// There is no such unit.
    #[error("there is no unit `{}`", procession::support::text::Escaped::name(key))]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The store cannot keep this key, kind or spec.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The store cannot be reached, or did not answer. Another attempt may succeed.
    #[error("the shared table cannot be reached")]
    Unavailable(#[source] BoxError),
    /// The store cannot be used, for example because its file is corrupt or read-only. Another attempt fails as well,
    /// unless somebody repairs it.
    #[error("the shared table cannot be used")]
    Unusable(#[source] BoxError),
    /// The schema needs a newer version of this program.
    #[error(
        "the shared table needs a newer version of this program: it has schema {schema}, which programs older than \
         schema {oldest} must not use, and this program is made for schema {supported}"
    )]
    Incompatible {
        /// The version of the schema.
        schema: u32,
        /// The oldest version that may use the schema.
        oldest: u32,
        /// The version that this program is made for.
        supported: u32,
    },
}
