//! A [`SharedTable`](procession_supervisor::shared::SharedTable) in a SQLite file: units that run once across the
//! programs of one machine.
//!
//! ```
//! use procession_runnable::body;
//! use procession_sqlite::SqliteSharedTable;
//! use procession_supervisor::Unit;
//! use procession_supervisor::shared::{Session, SharedManager, SharedTable};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("units.db");
//! let table = SqliteSharedTable::new(path)?;
//! let mut session = table.open()?;
//! session.put("orders", "poller", "queue = 1")?;
//!
//! // The same in each program: only one of them runs the unit.
//! let manager = SharedManager::builder(table).kinds(["poller"]).build(|claim| {
//!     let queue = claim.spec().to_owned();
//!     Ok(Unit::new(body(move |run| {
//!         let _queue = queue.clone(); // connect to it
//!         async move {
//!             run.ready();
//!             run.closing().await;
//!         }
//!     })))
//! });
//! manager.run_blocking(|_| {
//!     assert!(session.get("orders").unwrap().unwrap().owner.is_some());
//!     procession::ok()
//! })?;
//! # Ok::<(), procession::BoxError>(())
//! ```
//!
//! # When a lease ends
//!
//! Leases do not end by time. Each manager has a lock file in a directory next to the database, and the kernel unlocks
//! it when the program ends:
//!
//! | what happens to the program | what follows |
//! |---|---|
//! | it ends, or is killed | other managers claim its units at their next look |
//! | it is paused, hangs, or the machine is suspended | it keeps its units |
//! | an operator calls [`expire`] | its units become free at once; the program stops them within a second |
//!
//! [`expire`]: procession_supervisor::shared::Session::expire
//!
//! An operator who ends the lease of a paused program should know that its units may still run there until the program
//! notices. Their writes to the table are refused from the start. Make other writes conditional on the token: with
//! [`guard`](guard()) if they are in the same database.
//!
//! # What it needs
//!
//! - **A local disk.** Network file systems and FUSE are refused: several machines need a database server.
//! - **The directory.** SQLite keeps the files `-wal` and `-shm` next to the database, and the lock files are in the
//!   directory `-managers`. Programs in containers must share the directory of the database, not only its file. Do not
//!   move or remove any of them while a program uses the table: without its lock file, a manager counts as dead.
//!   Programs of several users need write permission for the directory `-managers`, and read permission for the files
//!   in it.
//! - **One path.** Symbolic links are resolved, but hard links to the database have other lock files.
//! - **No `fork` without `exec`.** A forked child keeps the lock files of its parent locked. Commands that are started
//!   by `std::process::Command` do not.
//! - **A Unix system.** On others, this crate is empty. Only on Linux and Android can it refuse network file systems.
//! - **SQLite 3.37 or newer.** The feature `bundled`, on by default, compiles one. A program can contain only one copy
//!   of SQLite, so `rusqlite` may have any version from 0.32 to 0.40, which Cargo chooses to fit other crates.
//!
//! # Your own tables
//!
//! The table can be in a database of your own, if its encoding is UTF-8. It makes tables with the prefix `procession_`
//! and turns on the write-ahead log. Use a connection of your own for your tables, with a busy timeout, and keep your
//! write transactions shorter than 5 s: there is one write lock for the whole database. A call that waits longer fails
//! with [`TableError::Unavailable`](procession_supervisor::shared::TableError::Unavailable) and is repeated by the
//! manager. Do not set `synchronous = OFF` there: after a power failure, tokens could go back.
//!
//! # Cost
//!
//! Each call that writes is one transaction with one `fsync`; the batch of
//! [`Session::write`](procession_supervisor::shared::Session::write) is one as well. A call that finds nothing to do,
//! and a `put` of what is there already, only read, and wait for nobody. A look at an unchanged database takes about a
//! microsecond, 40 times per second while a manager waits.
//!
//! To find the dead, a manager opens and tries to lock the lock files of all managers of other programs, each time it
//! looks at the table: about one microsecond for each, at most 20 times per second. If 100 programs look as often as
//! they can, all of them together use a fifth of a processor for it.

#![cfg(all(unix, not(loom)))]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod changes;
mod claims;
mod error;
mod guard;
mod leases;
mod lock;
mod network;
mod numbers;
#[cfg(test)]
mod plans;
mod schema;
mod session;
mod shared;
mod table;
mod units;

pub use guard::{guard, guard_claim};
pub use rusqlite;
pub use table::SqliteSharedTable;
