//! [`Write`]: what a manager writes about a unit that it has claimed.

use super::units::Token;

/// An event in the life of a claimed unit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// It is ready.
    Ready,
    /// It has been ready long enough: earlier failures and crashes no longer count.
    Steady,
    /// Its run has failed. The unit is quarantined when it has failed `limit` times without becoming steady; its owner
    /// must release it then.
    Failed {
        /// The error with its causes.
        error: String,
        /// The maximum number of failures.
        limit: u32,
    },
    /// It starts again from the spec of this generation, because an [order](super::Ordered::Restart) says so.
    Restarted {
        /// The generation.
        generation: u64,
    },
    /// The generation that it runs has ended for good: the unit is not claimed again before it is
    /// [wanted](super::Session::want_run) again or has a new generation. If it has one already, this changes nothing.
    Done,
}

/// A write about a claimed unit: see [`Session::write`](super::Session::write).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write {
    /// The key of the unit.
    pub key: String,
    /// The token of the claim.
    pub token: Token,
    /// The number of a record within its claim; greater than those of all earlier ones. A store performs each number
    /// once, so a record whose answer was lost can be repeated. A record without a number is performed each time. A
    /// release needs no number, because its repetition is refused.
    pub number: Option<u64>,
    /// What to write.
    pub what: Written,
}

impl Write {
    /// Records an event in the life of a unit.
    pub fn record(key: impl Into<String>, token: Token, record: Record) -> Self {
        Self { key: key.into(), token, number: None, what: Written::Record(record) }
    }

    /// Gives a unit back after its run is Closed. A unit that should be removed is removed.
    pub fn release(key: impl Into<String>, token: Token) -> Self {
        Self { key: key.into(), token, number: None, what: Written::Release }
    }

    /// Sets the [number](Self::number) of a record, which is at least 1.
    #[must_use]
    pub fn numbered(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }
}

/// What a [`Write`] does. A store that does not know a variant, or a variant of [`Record`], changes nothing and answers
/// [`WriteResult::Done`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// [`Write::record`].
    Record(Record),
    /// [`Write::release`].
    Release,
}

/// The answer of a store to a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteResult {
    /// The write was performed, now or by an earlier attempt with the same number.
    Done,
    /// The claim is not the current one, or its owner's lease has ended. Nothing has changed, and another attempt is
    /// refused as well.
    Refused,
    /// Somebody holds the unit, for example a transaction that is [guarded](super::SharedTable::guard_sql). Nothing has
    /// changed. The caller must repeat the write, before all later writes about this unit.
    NotNow,
}
