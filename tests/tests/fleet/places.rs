//! The stores that the tests use: a SQLite file, and a database of a PostgreSQL server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postgres::{Client, NoTls};
use procession_postgres::PostgresSharedTable;
use procession_sqlite::SqliteSharedTable;
use procession_sqlite::rusqlite::Connection;
use procession_supervisor::shared::SharedTable;
use procession_test_postgres as server;
use procession_tests::fleet::Fleet;
use tempfile::TempDir;

/// The time to live of the leases, as an argument of the programs.
pub(crate) const TTL: &str = "3s";
pub(crate) const TTL_SECONDS: u64 = 3;

/// Where a table is.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(String),
}

impl Place {
    /// A new SQLite file.
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A new database on the server that the tests share. `None` if there is no server.
    pub(crate) fn postgres() -> Option<Self> {
        Some(Self::postgres_on(server::server()?))
    }

    /// A new database on this server.
    pub(crate) fn postgres_on(url: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fleet_{}_{number}", std::process::id());
        let mut client = Client::connect(url, NoTls).unwrap();
        client.batch_execute(&format!("create database {name}")).unwrap();
        Self::Postgres(with_database(url, &name))
    }

    /// The argument `--table` of the programs.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Sqlite(directory) => directory.path().join("fleet.db").display().to_string(),
            Self::Postgres(url) => url.clone(),
        }
    }

    pub(crate) fn table(&self) -> Arc<dyn SharedTable> {
        match self {
            Self::Sqlite(_) => Arc::new(SqliteSharedTable::new(self.argument()).unwrap()),
            Self::Postgres(url) => Arc::new(PostgresSharedTable::builder(&**url).build().unwrap()),
        }
    }

    pub(crate) fn fleet(&self) -> Fleet {
        self.fleet_with(TTL)
    }

    /// A fleet whose leases have this time to live.
    pub(crate) fn fleet_with(&self, ttl: &str) -> Fleet {
        Fleet::new(&self.argument(), self.table(), ttl)
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The steps of all counters: unit, count and token, in the order in which they were counted.
    pub(crate) fn counts(&self) -> Vec<(String, i64, i64)> {
        const QUERY: &str = "select unit, count, token from fleet_counts order by unit, count";
        match self {
            Self::Sqlite(_) => {
                let connection = Connection::open(self.argument()).unwrap();
                let mut query = connection.prepare(QUERY).unwrap();
                let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
                rows.unwrap().map(Result::unwrap).collect()
            }
            Self::Postgres(url) => {
                let mut client = Client::connect(url, NoTls).unwrap();
                let rows = client.query(QUERY, &[]).unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
            }
        }
    }

    /// No counter has gone back or counted a number twice, and the tokens of its steps never go back.
    pub(crate) fn check_counts(&self) {
        let counts = self.counts();
        assert!(!counts.is_empty());
        for steps in counts.chunk_by(|one, next| one.0 == next.0) {
            let numbers: Vec<i64> = steps.iter().map(|step| step.1).collect();
            assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>(), "{}", steps[0].0);
            assert!(steps.is_sorted_by_key(|step| step.2), "{steps:?}");
        }
    }
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (url, query) =
        url.split_once('?').map_or((url, String::new()), |(url, query)| (url, format!("?{query}")));
    let (scheme, rest) = url.split_once("://").unwrap();
    let server = rest.split_once('/').map_or(rest, |(server, _)| server);
    format!("{scheme}://{server}/{name}{query}")
}

/// Runs a test on both stores.
pub(crate) fn on_both(test: impl Fn(&Place)) {
    test(&Place::sqlite());
    if let Some(place) = Place::postgres() {
        test(&place);
    }
}
