//! The costs of shared tables, in both stores. Build the example `fleet` with `--release` first; then `cargo bench -p
//! procession-tests --bench shared` prints the table. PostgreSQL is a private server with its default settings, so each
//! commit reaches the disk.

#![cfg(all(unix, not(loom)))]
#![forbid(unsafe_code)]

use std::fs;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use procession::Process;
use procession_postgres::PostgresSharedTable;
use procession_runnable::{Start, body};
use procession_sqlite::SqliteSharedTable;
use procession_supervisor::Unit;
use procession_supervisor::shared::{
    ManagerId, Registration, Session, SharedManager, SharedTable, Units,
};
use procession_test_postgres::{Cluster, binaries};
use procession_tests::fleet::Fleet;

const CLAIMED: usize = 2000;
const OWNED: [usize; 2] = [10, 10_000];
const ROUNDS: usize = 101;
const TTL: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(60);
const TAKE_OVERS: usize = 5;

type Table = Arc<dyn SharedTable>;

/// Makes new tables in one store.
trait Store {
    fn name(&self) -> &'static str;
    /// A new table, and the argument with which programs find it.
    fn table(&mut self) -> (Table, String);
    /// The statements that the database has performed so far, if it counts them.
    fn statements(&self) -> Option<usize>;
}

struct Sqlite(tempfile::TempDir, usize);

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn table(&mut self) -> (Table, String) {
        self.1 += 1;
        let path = self.0.path().join(format!("{}.db", self.1)).display().to_string();
        (Arc::new(SqliteSharedTable::new(&path).expect("a table")), path)
    }

    fn statements(&self) -> Option<usize> {
        None
    }
}

struct Postgres(Cluster, usize);

impl Store for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn table(&mut self) -> (Table, String) {
        self.1 += 1;
        let name = format!("bench{}", self.1);
        let mut client = Client::connect(self.0.url(), NoTls).expect("a connection");
        client.batch_execute(&format!("create database {name}")).expect("a database");
        let server = self.0.url().rsplit_once('/').expect("a URL with a database").0;
        let url = format!("{server}/{name}");
        (Arc::new(PostgresSharedTable::builder(&*url).build().expect("a table")), url)
    }

    fn statements(&self) -> Option<usize> {
        let log = fs::read_to_string(self.0.log()).ok()?;
        let is_statement =
            |line: &&str| line.contains("LOG:  statement:") || line.contains("LOG:  execute");
        Some(log.lines().filter(is_statement).count())
    }
}

fn main() {
    println!("| store | what | figure |");
    println!("|---|---|---|");
    measure(&mut Sqlite(tempfile::tempdir().expect("a directory"), 0));
    if let Some(binaries) = binaries() {
        measure(&mut Postgres(Cluster::start(binaries, &[]), 0));
        // The log of all statements is turned on only now, because it costs time.
        let cluster = Cluster::start(binaries, &["log_statement=all"]);
        idle(&mut Postgres(cluster, 0));
    }
}

fn measure(store: &mut impl Store) {
    let name = store.name();
    for managers in [1, 16] {
        let (table, _) = store.table();
        let time = claims(&table, managers);
        let each = CLAIMED as f64 / time.as_secs_f64();
        println!(
            "| {name} | claims per second, {managers} managers, {CLAIMED} units | {each:.0} |"
        );
    }
    for owned in OWNED {
        let (table, _) = store.table();
        let time = renewal(&table, owned);
        println!("| {name} | a renewal by a manager of {owned} units | {time:.1?} |");
    }
    let (table, _) = store.table();
    println!("| {name} | from `put` to ready | {:.1?} |", put_to_ready(table));
    let times = (0..TAKE_OVERS).map(|_| {
        let (table, argument) = store.table();
        take_over(table, &argument)
    });
    let time = median(times.collect());
    println!(
        "| {name} | from SIGKILL of one of two programs to its 50 units ready in the other | {time:.2?} |"
    );
}

/// The time in which this number of managers claims all units.
fn claims(table: &Table, managers: usize) -> Duration {
    let mut session = table.open().expect("a session");
    put(&mut *session, CLAIMED);
    let (ready, go) =
        (std::sync::Barrier::new(managers + 1), std::sync::Barrier::new(managers + 1));
    thread::scope(|scope| {
        let claim_all = || {
            let mut session = table.open().expect("a session");
            let manager = register(&mut *session);
            ready.wait();
            go.wait();
            while !session.claim(manager, 100).expect("a claim").is_empty() {}
        };
        let threads: Vec<_> = (0..managers).map(|_| scope.spawn(claim_all)).collect();
        ready.wait();
        let begun = Instant::now();
        go.wait();
        threads.into_iter().for_each(|thread| thread.join().expect("all are claimed"));
        begun.elapsed()
    })
}

fn renewal(table: &Table, owned: usize) -> Duration {
    let mut session = table.open().expect("a session");
    put(&mut *session, owned);
    let manager = register(&mut *session);
    while !session.claim(manager, 500).expect("a claim").is_empty() {}
    let time = |_| {
        let begun = Instant::now();
        session.renew(manager).expect("a renewal");
        begun.elapsed()
    };
    median((0..ROUNDS).map(time).collect())
}

/// The time from a `put` until the unit has called `ready` in a manager that is running.
fn put_to_ready(table: Table) -> Duration {
    let (told, ready) = mpsc::channel();
    let manager = SharedManager::new(table.clone(), move |_| {
        let told = told.clone();
        Ok(Unit::new(body(move |run| {
            let _told = told.send(());
            async move {
                run.ready();
                run.closing().await;
            }
        })))
    });
    let root = Process::new();
    let (start, readiness) = Start::under(&root);
    let process = manager.runnable().start(start).expect("a manager");
    futures_lite::future::block_on(readiness).expect("a manager that is ready");
    let units = Units::new(table);
    let time = |number: usize| {
        let begun = Instant::now();
        units.put(&format!("unit-{number}"), "unit", "").wait().expect("a put");
        ready.recv().expect("a unit that starts");
        begun.elapsed()
    };
    let time = median((0..ROUNDS).map(time).collect());
    drop(process);
    root.close_blocking().expect("the manager ends");
    time
}

fn take_over(table: Table, argument: &str) -> Duration {
    let mut fleet = Fleet::new(argument, table, "15s");
    let keys: Vec<String> = (0..100).map(|number| format!("unit-{number}")).collect();
    fleet.put(&keys.iter().map(|key| &**key).collect::<Vec<_>>(), "idle");
    fleet.start("one");
    fleet.start("two");
    let before: u64 = fleet.wait_until_shared().iter().map(|row| row.starts).sum();
    fleet.kill("one");
    let begun = Instant::now();
    fleet.wait("the take-over", |rows| {
        rows.iter().all(|row| row.is_ready)
            && rows.iter().map(|row| row.starts).sum::<u64>() > before + 49
    });
    let time = begun.elapsed();
    fleet.end_all();
    time
}

/// The statements of an idle manager.
fn idle(store: &mut impl Store) {
    const MANAGERS: usize = 3;
    let (table, argument) = store.table();
    let mut fleet = Fleet::new(&argument, table, "15s");
    fleet.put(&["a", "b", "c"], "idle");
    for name in ["one", "two", "three"] {
        fleet.start(name);
    }
    fleet.wait_until_shared();
    // The handle of this program has received its last answer, and sends no more statements.
    let before = store.statements().expect("a log");
    thread::sleep(IDLE);
    let statements = store.statements().expect("a log") - before;
    let each = statements as f64 / MANAGERS as f64 * 60.0 / IDLE.as_secs_f64();
    let mark = if each <= 60.0 { "" } else { " (missed)" };
    println!(
        "| {} | statements per minute of an idle manager (≤ 60) | {each:.0}{mark} |",
        store.name()
    );
    fleet.end_all();
}

fn put(session: &mut dyn Session, count: usize) {
    for number in 0..count {
        session.put(&format!("unit-{number:05}"), "unit", "").expect("a put");
    }
}

fn register(session: &mut dyn Session) -> ManagerId {
    let registration = Registration::new("bench", ["unit"], TTL * 100);
    session.register(&registration).expect("a registration").manager
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
