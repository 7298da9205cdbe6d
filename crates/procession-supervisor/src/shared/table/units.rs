//! What a shared table knows of units, and what it tells their owners.

use std::fmt;

use super::managers::ManagerId;

/// The number of crashes after which a unit is on probation until it is steady: see
/// [`Session::claim`](super::Session::claim). A single crash does not matter, because it does not show which of the
/// units in the dead program was the cause.
pub const PROBATION_CRASHES: u32 = 2;

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
    /// It is quarantined: it is not claimed before its [quarantine is cleared](super::Session::clear_quarantine) or it
    /// has a new generation.
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
    /// Makes the row of a unit that was just [put](super::Session::put) into the table. For stores, which then set what
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
