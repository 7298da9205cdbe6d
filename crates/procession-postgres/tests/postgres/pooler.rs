//! Behind a transaction pooler, which gives each transaction another connection.

use procession_postgres::PostgresSharedTable;
use procession_supervisor::shared::{SharedTable, conformance};
use procession_test_postgres::{Cluster, Pooler, binaries};

use crate::manager::units_move;
use crate::support::{builder, client, name, open, put, register, schema};

/// A server, and a pooler with fewer connections than the tests have sessions.
fn pooled() -> Option<(Cluster, Pooler)> {
    let cluster = Cluster::start(binaries()?, &["fsync=off"]);
    let pooler = cluster.pooler(4)?;
    Some((cluster, pooler))
}

#[test]
fn it_conforms_behind_a_pooler() {
    let Some((_cluster, pooler)) = pooled() else { return };
    conformance::run(|| builder(pooler.url()).poll_only().build().unwrap());
}

#[test]
fn units_move_between_managers_behind_a_pooler() {
    let Some((_cluster, pooler)) = pooled() else { return };
    units_move(pooler.url(), true);
}

/// The other mode does not work there, and says so.
#[test]
fn a_session_with_settings_of_its_own_is_refused_by_a_pooler() {
    let Some((_cluster, pooler)) = pooled() else { return };
    let table = builder(pooler.url()).build().unwrap();
    assert_ne!(name(&table.open().map(|_| ())), "ok");
}

/// Nothing that a session sets outlasts its transactions: the next client of the connection would have it. (The pooler
/// itself sets the name of the application for each client.)
#[test]
fn a_session_leaves_nothing_behind() {
    let Some((_cluster, pooler)) = pooled() else { return };
    let settings = || {
        let sql = "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings \
                   where source = 'session' and name <> 'application_name'";
        let seen = client(pooler.url()).query_one(sql, &[]).unwrap();
        seen.get::<_, Option<String>>(0).unwrap_or_default()
    };
    let before = settings();
    let table = PostgresSharedTable::builder(pooler.url()).schema(schema(pooler.url()));
    let table = table.poll_only().build().unwrap();
    let mut sessions = [open(&table), open(&table)];
    for session in &mut sessions {
        let manager = register(&mut **session);
        put(&mut **session, "k");
        session.claim(manager, 1).unwrap();
        session.leave(manager).unwrap();
    }
    for _ in 0..8 {
        assert_eq!(settings(), before);
    }
}
