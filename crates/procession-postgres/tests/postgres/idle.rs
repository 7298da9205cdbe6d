//! An idle manager sends few statements.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use procession_postgres::PostgresSharedTable;
use procession_test_postgres::{Cluster, binaries};

use crate::support::{open, register};

const SETTINGS: [&str; 3] = ["fsync=off", "log_statement=all", "log_line_prefix=%a|"];
/// The maximum number of statements a minute.
const MOST: usize = 60;

/// The number of statements that the server has logged of this application.
fn statements(log: &Path, application: &str) -> usize {
    let log = fs::read_to_string(log).unwrap();
    let own = log.lines().filter(|line| line.starts_with(&format!("{application}|")));
    own.filter(|line| line.contains(" statement: ") || line.contains(" execute ")).count()
}

/// Calls the two sessions of a manager as a manager does while nothing changes, with the default settings. Returns what
/// the server has logged.
fn idle(application: &str, is_poll_only: bool) -> Option<String> {
    const EVERY: Duration = Duration::from_secs(5);
    let cluster = Cluster::start(binaries()?, &SETTINGS);
    let url = format!("{}?application_name={application}", cluster.url());
    let builder = PostgresSharedTable::builder(&url);
    let builder = if is_poll_only { builder.poll_only() } else { builder };
    let table = builder.build().unwrap();
    let (mut keeper, mut worker) = (open(&table), open(&table));
    let manager = register(&mut *keeper);
    let before = statements(&cluster.log(), application);
    let begun = Instant::now();
    let mut looked = None::<Instant>;
    while begun.elapsed() < 4 * EVERY {
        if looked.is_none_or(|looked| looked.elapsed() >= EVERY) {
            looked = Some(Instant::now());
            keeper.renew(manager).unwrap();
            worker.share(manager).unwrap();
        }
        worker.wait_for_change(Duration::from_millis(25)).unwrap();
    }
    let count = statements(&cluster.log(), application) - before;
    assert!(count > 0 && 3 * count <= MOST, "{count} statements in 20 s");
    Some(fs::read_to_string(cluster.log()).unwrap())
}

#[test]
fn an_idle_manager_sends_few_statements() {
    idle("listening", false);
}

#[test]
fn an_idle_manager_that_polls_sends_few_statements() {
    let Some(log) = idle("polling", true) else { return };
    let log = log.to_lowercase();
    let bad = ["listen ", " prepare ", "execute s", ": set statement", ": set lock"];
    let own = log.lines().filter(|line| line.starts_with("polling|"));
    let found: Vec<&str> = own.filter(|line| bad.iter().any(|bad| line.contains(bad))).collect();
    assert_eq!(found, [""; 0], "a pooler would not keep this");
}
