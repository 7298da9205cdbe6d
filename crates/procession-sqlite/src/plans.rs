//! Tests: no statement that managers use looks at all units or all managers, except where it must.

use rusqlite::Connection;

use crate::{claims, guard, leases, units};

/// Statements whose cost must not grow with the number of units.
const STATEMENTS: &[&str] = &[
    claims::CLAIM,
    claims::ON_PROBATION,
    claims::HAS_FREE,
    claims::SHARE,
    claims::ORDERS,
    claims::OWNED,
    claims::HAS_PEER,
    claims::CURRENT,
    claims::COUNT,
    claims::READY,
    claims::STEADY,
    claims::FAILED,
    claims::RESTARTED,
    claims::DONE,
    claims::RELEASE,
    claims::REMOVE,
    guard::GUARD,
    leases::ALIVE,
    leases::KINDS_OF,
    leases::DRAIN,
    leases::REQUEST,
    leases::REQUESTS,
    leases::TAKE_CRASH_BACK,
    leases::HAS_PROBATION,
    leases::CRASH,
    leases::FORGET,
    leases::FORGET_KINDS,
    leases::REMOVE_OWNED,
    leases::FREE_OWNED,
    leases::MANAGERS,
    units::UNCHANGED,
    units::FIND,
    units::KEEP,
    units::CHANGE,
    units::WANT_RUN,
    units::WANT_STOP,
    units::WANT_REMOVE,
    units::REMOVE_FREE,
    units::CLEAR,
    units::GET,
    units::SCAN_AFTER,
];

fn plan(connection: &Connection, statement: &str) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {statement}");
    let mut statement = connection.prepare(&sql).unwrap();
    // Without values for the parameters, which do not matter here.
    statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap()
}

fn database() -> (tempfile::TempDir, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("units.db");
    crate::SqliteSharedTable::new(&path).unwrap();
    (directory, Connection::open(path).unwrap())
}

#[test]
fn no_statement_scans_the_units() {
    let (_directory, connection) = database();
    // Once without statistics, and once with those of a table that somebody has analyzed.
    for sql in ["", FILL] {
        connection.execute_batch(sql).unwrap();
        for statement in STATEMENTS {
            let plan = plan(&connection, statement);
            let scans = |step: &&String| {
                step.starts_with("SCAN procession_units") || step.starts_with("SCAN u")
            };
            let scan = plan.iter().find(scans);
            assert_eq!(scan, None, "{statement}\n{plan:#?}");
        }
    }
}

/// 2,000 units of 4 kinds, half of them free.
const FILL: &str = "
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000)
    INSERT INTO procession_units (key, kind, spec, owner, running)
        SELECT x, x % 4, '', CASE WHEN x % 2 THEN x % 100 + 1 END, x % 2 FROM n;
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100)
    INSERT INTO procession_managers (id, name, request) SELECT x, '', x FROM n;
    INSERT INTO procession_manager_kinds SELECT id, id % 4 FROM procession_managers;
    ANALYZE;";

#[test]
fn hot_statements_use_their_indices() {
    let (_directory, connection) = database();
    for (statement, index) in [
        (claims::CLAIM, "procession_units_free (kind=? AND crashes>? AND crashes<?)"),
        (claims::ON_PROBATION, "procession_units_owned (owner=? AND is_steady=? AND crashes>?)"),
        (claims::HAS_FREE, "procession_units_free (kind=? AND crashes<?)"),
        (claims::SHARE, "procession_units_free (kind=? AND crashes<?)"),
        (claims::SHARE, "procession_units_owned (owner=?)"),
        (claims::SHARE, "procession_units_ordered (owner=?)"),
        (claims::ORDERS, "procession_units_ordered (owner=?)"),
        (leases::CRASH, "procession_units_owned (owner=? AND is_steady=? AND crashes>?)"),
        (leases::TAKE_CRASH_BACK, "procession_units_crashed (crashed_with=?)"),
    ] {
        let plan = plan(&connection, statement);
        assert!(plan.iter().any(|step| step.contains(index)), "{index}\n{plan:#?}");
    }
}
