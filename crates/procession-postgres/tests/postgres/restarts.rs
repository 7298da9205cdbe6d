//! A restart of the server keeps leases and tokens.

use procession_postgres::PostgresSharedTable;
use procession_supervisor::shared::{Record, SharedTable};
use procession_test_postgres::{Cluster, binaries};

use crate::support::{LIMIT, claim_one, name, open, put, register};

#[test]
fn a_restart_of_the_server_keeps_leases_and_tokens() {
    let Some(binaries) = binaries() else { return };
    let mut cluster = Cluster::start(binaries, &[]);
    let table = PostgresSharedTable::builder(cluster.url()).build().unwrap();
    let mut session = open(&table);
    let manager = register(&mut *session);
    put(&mut *session, "k");
    put(&mut *session, "more");
    let claimed = claim_one(&mut *session, manager);
    let before = session.get(&claimed.key).unwrap();
    cluster.stop();
    assert_eq!(name(&session.renew(manager)), "unavailable");
    assert_eq!(name(&session.wait_for_change(LIMIT)), "unavailable");
    assert_eq!(name(&table.open().map(|_| ())), "unavailable");
    cluster.resume();
    assert_eq!(name(&session.renew(manager)), "unavailable", "a session does not reconnect");
    let mut session = open(&table);
    session.renew(manager).unwrap();
    assert_eq!(session.get(&claimed.key).unwrap(), before);
    session.record(&claimed.key, claimed.token, &Record::Ready).unwrap();
    assert_eq!(session.claim(manager, 9).unwrap().len(), 1);
    assert!(session.expire_dead(1).unwrap().is_empty());
}
