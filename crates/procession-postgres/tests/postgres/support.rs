//! Tables for tests: each has a schema of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postgres::{Client, NoTls};
use procession_postgres::{Builder, PostgresSharedTable};
use procession_supervisor::shared::{
    Claimed, ManagerId, Registration, Session, SharedTable, TableError,
};

/// The maximum time for something that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The name of a schema that no other test has.
pub(crate) fn schema(url: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("procession_test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    client(url).batch_execute(&format!("drop schema if exists {name} cascade")).unwrap();
    name
}

pub(crate) fn builder(url: &str) -> Builder {
    PostgresSharedTable::builder(url).schema(schema(url))
}

/// A new table, and the name of its schema.
pub(crate) fn table(url: &str) -> (PostgresSharedTable, String) {
    let name = schema(url);
    (PostgresSharedTable::builder(url).schema(&name).build().unwrap(), name)
}

/// A new table whose statements wait for locks for longer than [`LIMIT`], and the name of its schema. What ends before
/// that has not waited.
pub(crate) fn patient_table(url: &str) -> (PostgresSharedTable, String) {
    let name = schema(url);
    let builder = PostgresSharedTable::builder(url).schema(&name);
    (builder.statement_timeout(LIMIT * 2).build().unwrap(), name)
}

pub(crate) fn client(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap()
}

pub(crate) fn open(table: &PostgresSharedTable) -> Box<dyn Session> {
    table.open().unwrap()
}

pub(crate) fn registration(kinds: &[&str], ttl: Duration) -> Registration {
    Registration::new("test", kinds.iter().copied(), ttl)
}

/// Registers a manager of the kind `a`, whose lease does not end during a test.
pub(crate) fn register(session: &mut dyn Session) -> ManagerId {
    session.register(&registration(&["a"], LONG)).unwrap().manager
}

/// Lets the time to live of a manager pass at once. Nobody has ended its lease yet.
pub(crate) fn let_pass(url: &str, schema: &str, manager: ManagerId) {
    let pass = format!("update {schema}.managers set expires_at = clock_timestamp() where id = $1");
    let id = i64::try_from(manager.get()).unwrap();
    assert_eq!(client(url).execute(&pass, &[&id]).unwrap(), 1);
}

pub(crate) fn put(session: &mut dyn Session, key: &str) {
    session.put(key, "a", "1").unwrap();
}

pub(crate) fn claim_one(session: &mut dyn Session, manager: ManagerId) -> Claimed {
    session.claim(manager, 1).unwrap().pop().expect("a unit is free")
}

/// The names of errors, for comparisons.
pub(crate) fn name<R>(result: &Result<R, TableError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(TableError::Refused) => "refused",
        Err(TableError::NotFound { .. }) => "not found",
        Err(TableError::Invalid { .. }) => "invalid",
        Err(TableError::Unavailable(_)) => "unavailable",
        Err(TableError::Unusable(_)) => "unusable",
        Err(TableError::Incompatible { .. }) => "incompatible",
        Err(_) => "unknown",
    }
}
