//! A shared table in a SQLite file.
//!
//! Which test finds what, if it is broken on purpose. Each line was tried.
//!
//! | statement | broken | found by |
//! |---|---|---|
//! | `CLAIM` | without `owner IS NULL`, `+ 1`, the floor, or `recorded = 0` | `conforms` |
//! | `ON_PROBATION` | always false | `plans` (the plan has no index) |
//! | `HAS_PEER` | without `is_draining` | `conforms` |
//! | `ORDERS` | without the kinds | `conforms` |
//! | `REQUEST` | of all managers; with a number that is not taken; tells nobody | `conforms` |
//! | `SHARE` | with the own request; with the shares of draining managers; without the remainder | `conforms` |
//! | `REQUESTS` | of all kinds; `>=`; with the own one; of draining managers; without the order | `conforms` |
//! | `CURRENT` | without the token, or without the owner | `conforms` |
//! | `COUNT` | records no number, or the number of all units | `conforms` |
//! | `READY`, `STEADY`, `FAILED`, `RESTARTED`, `DONE`, `RELEASE`, `REMOVE` | of all units | `conforms` |
//! | `RELEASE` | without the removal | `conforms` |
//! | `STEADY`, `WANT_RUN`, `CLEAR`, `CHANGE` | without `crashed_with` | `lives` |
//! | `CRASH` | without `is_steady` | `lives::crashes_find_the_cause`, `plans` |
//! | `HAS_PROBATION` | ignored | `lives::crashes_find_the_cause` |
//! | `TAKE_CRASH_BACK` | of nobody | `lives::units_of_a_program_that_lives_on_have_not_crashed` |
//! | `FREE_OWNED` | of all managers; without one of its columns | `conforms` |
//! | `REMOVE_OWNED` | of all managers; never; units that should stop, or all units | `conforms` |
//! | `FORGET_KINDS` | of all managers | `conforms` |
//! | | never | `lives::a_manager_leaves_no_rows_behind` |
//! | `UNCHANGED` | without `desired` | `conforms` |
//! | `KEEP` | without `desired`; of all units; never | `conforms` |
//! | `CHANGE` | of all units; without any other of its columns than `crashes` | `conforms` |
//! | | without `crashes` | `lives::crashes_that_were_forgotten_are_not_taken_back` |
//! | `SCAN_AFTER` | `>=`; without the order, or without the limit | `conforms`, `text` |
//! | `GUARD` | without the key, the token, or the owner | `guarded` |
#![cfg(all(unix, not(loom)))]

mod child;
mod conforms;
mod damage;
mod guarded;
mod lives;
mod managers;
mod resources;
mod schemas;
mod text;
mod world;
