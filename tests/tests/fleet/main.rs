//! Units that run once across programs: what happens to real programs on a shared table, and that no unit ever runs
//! twice at once.
//!
//! | file | subject |
//! |---|---|
//! | `faults` | programs that are killed, paused, replaced, or crashed by a unit; on both stores |
//! | `outages` | a PostgreSQL database that is away, restarts, or is cut off |
//! | `crowds` | many managers and units, and stale writes |
//! | `demo` | the demonstration of the example |
//! | `places` | the stores |
//! | `proxy` | a network that can be cut |

#![cfg(all(unix, not(loom)))]

mod crowds;
mod demo;
mod faults;
mod outages;
mod places;
mod proxy;
