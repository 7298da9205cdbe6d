//! No statement of a manager reads the whole table.

use std::time::{Duration, Instant};

use postgres::Client;
use procession_supervisor::shared::{Claimed, ManagerId, Record, Write, WriteResult};
use procession_test_postgres::server;

use crate::support::{LIMIT, client, open, put, registration, table};

const UNITS: i64 = 10_000;

/// What the server has read of the table of units: rows by sequential scans, and rows by indices.
fn read(admin: &mut Client, schema: &str) -> (i64, i64) {
    let sql = "select seq_tup_read, idx_tup_fetch from pg_stat_user_tables \
               where schemaname = $1 and relname = 'units'";
    let row = admin.query_one(sql, &[&schema]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn statements_of_managers_read_few_units() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut admin = client(url);
    let manager = {
        let mut s = open(&table);
        let ids = (0..101).map(|_| s.register(&registration(&["a"], LIMIT)).unwrap().manager);
        ids.last().unwrap()
    };
    admin
        .batch_execute(&format!(
            "insert into {schema}.units (key, kind, spec, owner, token, running) \
             select 'k' || n, 'a', 'spec', case when n > 20 then 1 + n % 100 end, 1, 1 \
             from generate_series(1, {UNITS}) n; analyze {schema}.units"
        ))
        .unwrap();
    let calls = |s: &mut dyn procession_supervisor::shared::Session, manager: ManagerId| {
        s.renew(manager).unwrap();
        assert!(s.share(manager).unwrap().has_free);
        assert!(s.orders(manager).unwrap().is_empty());
        let claimed = s.claim(manager, 5).unwrap();
        assert_eq!(claimed.len(), 5);
        assert!(s.expire_dead(5).unwrap().is_empty());
        let ready = |row: &Claimed| Write::record(&row.key, row.token, Record::Ready).numbered(1);
        let release = |row: &Claimed| Write::release(&row.key, row.token);
        let writes: Vec<Write> =
            claimed.iter().map(ready).chain(claimed.iter().map(release)).collect();
        assert!(s.write(&writes).unwrap().iter().all(|result| *result == WriteResult::Done));
        assert!(s.get("k7").unwrap().is_some());
        assert_eq!(s.scan(Some("k5"), 10).unwrap().len(), 10);
        put(s, "k8");
        s.want_run("k9").unwrap();
        assert_eq!(s.claim(manager, 500).unwrap().len(), 20);
        s.leave(manager).unwrap();
    };
    let before = read(&mut admin, &schema);
    // A session reports its statistics when it ends.
    calls(&mut *open(&table), manager);
    let begun = Instant::now();
    let after = loop {
        let after = read(&mut admin, &schema);
        if after.1 > before.1 {
            break after;
        }
        assert!(begun.elapsed() < LIMIT, "no statistics");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(after.0 - before.0, 0, "units that were read one after the other");
    let fetched = after.1 - before.1;
    assert!(fetched < UNITS / 10, "{fetched} units were read");
}
