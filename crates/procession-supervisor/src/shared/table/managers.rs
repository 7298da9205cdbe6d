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
    /// The fair share of the manager: the sum of its shares of each of its kinds. The units of a kind that should run,
    /// without those that are quarantined or done, are divided equally among the managers of the kind whose lease has
    /// not ended and that are not draining; those with the smallest ids get one more if there is a remainder. Zero if
    /// the manager is draining.
    pub fair: usize,
    /// The number of managers that share at least one of these kinds, whose lease has not ended, and that are not
    /// draining. It includes this manager, unless it is draining.
    pub managers: usize,
    /// The greatest [number](Request::number) of a request of one of the other managers; zero if there are none.
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

/// What a manager asks the others for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// The maximum number of units that the others should give up.
    pub units: usize,
    /// The manager has not had its share since it registered, so the others give up what exceeds their shares. They
    /// give up no more than what they have claimed beyond their shares if this is not set.
    pub is_joining: bool,
}

impl Wanted {
    /// What a manager asks for.
    pub fn new(units: usize, is_joining: bool) -> Self {
        Self { units, is_joining }
    }
}

/// A request of a manager: see [`Session::request_release`](super::Session::request_release).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The manager that asks.
    pub manager: ManagerId,
    /// The number of the request, which is not zero and greater than those of all requests before. It may become visible
    /// after a greater one, so a manager may miss a request; therefore, requests are repeated.
    pub number: u64,
    /// What the manager asks for.
    pub wanted: Wanted,
    /// The kinds of units that it can run, sorted.
    pub kinds: Vec<String>,
}

impl Request {
    /// Makes a request. For stores.
    pub fn new(manager: ManagerId, number: u64, wanted: Wanted, kinds: Vec<String>) -> Self {
        Self { manager, number, wanted, kinds }
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
