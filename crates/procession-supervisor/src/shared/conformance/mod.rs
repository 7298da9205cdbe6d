//! The tests that every store of shared units must pass.
//!
//! | file | subject |
//! |---|---|
//! | `leases` | how leases end, and what the end of one means to its units |
//! | `claims` | which units are claimed, by whom, and how often |
//! | `records` | tokens, records, orders and quarantine |
//! | `operators` | the calls of operators, and reading the table |

mod claims;
mod leases;
mod operators;
mod records;

use std::time::{Duration, Instant};

use super::table::{
    Claimed, ManagerId, Registered, Registration, Session, SharedTable, TableError, UnitRow,
};

/// The maximum time for something that must happen soon.
const LIMIT: Duration = Duration::from_secs(20);

/// Checks that a store keeps the rules of [`SharedTable`] and [`Session`]. `make` returns a table without units and
/// managers each time. Stores whose leases [do not end by time](Registered::ttl) skip the checks of that.
///
/// # Panics
///
/// If the store breaks a rule.
pub fn run<T: SharedTable>(mut make: impl FnMut() -> T) {
    leases::the_end_is_final(&make());
    leases::the_end_changes_only_units_of_that_manager(&make());
    leases::renewals_prolong_a_lease(&make());
    leases::a_lease_ends_by_time(&make());
    leases::crashes_find_the_cause(&make());
    leases::a_registration_ends_the_previous_one(&make());
    leases::units_of_a_program_that_lives_on_have_not_crashed(&make());
    leases::crashes_that_were_forgotten_are_not_taken_back(&make());
    leases::draining_managers_give_their_units_away(&make());
    claims::each_unit_is_claimed_once(&make());
    claims::only_wanted_units_of_the_right_kind_are_claimed(&make());
    claims::a_claim_begins_anew(&make());
    claims::shares_count(&make());
    claims::requests_reach_managers_of_the_same_kinds(&make());
    claims::owned_units_are_listed(&make());
    records::tokens_fence(&make());
    records::orders_follow_changes(&make());
    records::failures_quarantine(&make());
    records::done_units_rest(&make());
    records::several_writes_are_like_single_ones(&make());
    records::repeated_records_change_nothing(&make());
    operators::put_has_generations(&make());
    operators::unknown_units_are_not_found(&make());
    operators::operators_decide_what_runs(&make());
    operators::calls_change_only_their_unit(&make());
    operators::scans_are_in_byte_order(&make());
    operators::managers_are_listed(&make());
    operators::changes_wake(&make());
}

/// A call of a session, and what it is.
type Call<'a, R> = (&'a str, &'a dyn Fn(&mut dyn Session) -> R);

fn open(table: &impl SharedTable) -> Box<dyn Session> {
    table.open().expect("a table opens sessions")
}

/// Registers a manager of these kinds.
fn register_for(session: &mut dyn Session, kinds: &[&str], ttl: Duration) -> Registered {
    let registration = Registration::new("test", kinds.iter().copied(), ttl);
    session.register(&registration).expect("a manager registers")
}

/// Registers a manager that has lost the lease of `previous`.
fn register_again(session: &mut dyn Session, previous: ManagerId) -> ManagerId {
    let registration = Registration::new("test", ["a"], Duration::from_secs(600));
    let registration = registration.after(Some(previous));
    session.register(&registration).expect("a manager registers again").manager
}

/// Registers a manager whose lease does not end during a check.
fn register(session: &mut dyn Session) -> ManagerId {
    register_for(session, &["a"], Duration::from_secs(600)).manager
}

fn put(session: &mut dyn Session, key: &str) -> u64 {
    session.put(key, "a", "1").expect("a unit is put")
}

fn claim(session: &mut dyn Session, manager: ManagerId, max: usize) -> Vec<Claimed> {
    session.claim(manager, max).expect("a manager with a lease claims")
}

fn row(session: &mut dyn Session, key: &str) -> UnitRow {
    session.get(key).expect("get works").expect("the unit exists")
}

fn refused<R>(result: Result<R, TableError>, call: &str) {
    assert!(matches!(result, Err(TableError::Refused)), "{call} must be refused");
}

/// Waits until `is_so` returns something.
fn until<R>(
    session: &mut dyn Session,
    what: &str,
    mut is_so: impl FnMut(&mut dyn Session) -> Option<R>,
) -> R {
    let begun = Instant::now();
    loop {
        if let Some(found) = is_so(session) {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{what}");
        session.wait_for_change(Duration::from_millis(10)).expect("wait_for_change works");
    }
}
