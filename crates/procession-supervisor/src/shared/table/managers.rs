//! What a shared table knows of managers, and what it tells them.

use std::fmt;
use std::time::Duration;

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
    /// the lease was already found [dead](super::Session::expire_dead), one crash of each unit is taken back from its
    /// [count](super::UnitRow::crashes). A quarantine remains.
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
    /// The number of the last [request](super::Session::request_release) of one of these managers, or zero if there are
    /// none. The number of a registration is the new id; all later requests and ids have greater numbers.
    pub last_request: u64,
    /// The number of units that the manager owns.
    pub owned: usize,
    /// The manager is [draining](super::Session::drain).
    pub is_draining: bool,
    /// [`claim`](super::Session::claim) may find a unit. A store that cannot tell sets both this and `has_dead` to
    /// `true`.
    pub has_free: bool,
    /// The number of [`orders`](super::Session::orders). An order stands while its unit stops, and orders are read again
    /// only if this number shows that some may be new. A store that cannot tell sets `usize::MAX`.
    pub orders: usize,
    /// [`expire_dead`](super::Session::expire_dead) may find a dead manager, or a unit of one that is not free yet.
    pub has_dead: bool,
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
    /// It is [draining](super::Session::drain).
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
