//! A shared table in PostgreSQL: units that run once across many machines.
//!
//! [`PostgresSharedTable`] is a [`SharedTable`](procession_supervisor::shared::SharedTable) for
//! [`SharedManager`](procession_supervisor::shared::SharedManager)s on any number of machines. If a machine dies, hangs
//! or is cut off, the others claim its units.
//!
//! ```no_run
//! use procession_postgres::PostgresSharedTable;
//! use procession_runnable::body;
//! use procession_supervisor::Unit;
//! use procession_supervisor::shared::{SharedManager, SharedTable};
//!
//! let table = PostgresSharedTable::builder("postgres://app@db.example.org/app").build()?;
//! table.open()?.put("mailbox-1", "unit", "alice@example.org")?;
//!
//! let manager = SharedManager::new(table, |claim| {
//!     let (address, lease) = (claim.spec().to_owned(), claim.lease().clone());
//!     Ok(Unit::new(body(move |run| {
//!         println!("serving {address} with token {}", lease.token());
//!         async move {
//!             run.ready();
//!             run.closing().await;
//!         }
//!     })))
//! });
//! manager.run_blocking(|process| process.closing().wait())?;
//! # Ok::<(), procession::BoxError>(())
//! ```
//!
//! # Writes to the same database
//!
//! A manager that was paused may wake up after another one has taken its unit over. Make what it writes conditional on
//! its lease with [`PostgresSharedTable::guard`]:
//!
//! ```no_run
//! # use procession_postgres::{PostgresSharedTable, postgres};
//! # use procession_supervisor::shared::Lease;
//! fn deliver(
//!     table: &PostgresSharedTable,
//!     lease: &Lease,
//!     client: &mut postgres::Client,
//! ) -> Result<(), procession::BoxError> {
//!     let mut transaction = client.transaction()?;
//!     table.guard(lease, &mut transaction)?;
//!     transaction.execute("insert into delivered (mailbox) values ($1)", &[&lease.key()])?;
//!     Ok(transaction.commit()?)
//! }
//! ```
//!
//! With other clients, use [`guard_sql`](procession_supervisor::shared::SharedTable::guard_sql).
//!
//! A guarded transaction should be short: prepare everything before it, and call nothing else while it is open. While
//! it is open, it holds the row of its unit:
//!
//! | what happens meanwhile | what follows |
//! |---|---|
//! | the unit becomes ready, fails, or stops | the manager writes this, in this order, when the transaction has ended |
//! | the manager closes | its run ends; it keeps renewing its lease in the background until the transaction has ended |
//! | the manager dies | its other units move at once, and this one when the transaction has ended |
//! | an operator changes the unit | the call waits, and fails after four fifths of the statement timeout |
//!
//! Set `idle_in_transaction_session_timeout` for the connections of your own, for example with `alter role app set
//! idle_in_transaction_session_timeout = '10s'`, so that a client that hangs does not hold its unit for ever.
//!
//! # What the database must provide
//!
//! - PostgreSQL 13 or later, and a database with the encoding UTF8.
//! - The first session creates the schema, which needs the right `CREATE` on the database. All later sessions need
//!   `USAGE` on the schema; `SELECT`, `INSERT`, `UPDATE` and `DELETE` on its tables; and `USAGE`, `SELECT` and `UPDATE`
//!   on its sequences.
//! - Two connections for each manager. Behind a pooler that gives each transaction another connection, use
//!   [`Builder::poll_only`].
//!
//! # Failover
//!
//! A restart of the server keeps all leases and tokens. If a standby is promoted, or a backup is restored, the server
//! begins a new timeline. Then all leases end, the managers register again, and tokens continue in a higher epoch.
//!
//! With an **asynchronous** standby, the server may have lost the last transactions: operators' changes, and claims. No
//! token of a lost claim is given again, but until the managers of those claims notice that their leases have ended,
//! the units may run twice. A service that remembers the greatest token, and the [guard](PostgresSharedTable::guard),
//! reject the older run. If the service does not permit `pg_walfile_name` and `pg_current_wal_insert_lsn`, sessions
//! cannot see a new timeline; then use a synchronous standby.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod about;
mod connection;
mod ends;
mod error;
mod guard;
mod names;
mod schema;
mod session;
mod table;

/// The client library, in the version that this crate uses.
pub use postgres;

pub use self::table::{BuildError, Builder, PostgresSharedTable, Server};
