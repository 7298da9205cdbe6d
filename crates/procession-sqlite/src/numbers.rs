//! Numbers as SQLite stores them, with a sign and 64 bits, and those of the contract.

use procession_supervisor::shared::ManagerId;

/// The id with this number.
pub(crate) fn id(number: i64) -> ManagerId {
    ManagerId::new(unsigned(number))
}

/// A number of units as SQLite stores it.
pub(crate) fn bound(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Numbers in the database are never negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
