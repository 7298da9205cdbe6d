//! The guard: writes of an old claim never land.

use std::iter;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::types::Type;
use procession_postgres::PostgresSharedTable;
use procession_supervisor::shared::{SharedTable, TableError, Token};
use procession_test_postgres::server;

use crate::support::{claim_one, client, let_pass, name, open, put, register, table};

const TRIES: usize = 20_000;
const WRITERS: usize = 8;

/// Writes with the token of the current claim, while the unit moves between managers. Returns how many writes were
/// tried, and how many of them landed after a later claim.
fn stale(url: &str, guard: Option<&str>) -> (usize, i64) {
    let (table, schema) = table(url);
    let mut s = open(&table);
    put(&mut *s, "k");
    client(url)
        .batch_execute(&format!(
            "create table {schema}.landed (token bigint); create index on {schema}.landed (token); \
             create table {schema}.claims (token bigint primary key, landed bigint); \
             create function {schema}.note() returns trigger language plpgsql as $$ begin \
               insert into {schema}.claims select old.token, count(*) from {schema}.landed \
                 where token = old.token; return new; end $$; \
             create trigger note before update on {schema}.units for each row \
               when (old.token <> new.token) execute function {schema}.note()"
        ))
        .unwrap();
    let sql =
        guard.map_or_else(|| table.guard_sql().unwrap(), |guard| guard.replace("{s}", &schema));
    let insert = format!("insert into {schema}.landed (token) values ($1)");
    let mut manager = register(&mut *s);
    let current = Mutex::new(claim_one(&mut *s, manager).token);
    let is_over = AtomicBool::new(false);
    let write = || {
        let mut client = client(url);
        for _ in 0..TRIES / WRITERS {
            let token = i64::try_from(current.lock().unwrap().get()).unwrap();
            let mut tx = client.transaction().unwrap();
            let found = tx.query_typed(&sql, &[(&"k", Type::TEXT), (&token, Type::INT8)]);
            if !found.unwrap().is_empty() {
                tx.batch_execute("select pg_sleep(0.001)").unwrap();
                tx.execute(&insert, &[&token]).unwrap();
                tx.commit().unwrap();
            }
            // Otherwise, the writers together hold the lock all the time.
            thread::sleep(Duration::from_millis(5));
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        scope.spawn(|| {
            let mut s = open(&table);
            while !is_over.load(Ordering::Relaxed) {
                s.expire(manager).unwrap();
                manager = register(&mut *s);
                // The last guarded transaction may still hold the unit.
                let claim = || {
                    s.expire_dead(9).unwrap();
                    s.claim(manager, 1).unwrap()
                };
                let claimed = iter::repeat_with(claim).flatten().next();
                *current.lock().unwrap() = claimed.unwrap().token;
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let count = format!(
        "select count(*) from {schema}.landed l join {schema}.claims c using (token) \
         where (select count(*) from {schema}.landed x where x.token = l.token) > c.landed"
    );
    (TRIES, client(url).query_one(&count, &[]).unwrap().get(0))
}

#[test]
fn guarded_writes_of_an_old_claim_never_land() {
    let Some(url) = server() else { return };
    assert_eq!(stale(url, None), (TRIES, 0));
}

/// The trial finds writes that are only checked before. So it would find a guard that does not work.
#[test]
fn writes_that_are_only_checked_do_land() {
    let Some(url) = server() else { return };
    let checked = "select 1 from {s}.units where key = $1 and token = $2 and owner is not null";
    let (_, landed) = stale(url, Some(checked));
    assert!(landed > 0);
}

fn guard(
    url: &str,
    table: &PostgresSharedTable,
    key: &str,
    token: Token,
) -> Result<(), TableError> {
    let mut client = client(url);
    table.guard_claim(key, token, &mut client.transaction().unwrap())
}

#[test]
fn a_guard_knows_the_current_claim() {
    let Some(url) = server() else { return };
    let (table, schema) = table(url);
    let mut s = open(&table);
    put(&mut *s, "k");
    let manager = register(&mut *s);
    let token = claim_one(&mut *s, manager).token;
    assert_eq!(name(&guard(url, &table, "k", token)), "ok");
    let others =
        [("k", token.get() + 1), ("k", 0), ("k", u64::MAX), ("x", token.get()), ("k\0", 1)];
    for (key, token) in others {
        assert_eq!(name(&guard(url, &table, key, Token::new(token))), "refused");
    }
    s.release("k", token).unwrap();
    assert_eq!(name(&guard(url, &table, "k", token)), "refused", "it is released");
    let token = claim_one(&mut *s, manager).token;
    assert_eq!(name(&guard(url, &table, "k", token)), "ok");
    let_pass(url, &schema, manager);
    assert_eq!(name(&guard(url, &table, "k", token)), "refused", "its time has passed");
}
