//! Shared tables: units that run once across programs and machines.
//!
//! A [`SharedManager`] claims units from a [`SharedTable`], and runs each while its [`Lease`] lasts. If its program
//! dies, hangs or is cut off, other managers claim its units. Safety does not rest on clocks: each claim has a fencing
//! [`Token`], and every write about a unit is conditional on it.
//!
//! | what happens | what follows |
//! |---|---|
//! | a program is killed | its lease ends, and other managers claim its units |
//! | the store cannot be reached | with a third of the lease left, all units stop; at its end, they are aborted |
//! | the store refuses a renewal | the units are aborted at once, and the manager registers again |
//! | a unit ignores its abort | it keeps its key in this program; its writes are refused, because their token is old |
//! | a transaction that is guarded by a lease stays open | its unit cannot move or be released; all others go on |
//! | a unit fails too often or for good, or crashes its program | quarantine, until an operator ends it |
//! | a program closes, or [hands over](SharedManager::hand_over) | others claim each unit as soon as it has stopped |
//! | a manager joins | it asks the others, and they give up what exceeds their shares |
//!
//! | store | for |
//! |---|---|
//! | `SqliteSharedTable` (crate `procession-sqlite`) | the programs of one machine |
//! | `PostgresSharedTable` (crate `procession-postgres`) | the programs of many machines |
//! | [`MemorySharedTable`] | tests, and several managers in one program |
//! | your own | it must pass [`conformance::run`] |
//!
//! Operators use [`Units`].

mod balance;
mod claim;
mod claims;
pub mod conformance;
mod hand_over;
mod held;
mod keeper;
mod lease;
mod manager;
mod memory;
mod queue;
mod runs;
mod settings;
mod stuck;
mod table;
mod time;
mod units;
mod worker;

pub use self::claim::Claim;
pub use self::lease::Lease;
pub use self::manager::{SharedBuilder, SharedManager};
pub use self::memory::MemorySharedTable;
pub use self::stuck::OnStuck;
pub use self::table::{
    Claimed, Desired, ManagerId, ManagerRow, Order, Ordered, PROBATION_CRASHES, Record, Registered,
    Registration, Request, Session, Share, SharedTable, TableError, Token, UnitRow, Wanted, Write,
    WriteResult, Written,
};
pub use self::units::{Answer, Units};
