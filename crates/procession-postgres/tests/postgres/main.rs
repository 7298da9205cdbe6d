//! The table in PostgreSQL. See `procession-test-postgres` for where the server comes from.
//!
//! Which test finds what, if it is broken on purpose. Each line was tried.
//!
//! | statement | broken | found by |
//! |---|---|---|
//! | `LOCK` of writes | without the token | `held::a_write_of_an_old_claim_locks_nothing` |
//! | | without the lease of the owner | `conforms` |
//! | | without `skip locked` | `held` |
//! | `CURRENT` | without the lease of the owner | `held::writes_of_an_old_claim_are_refused_even_if_the_unit_is_held` |
//! | `WRITE_BACK` | records no number | `conforms` |
//! | `CLAIM` | without `skip locked` | `claims::a_claim_passes_over_units_that_are_locked` |
//! | | without the floor | `conforms`, `timeline`, `held` |
//! | | without `recorded = 0` | `conforms`, `held` |
//! | | two units on probation | `conforms`, `claims::a_manager_never_owns_two_units_on_probation` |
//! | `lock` before a claim | without `for key share` | `claims::each_owner_is_registered` |
//! | `ORDERS` | without the kinds | `conforms` |
//! | `SHARE` | no new timeline | `timeline`, `held` |
//! | | with the own request; with the shares of draining managers; without the remainder | `conforms` |
//! | `request_release` | of all managers; without the lease; tells nobody | `conforms` |
//! | `REQUESTS` | of all kinds; `>=`; with the own one; of draining managers; without the order | `conforms` |
//! | `renew` | without the lease | `conforms`, `held` |
//! | `end` | without `skip locked` | `held` |
//! | | the blame is decided again | `held` |
//! | | the row of the manager is deleted first | `held` |
//! | | tells of a change if there is none | `held::the_end_of_a_lease_that_is_no_crash_remains_none` |
//! | `FREE` | without `is_steady` | `conforms` |
//! | `replace` | a dead manager's units that are held remain to blame | `held` |
//! | `register` | does not wait for a moment | `held::a_registration_waits_for_a_moment` |
//! | `guard` | `for key share` instead of `for share` | `held`; `guard` finds it only now and then |
//! | | without the lease of the owner | `guard::a_guard_knows_the_current_claim`, `held` |
//! | `end_all` | ends no lease | `timeline`, `held` |
//! | | its units have crashed | `timeline`, `held` |
//! | `put`, `want_run`, the record `Steady` | without `crashed_with` | `conforms` |
//! | `put` | cancels no removal; or not if nothing else changes | `conforms`, `held` |
//! | | writes although nothing changes | `held::a_put_that_changes_nothing_writes_nothing_and_does_not_wait` |
#![cfg(unix)]

mod claims;
mod conforms;
mod errors;
mod guard;
mod held;
mod idle;
mod manager;
mod opening;
mod plans;
mod pooler;
mod restarts;
mod support;
mod texts;
mod timeline;
