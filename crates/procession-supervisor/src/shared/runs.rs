//! [`Runs`]: the runs of units under one lease.
//!
//! The engine has one set of units for all leases of a manager, and a lease can outlast its runs: it goes on until the
//! last write about its units was performed. By then, the units may run again under the next lease.
//!
//! 1. [`Runs::of_lease`] returns no run of another lease, except those that an earlier one has left behind, which are
//!    stuck. Argument: the engine's runs do not overlap, and a front end is made and dropped during the turn of its
//!    run. So the units have only such runs from [`Runs::begin`], which a front end calls when it is made, to
//!    [`Runs::end`], which it calls when it is dropped. Both wait while [`Runs::of_lease`] looks at the units.
//! 2. No run of the lease is missing. Argument: what [`Runs::end`] is given is what runs when the front end is dropped,
//!    and nothing is started after that.
//!
//! Locks: the units are locked while the state here is locked, and never the other way round.

use crate::engine::{OpenUnit, Shared};
use crate::sync::Mutex;

/// The runs that have not ended.
pub(super) struct Runs(Mutex<State>);

enum State {
    /// The front end of the lease exists.
    UnderWay,
    /// It does not. These runs have not ended with it.
    Left(Vec<OpenUnit<String>>),
}

impl Default for Runs {
    fn default() -> Self {
        Self(Mutex::new(State::Left(Vec::new())))
    }
}

impl Runs {
    /// The front end of the lease is made.
    pub(super) fn begin(&self) {
        self.set(State::UnderWay);
    }

    /// The front end of the lease is dropped.
    pub(super) fn end(&self, shared: &Shared<String>) {
        let left = shared.units.lock().open_units();
        self.set(State::Left(left));
    }

    pub(super) fn of_lease(&self, shared: &Shared<String>) -> Vec<OpenUnit<String>> {
        match &*self.0.lock() {
            State::UnderWay => shared.units.lock().open_units(),
            State::Left(left) => left.clone(),
        }
    }

    fn set(&self, state: State) {
        let before = std::mem::replace(&mut *self.0.lock(), state);
        // The last handle to a process may call subscribers, so it is not dropped under the lock.
        drop(before);
    }
}
