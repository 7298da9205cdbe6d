//! The two stores, and the counters of the units in the same database.

use std::sync::Arc;
use std::time::Duration;

use postgres::{Client, NoTls};
use procession::BoxError;
use procession_postgres::PostgresSharedTable;
use procession_sqlite::rusqlite::{Connection, TransactionBehavior};
use procession_sqlite::{SqliteSharedTable, guard};
use procession_supervisor::shared::{Lease, SharedTable, TableError};

/// Each row is one step of a counter, and says which program made it with which token.
const TABLE: &str = "create table if not exists fleet_counts (
    unit text not null, count bigint not null, token bigint not null, program text not null, \
    primary key (unit, count))";
const COUNT: &str = "insert into fleet_counts select $1, coalesce(max(count), 0) + 1, $2, $3 \
    from fleet_counts where unit = $1";
const LAST: &str = "select unit, max(count) from fleet_counts group by unit";

/// The default of PostgreSQL tables.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) enum Store {
    Sqlite(SqliteSharedTable),
    Postgres(PostgresSharedTable, String),
}

/// The counters of one thread.
pub(crate) trait Counter {
    /// Adds one to the counter of a unit, in a transaction that is conditional on its lease.
    fn count(&mut self, lease: &Lease, program: &str) -> Result<(), TableError>;
    /// Returns the value of each counter.
    fn last(&mut self) -> Result<Vec<(String, i64)>, TableError>;
}

impl Store {
    /// Opens the table in a SQLite file, or in the PostgreSQL database with this URL. A statement may take a third of the
    /// time that a lease lasts, so that a renewal that hangs can be repeated.
    pub(crate) fn open(table: &str, ttl: Duration) -> Result<Self, BoxError> {
        if table.starts_with("postgres://") || table.starts_with("postgresql://") {
            let shared = PostgresSharedTable::builder(table)
                .statement_timeout(STATEMENT_TIMEOUT.min(ttl / 3))
                .build()?;
            return Ok(Self::Postgres(shared, table.to_owned()));
        }
        Ok(Self::Sqlite(SqliteSharedTable::new(table)?))
    }

    pub(crate) fn table(&self) -> Arc<dyn SharedTable> {
        match self {
            Self::Sqlite(table) => Arc::new(table.clone()),
            Self::Postgres(table, _) => Arc::new(table.clone()),
        }
    }

    /// Opens the counters. The result stays on its thread.
    pub(crate) fn counter(&self) -> Result<Box<dyn Counter>, TableError> {
        Ok(match self {
            Self::Sqlite(table) => Box::new(SqliteCounter::open(table).map_err(away)?),
            Self::Postgres(table, url) => {
                Box::new(PostgresCounter::open(table, url).map_err(away)?)
            }
        })
    }
}

fn away(error: impl Into<BoxError>) -> TableError {
    TableError::Unavailable(error.into())
}

struct SqliteCounter {
    connection: Connection,
}

impl SqliteCounter {
    fn open(table: &SqliteSharedTable) -> Result<Self, BoxError> {
        let connection = Connection::open(table.path())?;
        // As in PostgreSQL: a unit that waits longer could not end in time after its abort.
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.execute_batch(TABLE)?;
        Ok(Self { connection })
    }
}

impl Counter for SqliteCounter {
    fn count(&mut self, lease: &Lease, program: &str) -> Result<(), TableError> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(away)?;
        guard(&transaction, lease)?;
        let token = i64::try_from(lease.token().get()).map_err(away)?;
        transaction.execute(COUNT, (lease.key(), token, program)).map_err(away)?;
        transaction.commit().map_err(away)
    }

    fn last(&mut self) -> Result<Vec<(String, i64)>, TableError> {
        let mut query = self.connection.prepare_cached(LAST).map_err(away)?;
        let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(away)
    }
}

struct PostgresCounter {
    table: PostgresSharedTable,
    client: Client,
}

impl PostgresCounter {
    fn open(table: &PostgresSharedTable, url: &str) -> Result<Self, BoxError> {
        let mut config: postgres::Config = url.parse()?;
        config.connect_timeout(Duration::from_secs(1)).tcp_user_timeout(Duration::from_secs(1));
        // A program that is paused in a transaction would hold its unit until it goes on.
        config.options("-c statement_timeout=1s -c idle_in_transaction_session_timeout=1s");
        let mut client = config.connect(NoTls)?;
        // Several programs may do this at once.
        let mut transaction = client.transaction()?;
        transaction.batch_execute("select pg_advisory_xact_lock(7041)")?;
        transaction.batch_execute(TABLE)?;
        transaction.commit()?;
        Ok(Self { table: table.clone(), client })
    }
}

impl Counter for PostgresCounter {
    fn count(&mut self, lease: &Lease, program: &str) -> Result<(), TableError> {
        let mut transaction = self.client.transaction().map_err(away)?;
        self.table.guard(lease, &mut transaction)?;
        let token = i64::try_from(lease.token().get()).map_err(away)?;
        transaction.execute(COUNT, &[&lease.key(), &token, &program]).map_err(away)?;
        transaction.commit().map_err(away)
    }

    fn last(&mut self) -> Result<Vec<(String, i64)>, TableError> {
        let rows = self.client.query(LAST, &[]).map_err(away)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}
