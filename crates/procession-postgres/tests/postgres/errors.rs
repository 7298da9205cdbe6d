//! Which error of the contract each error of the server is.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use procession_postgres::PostgresSharedTable;
use procession_supervisor::shared::SharedTable;
use procession_test_postgres::server;

use crate::support::{LIMIT, LONG, client, name, open, put, register, registration, schema, table};

#[test]
fn states_are_classified() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut session = open(&table);
    // From now on, each change fails with the state that this table contains.
    let mut admin = client(url);
    admin
        .batch_execute(&format!(
            "create table {schema}.states (state text); insert into {schema}.states values (''); \
             create sequence {schema}.attempts; \
             create or replace function {schema}.changed() returns void language plpgsql as $$ \
             begin \
               perform nextval('{schema}.attempts'); \
               raise exception using errcode = (select state from {schema}.states); \
             end $$"
        ))
        .unwrap();
    let cases = [
        ("unavailable", "08006 08P01 25006 25P03 40001 40P01 53000 53100 53200 53300 53400 55000"),
        ("unavailable", "55P03 57014 57P01 57P02 57P03 57P05 58000 58030"),
        ("invalid", "22021 22P05 54000 54001"),
        ("unusable", "0A000 23505 28000 28P01 3D000 3F000 42501 42703 42883 42P01 57P04"),
        ("unusable", "P0001 XX000 XX001 XX002"),
    ];
    for (expected, states) in cases {
        for state in states.split(' ') {
            admin.execute(&format!("update {schema}.states set state = $1"), &[&state]).unwrap();
            assert_eq!(name(&session.put("k", "a", "1")), expected, "{state}");
            assert!(session.get("k").unwrap().is_none(), "{state}: nothing has changed");
        }
    }
    // A transaction is repeated after a conflict, and not after another error.
    let mut attempts = |session: &mut dyn procession_supervisor::shared::Session, state: &str| {
        admin.execute(&format!("update {schema}.states set state = $1"), &[&state]).unwrap();
        admin.batch_execute(&format!("alter sequence {schema}.attempts restart")).unwrap();
        assert_eq!(name(&session.register(&registration(&["a"], LONG))), "unavailable");
        let row = admin.query_one(&format!("select last_value from {schema}.attempts"), &[]);
        row.unwrap().get::<_, i64>(0)
    };
    assert_eq!(attempts(&mut *session, "40P01"), 4);
    assert_eq!(attempts(&mut *session, "40001"), 4);
    assert_eq!(attempts(&mut *session, "55P03"), 1);
}

#[test]
fn connections_that_fail_are_classified() {
    let Some(url) = server() else { return };
    let (_, schema) = table(url);
    let mut admin = client(url);
    let fails = |change: &dyn Fn(&mut postgres::Config)| {
        let mut config: postgres::Config = url.parse().unwrap();
        change(&mut config);
        let table = PostgresSharedTable::builder(config).schema(&schema).build().unwrap();
        name(&table.open().map(|_| ()))
    };
    assert_eq!(
        fails(&|config| {
            config.dbname("unknown");
        }),
        "unusable"
    );
    assert_eq!(
        fails(&|config| {
            config.user("unknown");
        }),
        "unusable"
    );
    let mut refused = postgres::Config::new();
    refused.host("127.0.0.1").port(1).user("postgres");
    let refused = PostgresSharedTable::builder(refused).build().unwrap();
    assert_eq!(name(&refused.open().map(|_| ())), "unavailable");
    let missing = PostgresSharedTable::builder("postgres://u@%2Fmissing/d").build().unwrap();
    assert_eq!(name(&missing.open().map(|_| ())), "unavailable");
    let role = format!("{schema}_limited");
    let make = format!("drop role if exists {role}; create role {role} login connection limit 0");
    admin.batch_execute(&make).unwrap();
    assert_eq!(
        fails(&|config| {
            config.user(&role);
        }),
        "unavailable"
    );
    let make = format!(
        "alter role {role} connection limit -1; \
         alter role {role} set default_transaction_read_only = on"
    );
    admin.batch_execute(&make).unwrap();
    assert_eq!(
        fails(&|config| {
            config.user(&role);
        }),
        "unusable"
    );
    admin.batch_execute(&format!("drop role {role}")).unwrap();
}

/// The process of the session that performs a statement which contains `text` and waits for a lock.
fn waiting(admin: &mut Client, text: &str) -> i32 {
    let begun = Instant::now();
    loop {
        let found = admin.query(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and position($1 in query) > 0",
            &[&text],
        );
        if let Some(row) = found.unwrap().first() {
            return row.get(0);
        }
        assert!(begun.elapsed() < LIMIT, "no session waits");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_session_that_is_cut_off_is_replaced_by_a_new_one() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    put(&mut *open(&table), "k");
    let text = format!("\"{schema}\".units");
    for (function, is_usable) in [("pg_terminate_backend", false), ("pg_cancel_backend", true)] {
        let (mut blocker, mut admin) = (client(url), client(url));
        let mut blocking = blocker.transaction().unwrap();
        blocking.execute(&format!("select from {schema}.units for update"), &[]).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut session = open(&table);
                assert_eq!(name(&session.want_run("k")), "unavailable");
                assert_eq!(name(&session.get("k")) == "ok", is_usable);
                assert_eq!(name(&session.wait_for_change(Duration::ZERO)) == "ok", is_usable);
            });
            let process = waiting(&mut admin, &text);
            admin.execute(&format!("select {function}($1)"), &[&process]).unwrap();
        });
        blocking.rollback().unwrap();
        assert_eq!(name(&open(&table).want_run("k")), "ok");
    }
    // While it waits for changes.
    let mut session = open(&table);
    session.wait_for_change(Duration::ZERO).unwrap();
    let pid = "select pg_terminate_backend(pid) from pg_stat_activity where query = $1";
    let listen = client(url).query(pid, &[&listening(url, &schema)]);
    assert_eq!(listen.unwrap().len(), 1);
    assert_eq!(name(&session.wait_for_change(LIMIT)), "unavailable");
}

/// The statement with which sessions of this schema listen.
fn listening(url: &str, schema: &str) -> String {
    let sql = "select substring(prosrc from 'procession_[0-9a-f]{16}') from pg_proc \
               where proname = 'changed' and pronamespace = $1::text::regnamespace";
    let channel: String = client(url).query_one(sql, &[&schema]).unwrap().get(0);
    format!("listen {channel}")
}

#[test]
fn a_statement_does_not_wait_for_ever() {
    let Some(url) = server() else { return };
    for is_poll_only in [false, true] {
        let schema = schema(url);
        let builder = PostgresSharedTable::builder(url).schema(&schema);
        let builder = builder.statement_timeout(Duration::from_millis(300));
        let builder = if is_poll_only { builder.poll_only() } else { builder };
        let table = builder.build().unwrap();
        let mut session = open(&table);
        let manager = register(&mut *session);
        let mut blocker = client(url);
        let mut blocking = blocker.transaction().unwrap();
        let lock = format!("select from {schema}.managers for update");
        blocking.execute(&lock, &[]).unwrap();
        assert_eq!(name(&session.expire(manager)), "unavailable");
        blocking.rollback().unwrap();
        assert_eq!(name(&session.expire(manager)), "ok");
    }
}
