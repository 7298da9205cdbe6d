//! Three programs on one SQLite file. One is killed, and the counters of its units go on in the others. One is paused,
//! and the counters of its units stand still until it goes on.

use std::collections::HashMap;
use std::env;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use procession::{BoxError, Main, Process};
use procession_sqlite::rusqlite::Connection;
use procession_supervisor::shared::Units;
use rustix::process::{Pid, Signal, kill_process};

use crate::store::Store;
use crate::view::lines;

const UNITS: usize = 6;
/// How long each act of the demonstration lasts.
const ACT: Duration = Duration::from_secs(4);

pub(crate) fn demo(act: Option<Duration>) -> Result<ExitCode, BoxError> {
    let act = act.unwrap_or(ACT);
    let exit = Main::new().name("fleet demo").run(move |app| {
        let directory = tempfile::tempdir()?;
        let table = directory.path().join("fleet.db");
        let store = Store::open(&table.to_string_lossy(), Duration::MAX)?;
        let units = Units::new(store.table());
        for number in 1..=UNITS {
            units.put(&format!("unit-{number}"), "fleet", "count").wait()?;
        }
        let mut stage = Stage { app, act, store, units };
        let mut programs = Programs(HashMap::new());
        for name in ["one", "two", "three"] {
            programs.start(name, &table)?;
        }
        stage.play("three programs share six units")?;
        programs.signal("one", Signal::KILL)?;
        stage.play("`one` is killed: its units run elsewhere at once")?;
        programs.start("one", &table)?;
        stage.play("`one` is started again, and gets its share back")?;
        programs.signal("two", Signal::STOP)?;
        stage.play("`two` is paused: it keeps its units, whose counters stand still")?;
        programs.signal("two", Signal::CONT)?;
        stage.play("`two` goes on")?;
        programs.end()?;
        stage.play("all have ended")?;
        check(&table)?;
        procession::ok()
    });
    Ok(exit.into())
}

struct Stage {
    app: Process,
    act: Duration,
    store: Store,
    units: Units,
}

impl Stage {
    /// Says what has happened, lets time pass, and shows the table.
    fn play(&mut self, what: &str) -> Result<(), BoxError> {
        println!("\n== {what}");
        if self.app.closing().wait_timeout(self.act).is_some() {
            return Err("interrupted".into());
        }
        lines(&self.units, &self.store)?.iter().for_each(|line| println!("{line}"));
        Ok(())
    }
}

/// The programs, which are killed when this is dropped.
struct Programs(HashMap<&'static str, Child>);

impl Programs {
    fn start(&mut self, name: &'static str, table: &Path) -> Result<(), BoxError> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["run", "--name", name, "--table"]).arg(table);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        if let Some(mut before) = self.0.insert(name, child) {
            before.wait()?;
        }
        Ok(())
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<(), BoxError> {
        Ok(kill_process(Pid::from_child(&self.0[name]), signal)?)
    }

    /// Asks all programs to end, and waits for them.
    fn end(&mut self) -> Result<(), BoxError> {
        for child in self.0.values() {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        for (name, child) in &mut self.0 {
            let status = child.wait()?;
            if !status.success() {
                return Err(format!("`{name}` ended with {status}").into());
            }
        }
        Ok(())
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            let _killed = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// Checks that no counter has gone back or has been counted twice, and that tokens only grow.
fn check(table: &Path) -> Result<(), BoxError> {
    let connection = Connection::open(table)?;
    let mut query =
        connection.prepare("select unit, count, token from fleet_counts order by unit, rowid")?;
    let mut last: HashMap<String, (i64, i64)> = HashMap::new();
    let mut rows = query.query(())?;
    while let Some(row) = rows.next()? {
        let (unit, count, token): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (before, last_token) = last.insert(unit.clone(), (count, token)).unwrap_or_default();
        if count != before + 1 || token < last_token {
            let step = format!("{before} (token {last_token}) to {count} (token {token})");
            return Err(format!("the counter of {unit} went from {step}").into());
        }
    }
    if last.len() != UNITS {
        return Err(format!("only {} of {UNITS} units have counted", last.len()).into());
    }
    println!("\nNo counter has gone back, and none has counted a number twice.");
    Ok(())
}
