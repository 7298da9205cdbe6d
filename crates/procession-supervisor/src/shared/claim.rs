//! [`Claim`]: what a factory learns about a unit that the manager has claimed.

use procession::BoxError;

use super::lease::Lease;
use super::table::Claimed;
use crate::unit::Unit;

/// Makes the unit of a claim.
pub(super) type Factory = dyn Fn(&Claim) -> Result<Unit, BoxError> + Send + Sync;

/// A unit that this manager has claimed, and may run until it loses the [lease](Self::lease).
#[derive(Clone, Debug)]
pub struct Claim {
    row: Claimed,
    lease: Lease,
}

impl Claim {
    pub(super) fn new(row: Claimed, lease: Lease) -> Self {
        Self { row, lease }
    }

    /// Returns the key of the unit.
    pub fn key(&self) -> &str {
        &self.row.key
    }

    /// Returns the kind of the unit.
    pub fn kind(&self) -> &str {
        &self.row.kind
    }

    /// Returns the spec of the unit: the text that was [put](super::Session::put) into the table.
    pub fn spec(&self) -> &str {
        &self.row.spec
    }

    /// Returns the generation of the spec.
    pub fn generation(&self) -> u64 {
        self.row.generation
    }

    /// Returns how often the unit was started by a claim, including this one.
    pub fn starts(&self) -> u64 {
        self.row.starts
    }

    /// Returns the right to run the unit.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn set_spec(&mut self, kind: String, spec: String, generation: u64) {
        (self.row.kind, self.row.spec, self.row.generation) = (kind, spec, generation);
    }
}
