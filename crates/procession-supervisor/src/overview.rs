//! [`Overview`]: what the units of a manager or a set do, for pages and operators.
//!
//! 1. No lock is held while foreign code runs, except `Clone` of a key (see [`Key`]). Argument: the statuses are copied
//!    under the lock, and the names of their keys are made after it.
//! 2. The lock is never held for more than [`PAGE`] units. Argument: both steps take it again for each page. Units that
//!    come and go between two pages may be missing.

use std::sync::Arc;

use crate::engine::Shared;
use crate::name::name_of;
use crate::state::State;
use crate::status::{Counts, Status};
use crate::table::Key;

/// The number of units that are looked at while the lock is held once.
const PAGE: usize = 256;

/// What the units of a [`Manager`](crate::Manager), a [`Supervisor`](crate::Supervisor) or a shared manager do. Returned by
/// [`HasUnits::overview`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Overview {
    /// The name of the manager or the set.
    pub name: Arc<str>,
    /// The number of units in each group of states.
    pub counts: Counts,
    /// At most as many units as were asked for. Those that need attention come first: stuck, given up, waiting for their
    /// restart, stopping, starting; then all others. Units in the same state are sorted by key.
    pub units: Vec<Status<Arc<str>>>,
    /// Of a shared manager: its program, and the number of its registration once it has registered.
    pub owner: Option<Owner>,
}

/// A shared manager as the owner of units.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// The name of the program, as other programs see it.
    pub program: String,
    /// The number of the manager's last registration, as other programs see it.
    pub manager: Option<u64>,
}

/// Something that keeps units running: [`Manager`](crate::Manager), [`Supervisor`](crate::Supervisor),
/// `shared::SharedManager`, or a supervisor of your own that should be shown with them.
///
/// ```
/// use procession_runnable::body;
/// use procession_supervisor::{HasUnits, Manager, MemoryTable, State};
///
/// let table = MemoryTable::new();
/// for name in ["orders", "invoices"] {
///     table.insert(name, body(|run| async move {
///         run.ready();
///         run.closing().await;
///     }));
/// }
/// let manager = Manager::new(table);
/// manager.run_blocking(|_| {
///     let overview = manager.overview(1);
///     assert_eq!((overview.counts.running, overview.units.len()), (2, 1));
///     assert_eq!(overview.units[0].state, State::Running);
/// })?;
/// # Ok::<(), procession::Error>(())
/// ```
pub trait HasUnits: Send + Sync + 'static {
    /// The counts of all units, and the first `limit` units: see [`Overview::units`].
    ///
    /// It costs as much as looking at each unit once, and holds no lock for long.
    fn overview(&self, limit: usize) -> Overview;
}

impl Overview {
    pub(crate) fn of<K: Key>(shared: &Shared<K>, limit: usize) -> Self {
        let counts = shared.shown_counts();
        let mut units = first(shared, limit);
        units.sort_by(|one, other| {
            (rank(one.state), &one.key).cmp(&(rank(other.state), &other.key))
        });
        Self { name: shared.about.name.clone(), counts, units, owner: None }
    }
}

/// The statuses of the units with the lowest ranks.
fn first<K: Key>(shared: &Shared<K>, limit: usize) -> Vec<Status<Arc<str>>> {
    let mut ranks: Vec<(u8, usize)> = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let units = shared.units.lock();
        next = units.page(from, PAGE, |id, state| ranks.push((rank(state), id)));
    }
    if limit < ranks.len() {
        if limit > 0 {
            ranks.select_nth_unstable(limit - 1);
        }
        ranks.truncate(limit);
    }
    let now = shared.about.policy.time().now();
    let mut first = Vec::with_capacity(ranks.len());
    for page in ranks.chunks(PAGE) {
        let statuses: Vec<Status<K>> = {
            let units = shared.units.lock();
            page.iter().filter_map(|&(_, id)| units.status(id, now)).collect()
        };
        first.extend(statuses.into_iter().map(named));
    }
    first
}

/// Units that need attention come first.
fn rank(state: State) -> u8 {
    match state {
        State::Stuck => 0,
        State::GivenUp => 1,
        State::Waiting => 2,
        State::Stopping => 3,
        State::Loading | State::Starting => 4,
        State::Running => 6,
        State::Ended => 7,
        State::Stopped => 8,
        _ => 5,
    }
}

/// The status with the name of the key, which is foreign code.
fn named<K: Key>(status: Status<K>) -> Status<Arc<str>> {
    let Status {
        key,
        state,
        since,
        restarts,
        last_error,
        next_restart,
        deadline,
        aborted,
        token,
        now,
    } = status;
    let key = name_of(&key);
    Status { key, state, since, restarts, last_error, next_restart, deadline, aborted, token, now }
}
