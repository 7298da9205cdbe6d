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
//! | `RECORDED` | without the token | `conforms` |
//! | `COUNT` | records no number | `conforms` |
//! | `READY` | without the token | nothing, because `RECORDED` has checked it |
//! | `RELEASE` | without the token; without the removal | `conforms` |
//! | `CRASH` | without `is_steady` | `lives::crashes_find_the_cause`, `plans` |
//! | `HAS_PROBATION` | ignored | `lives::crashes_find_the_cause` |
//! | `TAKE_CRASH_BACK` | of nobody | `lives::units_of_a_program_that_lives_on_have_not_crashed` |
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
