//! Settings, and how sessions make the schema.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use procession_postgres::{BuildError, PostgresSharedTable};
use procession_supervisor::shared::{SharedTable, TableError};
use procession_test_postgres::server;

use crate::support::{claim_one, client, name, open, put, register, schema, table};

#[test]
fn settings_are_checked() {
    let build = |url: &str| PostgresSharedTable::builder(url).build();
    assert!(matches!(build("postgres://h:x/d"), Err(BuildError::Url(_))));
    assert!(matches!(build("host"), Err(BuildError::Url(_))));
    assert!(matches!(build("postgres:///d"), Err(BuildError::NoHost)));
    assert!(matches!(build("postgres://h/d?sslmode=require"), Err(BuildError::NoTls)));
    let builder = || PostgresSharedTable::builder("postgres://u:secret@h/d");
    for bad in ["", "a\0b", "pg_x", &"x".repeat(64)] {
        assert!(matches!(builder().schema(bad).build(), Err(BuildError::Schema { .. })), "{bad:?}");
    }
    for bad in [Duration::ZERO, Duration::MAX] {
        let built = builder().statement_timeout(bad).build();
        assert!(matches!(built, Err(BuildError::StatementTimeout)));
    }
    let shown = format!("{:?}", builder().build().unwrap());
    assert!(shown.contains("procession") && !shown.contains("secret"), "{shown}");
}

#[test]
fn sessions_that_open_at_once_make_one_schema() {
    const SESSIONS: usize = 8;
    let Some(url) = server() else { return };
    for _ in 0..5 {
        let (table, _) = table(url);
        let barrier = Barrier::new(SESSIONS);
        thread::scope(|scope| {
            for number in 0..SESSIONS {
                let (table, barrier) = (&table, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let mut session = open(table);
                    put(&mut *session, &format!("k{number}"));
                });
            }
        });
        assert_eq!(open(&table).scan(None, 100).unwrap().len(), SESSIONS);
    }
}

#[test]
fn only_a_program_that_is_too_old_refuses_a_newer_schema() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    put(&mut *open(&table), "k");
    let set = |version: i32, oldest: i32| {
        let sql = format!("update {schema}.meta set version = {version}, oldest = {oldest}");
        client(url).batch_execute(&sql).unwrap();
    };
    set(9, 1);
    assert!(open(&table).get("k").unwrap().is_some());
    set(9, 8);
    let Err(error) = table.open() else { panic!("the schema is too new") };
    let expected = TableError::Incompatible { schema: 9, oldest: 8, supported: 1 };
    assert_eq!(error.to_string(), expected.to_string());
}

#[test]
fn a_role_that_may_create_nothing_can_use_the_schema() {
    let Some(url) = server() else { return };
    let (owner, schema) = table(url);
    let role = format!("{schema}_user");
    let mut admin = client(url);
    let drop = format!(
        "do $$ begin if exists(select from pg_roles where rolname = '{role}') then \
         drop owned by {role}; drop role {role}; end if; end $$"
    );
    admin.batch_execute(&format!("{drop}; create role {role} login")).unwrap();
    let mut config: postgres::Config = url.parse().unwrap();
    config.user(&role);
    let user = PostgresSharedTable::builder(config).schema(&schema).build().unwrap();
    assert_eq!(name(&user.open().map(|_| ())), "unusable", "it may not create the schema");
    put(&mut *open(&owner), "k");
    assert_eq!(name(&user.open().map(|_| ())), "unusable", "it may not use the schema");
    let grant = format!(
        "grant usage on schema {schema} to {role}; \
         grant select, insert, update, delete on all tables in schema {schema} to {role}; \
         grant usage, select, update on all sequences in schema {schema} to {role}"
    );
    admin.batch_execute(&grant).unwrap();
    let mut session = open(&user);
    let manager = register(&mut *session);
    let token = claim_one(&mut *session, manager).token;
    session.remove("k").unwrap();
    session.release("k", token).unwrap();
    // Whoever finds a new timeline begins an epoch.
    admin.batch_execute(&format!("update {schema}.meta set timeline = 99")).unwrap();
    assert_eq!(name(&session.share(manager)), "refused");
    admin.batch_execute(&format!("drop schema {schema} cascade; {drop}")).unwrap();
}

#[test]
fn an_empty_schema_is_filled() {
    let Some(url) = server() else { return };
    let schema = schema(url);
    client(url).batch_execute(&format!("create schema {schema}")).unwrap();
    let table = PostgresSharedTable::builder(url).schema(&schema).build().unwrap();
    put(&mut *open(&table), "k");
}

#[test]
fn a_schema_may_have_any_name() {
    let Some(url) = server() else { return };
    for name in ["we\"ird; drop", "$body$ '; {s} {free} $body_$ \"", "Ünï 数 \u{1f600}"] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let mut admin = client(url);
        admin.batch_execute(&format!("drop schema if exists {quoted} cascade")).unwrap();
        let table = PostgresSharedTable::builder(url).schema(name).build().unwrap();
        let (mut one, mut other) = (open(&table), open(&table));
        let manager = register(&mut *one);
        while other.wait_for_change(Duration::ZERO).unwrap() {}
        put(&mut *one, "k");
        assert!(other.wait_for_change(Duration::from_secs(20)).unwrap(), "{name}");
        let token = claim_one(&mut *one, manager).token;
        let mut guarded = admin.transaction().unwrap();
        table.guard_claim("k", token, &mut guarded).unwrap();
        guarded.commit().unwrap();
        one.remove("k").unwrap();
        one.release("k", token).unwrap();
        admin.batch_execute(&format!("drop schema {quoted} cascade")).unwrap();
    }
}
