//! The table passes the conformance suite, notified and polling.

use procession_postgres::PostgresSharedTable;
use procession_supervisor::shared::conformance;
use procession_test_postgres::server;

use crate::support::{builder, schema};

#[test]
fn it_conforms() {
    let Some(url) = server() else { return };
    conformance::run(|| builder(url).build().unwrap());
}

#[test]
fn it_conforms_without_notifications() {
    let Some(url) = server() else { return };
    conformance::run(|| builder(url).poll_only().build().unwrap());
}

/// An administrator may have chosen another isolation level, and commits that do not wait for the disk.
#[test]
fn it_conforms_with_odd_settings() {
    let Some(url) = server() else { return };
    let mut config: postgres::Config = url.parse().unwrap();
    config.options("-c default_transaction_isolation=serializable -c synchronous_commit=off");
    conformance::run(|| {
        let builder = PostgresSharedTable::builder(config.clone()).schema(schema(url));
        builder.poll_only().build().unwrap()
    });
}
