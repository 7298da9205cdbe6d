//! A new timeline of the server ends all leases, and no token repeats.

use procession_postgres::PostgresSharedTable;
use procession_supervisor::shared::{ManagerId, SharedTable};
use procession_test_postgres::{Cluster, binaries, server};

use crate::support::{claim_one, client, name, open, put, register, table};

#[test]
fn a_standby_that_is_promoted_gives_no_token_again() {
    let Some(binaries) = binaries() else { return };
    let mut primary = Cluster::start(binaries, &["fsync=off"]);
    let build = |url: &str| PostgresSharedTable::builder(url).build().unwrap();
    let table = build(primary.url());
    let mut session = open(&table);
    put(&mut *session, "known");
    put(&mut *session, "lost");
    session.put("removed", "b", "").unwrap();
    let manager = register(&mut *session);
    let known = claim_one(&mut *session, manager);
    let mut standby = primary.standby();
    let promoted = build(standby.url());
    assert_eq!(name(&promoted.open().map(|_| ())), "unavailable", "it is a standby");
    // The standby misses the rest.
    standby.stop();
    let lost_manager = register(&mut *session);
    let lost = claim_one(&mut *session, lost_manager);
    primary.stop();
    standby.resume();
    client(standby.url()).execute("select pg_promote()", &[]).unwrap();
    let mut session = open(&promoted);
    assert_eq!(session.managers().unwrap(), []);
    for key in ["known", "lost"] {
        let row = session.get(key).unwrap().unwrap();
        assert_eq!((row.owner, row.crashes), (None, 0), "{key}");
    }
    for ended in [manager, lost_manager] {
        assert_eq!(name(&session.renew(ended)), "refused");
    }
    assert_eq!(name(&session.release(&known.key, known.token)), "refused");
    let again = register(&mut *session);
    assert!(again > lost_manager && again.get() > 2 << 40);
    for claimed in session.claim(again, 9).unwrap() {
        assert!(claimed.token > known.token && claimed.token > lost.token);
        assert!(claimed.token.get() > 2 << 40, "the epoch is at least the timeline");
    }
}

/// A pooler may connect an open session to another server.
#[test]
fn a_session_that_is_open_finds_a_new_timeline() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut admin = client(url);
    let mut move_on = || {
        admin.batch_execute(&format!("update {schema}.meta set timeline = timeline + 1")).unwrap();
    };
    let mut s = open(&table);
    for key in ["k", "removed"] {
        put(&mut *s, key);
    }
    let mut last = (ManagerId::new(0), 0);
    for call in ["share", "claim", "register", "open"] {
        let manager = register(&mut *s);
        let claimed = s.claim(manager, 2).unwrap();
        assert!(manager > last.0 && claimed.iter().all(|row| row.token.get() > last.1), "{call}");
        assert!(!claimed.is_empty());
        last = (manager, (claimed[0].token.get() >> 40 << 40) + (1 << 40));
        if call == "share" {
            s.remove("removed").unwrap();
        }
        move_on();
        s.renew(manager).unwrap();
        match call {
            "share" => assert_eq!(name(&s.share(manager)), "refused"),
            "claim" => assert_eq!(name(&s.claim(manager, 1)), "refused"),
            "register" => drop(register(&mut *s)),
            _ => drop(open(&table)),
        }
        assert_eq!(name(&s.renew(manager)), "refused", "{call}");
        assert_eq!(s.get("k").unwrap().unwrap().owner, None, "{call}");
        assert!(s.get("removed").unwrap().is_none(), "{call}");
    }
}
